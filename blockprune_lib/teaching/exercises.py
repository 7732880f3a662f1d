"""What a checker of an exercise is made of: `@exercise("name")`, `Wrong` for the property that failed, the `Verdict`.

The checkers are in `checkers/`, one module per chapter, and `checking` finds and runs them; `answers` has what they
ask of an answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

#: What a reader wrote: it may take and return anything, and raise.
Function = Callable[..., Any]
#: Takes the reader's answer, raises `Wrong`, and returns what held.
Checker = Callable[[Any], str | None]


class Wrong(Exception):  # noqa: N818 - reads as a statement: `raise Wrong("the norms are squared")`
    """Raised by a checker when one property of the answer fails; the message says which."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Verdict:
    """What a checker found: `passed`, the property that failed (or what held), and a hint.

    >>> Verdict("demo", False, "the answer has shape (2,), expected (3,)", "count the groups")
    Not yet: the answer has shape (2,), expected (3,)
    Hint: count the groups
    """

    name: str
    passed: bool
    message: str
    hint: str = ""

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        first = f"Correct: {self.message}" if self.passed else f"Not yet: {self.message}"
        return first + (f"\nHint: {self.hint}" if self.hint and not self.passed else "")

    def _repr_html_(self) -> str:
        kind = "bp-correct" if self.passed else "bp-not-yet"
        head, _, rest = repr(self).partition("\nHint: ")
        hint = f"<details><summary>Hint</summary>{escape(rest)}</details>" if rest else ""
        return f'<div class="bp-verdict {kind}" role="status">{escape(head)}{hint}</div>'


@dataclass(frozen=True)
class Exercise:
    """A checker, the name that a chapter calls it by, and the function that the reader is to write, if it is one."""

    name: str
    checker: Checker
    function: str

    @property
    def hint(self) -> str:
        """What helps where `Wrong` brings no hint of its own: the checker's docstring."""
        return inspect.getdoc(self.checker) or ""


REGISTER: dict[str, Exercise] = {}


def exercise(name: str, function: str = "") -> Callable[[Checker], Checker]:
    """Register the decorated function as the checker of exercise *name*.

    The checker takes the reader's answer. It raises `Wrong` with the property that failed, and returns a sentence
    about what held; its docstring is the reader's hint. *function*, such as "count(n, rate)", is what the reader is to
    write: an answer that cannot be called is refused before the checker sees it.
    """

    def register(checker: Checker) -> Checker:
        if name in REGISTER and REGISTER[name].checker.__module__ != checker.__module__:
            raise ValueError(f"exercise {name!r} is registered twice, in {REGISTER[name].checker.__module__} too")
        REGISTER[name] = Exercise(name, checker, function)
        return checker

    return register
