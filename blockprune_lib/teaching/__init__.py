"""Floor 6: what the book's pages call.

chapter      the start of each page, its passport, and numbers that enter the prose
checking     `check("...")` finds an exercise's checker and runs it
exercises    what a checker is made of            checkers/    the checkers, one file per chapter
patience     ends a call that does not come back
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
