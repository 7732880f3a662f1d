"""What a checker of an exercise is made of: `@exercise("name")`, `Wrong` for the property that failed, the `Verdict`.

The checkers stand in `checkers/`, one module a chapter; `checking` finds and runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any


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
    """A checker with the name that a chapter calls it by."""

    name: str
    checker: Callable[[Any], str | None]
    hint: str


REGISTER: dict[str, Exercise] = {}


def exercise(name: str, hint: str = "") -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Register the decorated function as the checker of exercise *name*.

    The checker takes the reader's answer. It raises `Wrong` with the property that failed, and returns a sentence
    about what held. *hint* is shown where `Wrong` brings none of its own.
    """

    def register(checker: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        if name in REGISTER and REGISTER[name].checker.__module__ != checker.__module__:
            raise ValueError(f"exercise {name!r} is registered twice, in {REGISTER[name].checker.__module__} too")
        REGISTER[name] = Exercise(name, checker, hint)
        return checker

    return register
