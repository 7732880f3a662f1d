"""Floor 6: what the book's pages call.

chapter      the start of each page, its passport, and numbers that enter the prose
exercises    what a checker is made of                                 checking: `check("...")` finds and runs one
checkers/    the checkers, one file a chapter
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
