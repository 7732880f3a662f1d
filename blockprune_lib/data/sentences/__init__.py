"""English sentences made by rules, for the tasks of GLUE: text that needs no download.

vocabulary   people, places, things, verbs and what they mean
events       who did what to whom, told in many ways
single       tasks of one sentence                                     pairs: tasks of two
generator    `generate(task, count, split, seed)`
"""

from ..._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
