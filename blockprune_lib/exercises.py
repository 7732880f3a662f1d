"""Checkers for the book's exercises: which property of an answer failed, and a hint.

`check("name", answer)` runs the checker called *name* and returns a `Verdict`, which prints itself. It never
raises on a wrong answer, so that a page with unsolved exercises still builds. The checkers live beside this
file, one module a chapter, in `blockprune_lib/checkers/`. The exercises' texts, stubs and solutions live in the
chapters; a test runs every stub (must fail) and every solution (must pass).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
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


_exercises: dict[str, Exercise] = {}


def exercise(name: str, hint: str = "") -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Register the decorated function as the checker of exercise *name*.

    The checker takes the reader's answer. It raises `Wrong` with the property that failed, and returns a sentence
    about what held. *hint* is shown where `Wrong` brings none of its own.
    """

    def register(checker: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        if name in _exercises and _exercises[name].checker.__module__ != checker.__module__:
            raise ValueError(f"exercise {name!r} is registered twice, in {_exercises[name].checker.__module__} too")
        _exercises[name] = Exercise(name, checker, hint)
        return checker

    return register


def names() -> list[str]:
    """Return the names of all exercises, sorted."""
    _load_checkers()
    return sorted(_exercises)


def check(name: str, answer: Any) -> Verdict:
    """Check the reader's *answer* to exercise *name* and say which property failed.

    Returns a `Verdict`; true where the answer is right. Raises `ValueError` for an unknown name, and never because of
    the answer: an exception inside the reader's function becomes part of the verdict.
    """
    _load_checkers()
    if not isinstance(name, str):
        raise TypeError(f"name: expected the exercise's name as text, got {type(name).__name__}; known: {names()}")
    if name not in _exercises:
        near = get_close_matches(name, _exercises, n=1)
        suggestion = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"name: there is no exercise {name!r}{suggestion} The exercises are: {', '.join(names())}")
    found = _exercises[name]
    if answer is None or answer is ...:
        return Verdict(name, False, "there is no answer yet (it is None or ...)", found.hint)
    try:
        message = found.checker(answer)
    except Wrong as wrong:
        return Verdict(name, False, str(wrong), wrong.hint or found.hint)
    except Exception as error:  # the reader's own function may raise anything
        return Verdict(name, False, f"your answer raised {type(error).__name__}: {error}", found.hint)
    return Verdict(name, True, message or "every property holds")


def _load_checkers() -> None:
    from . import checkers

    for module in pkgutil.iter_modules(checkers.__path__):
        importlib.import_module(f"{checkers.__name__}.{module.name}")
