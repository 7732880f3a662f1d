"""What checkers ask of an answer, each with the sentence that a reader sees: a number, several, fields, agreement.

*where* is the case that was tried, such as "for 7 groups at rate 5"; the sentence begins with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from .exercises import Function, Wrong

#: What a function should give in one case, and what it gives with each usual slip, by the sentence that explains it.
Judged = tuple[float, dict[str, float]]


def is_number(value: Any) -> bool:
    """Whether *value* is a real number: Python's or NumPy's, never bool.

    >>> is_number(2), is_number(True), is_number("2")
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def number(got: Any, where: str, whole: bool = False) -> float:
    """*got* where it is a number, or a *whole* one; raises `Wrong` otherwise.

    >>> number("8", "for 7 tokens")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for 7 tokens it returned str, expected a number
    """
    if got is None:
        raise Wrong(f"{where} the function returns nothing yet")
    if not is_number(got) or (whole and not isinstance(got, Integral)):
        raise Wrong(f"{where} it returned {type(got).__name__}, expected a {'whole ' * whole}number")
    return int(got) if whole else float(got)


def several(got: Any, count: int, where: str, what: str) -> tuple[Any, ...]:
    """The *count* values of a tuple or list; raises `Wrong`, saying *what* was expected, otherwise."""
    if not isinstance(got, (tuple, list)) or len(got) != count:
        raise Wrong(f"{where} it gives {got!r:.80}, expected {what}")
    return tuple(got)


def positive(values: Any, count: int) -> bool:
    """Whether *values* is a tuple or list of *count* finite numbers above zero."""
    if not isinstance(values, (tuple, list)) or len(values) != count:
        return False
    return all(isinstance(value, Real) and 0 < float(value) < math.inf for value in values)


def fields(answer: Any, *names: str) -> tuple[Any, ...]:
    """The values of a dictionary under *names*, in their order; raises `Wrong` unless all are there."""
    if not isinstance(answer, Mapping) or set(names) - set(answer):
        raise Wrong(f"the answer should be a dictionary with {', '.join(names[:-1])} and {names[-1]}")
    return tuple(answer[name] for name in names)


def agree(
    answer: Function,
    cases: Iterable[tuple[Any, ...]],
    judge: Callable[..., Judged],
    where: str,
    *,
    unit: str = "",
    whole: bool = False,
    rel_tol: float = 1e-9,
    abs_tol: float = 0.0,
) -> None:
    """Compare what a function gives with the right number, case by case; raises `Wrong` with the usual slip as hint.

    `judge(*case)` returns the right number and {sentence: the number that a slip gives}; *where* puts a case in words.

    >>> agree(lambda n: n, [(3,)], lambda n: (2 * n, {"twice, please": n}), "for n = {}")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for n = 3 it gives 3, not 6
    """
    for case in cases:
        place = where.format(*case)
        got = number(answer(*case), place, whole)
        right, slips = judge(*case)

        def is_near(value: float, got: float = got) -> bool:
            return math.isclose(got, value, rel_tol=rel_tol, abs_tol=abs_tol)

        if not is_near(right):
            reason = next((sentence for sentence, value in slips.items() if is_near(value)), "")
            raise Wrong(f"{place} it gives {got:.6g}, not {right:.6g}{unit}", reason)
