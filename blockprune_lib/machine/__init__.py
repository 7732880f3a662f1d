"""What this machine can do, and how to time on it honestly.

passport        the record of a machine: processor, threads, caches, measured peak and bandwidth, versions
cpu, amx        what the operating system says about the processor and its matrix unit
native          machine code by Numba, kept on disk
simd, pairs     the vectors that measured peaks and kernels are written with, of float32 and of pairs of bfloat16
amx_tiles       the matrix unit's tiles and the instructions on them
peak            multiply-adds and bytes a second, measured
memory, gather  bandwidth by size; what it costs to fetch numbers from here and there
bursts          how such loops are timed
roofline        how fast a job can be on this machine
timing          fair timing: in turns, medians, quartiles    comparison      what it finds
thread_limits   how many threads the engines of this process may use
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
