"""Floor 6: what the book's pages call.

chapter      the start of each page, its passport, and numbers that enter the prose
exercises    what a checker is made of            answers     what checkers ask of an answer: a number, fields
checkers/    the checkers, one file per chapter   checking    `check("...")` finds and runs one
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
