"""`check("name", answer)`: find an exercise's checker and say which property of an answer failed.

It never raises on a wrong answer, so that a page with unsolved exercises still builds. The checkers live in
`checkers/`, one file per chapter; the exercises' texts, stubs and solutions live in the chapters. A test runs every
stub (must fail) and every solution (must pass).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from .._common.checks import one_of
from . import checkers, exercises
from .exercises import Verdict, Wrong


def names() -> list[str]:
    """Return the names of all exercises, sorted."""
    _load_checkers()
    return sorted(exercises.REGISTER)


def check(name: str, answer: Any) -> Verdict:
    """Check the reader's *answer* to exercise *name* and say which property failed.

    Returns a `Verdict`; true where the answer is right. Raises TypeError for a name that is not text and ValueError for
    an unknown one, and never because of the answer: what the reader's function raises becomes part of the verdict.
    """
    _load_checkers()
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {type(name).__name__}: {names()[0]!r} would do")
    found = exercises.REGISTER[one_of(name, "name", names())]
    if answer is None or answer is ...:
        return Verdict(name, False, "there is no answer yet (it is None or ...)", found.hint)
    if found.function and not callable(answer):
        return Verdict(name, False, f"the answer should be a function {found.function}", found.hint)
    try:
        message = found.checker(answer)
    except Wrong as wrong:
        return Verdict(name, False, str(wrong), wrong.hint or found.hint)
    except Exception as error:  # the reader's own function may raise anything
        return Verdict(name, False, f"your answer raised {type(error).__name__}: {error}", found.hint)
    return Verdict(name, True, message or "every property holds")


def _load_checkers() -> None:
    for module in pkgutil.iter_modules(checkers.__path__):
        importlib.import_module(f"{checkers.__name__}.{module.name}")
