"""The teaching steps from a plain loop to a tile of vectors, all timed by one stopwatch.

loops      scalar loops                      vector    vectors over outputs
turned     vectors over tokens, in pieces    assembly  the inner loop as the processor reads it
pairs      the turned rung in bfloat16
rungs      the steps in order, and `climb`, which times them side by side
"""

from ..._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
