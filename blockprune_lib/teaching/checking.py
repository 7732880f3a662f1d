"""`check("name", answer)`: find an exercise's checker and say which property of an answer failed.

The exercises' texts, stubs and solutions live in the chapters; a test tries every stub and every solution.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from html import escape
from typing import Any

from .._common.checks import one_of
from . import checkers, exercises
from .exercises import Wrong


@dataclass(frozen=True)
class Verdict:
    """What a checker found: `passed`, the property that failed (or what held), and a hint where it knows the slip.

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
        hint = f"\nHint: {self.hint}" if self.hint and not self.passed else ""
        return f"{'Correct' if self.passed else 'Not yet'}: {self.message}{hint}"

    def _repr_html_(self) -> str:
        kind = "bp-correct" if self.passed else "bp-not-yet"
        return f'<div class="bp-verdict {kind}" role="status">{escape(repr(self)).replace(chr(10), "<br>")}</div>'


def names() -> list[str]:
    """The names of all exercises, sorted."""
    for module in pkgutil.iter_modules(checkers.__path__):
        importlib.import_module(f"{checkers.__name__}.{module.name}")
    return sorted(exercises.REGISTER)


def check(name: str, answer: Any) -> Verdict:
    """Check the reader's *answer* to exercise *name* and say which property failed.

    Returns a `Verdict`, true where the answer is right: `check(...).passed` marks it. Raises TypeError for a name that
    is not text and ValueError for an unknown one, and never because of the answer: what the reader's function raises
    becomes part of the verdict.
    """
    known = names()
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {type(name).__name__}: {known[0]!r} would do")
    checker, function = exercises.REGISTER[one_of(name, "name", known)]
    if answer is None or answer is ...:
        return Verdict(name, False, "there is no answer yet (it is None or ...)")
    if function and not callable(answer):
        return Verdict(name, False, f"the answer should be a function {function}")
    try:
        return Verdict(name, True, checker(answer) or "every property holds")
    except Wrong as wrong:
        return Verdict(name, False, str(wrong), wrong.hint)
    except Exception as error:  # the reader's own function may raise anything
        return Verdict(name, False, f"your answer raised {type(error).__name__}: {error}")
