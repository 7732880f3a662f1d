"""What a checker of an exercise is made of: how it is registered, and what it asks of an answer.

Each question names the property that failed in the sentence that a reader sees. *where* is the case that was tried,
such as "for 7 groups at rate 5"; the sentence begins with it.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..pruning.structure import BlockStructure
from .patience import TooLong, within

if TYPE_CHECKING:
    from ..experiments.run_spec import Run

#: What counts as a list.
LISTS = (tuple, list)
#: What a reader wrote: it may take and return anything, and raise.
Function = Callable[..., Any]
#: Takes the reader's answer, raises `Wrong`, and returns what held.
Checker = Callable[[Any], str | None]
#: Seconds of work after which a call of the reader's function is ended.
LIMIT = 10.0
#: What a list of values says where there is none.
NOTHING = "the function returns nothing yet: end it with a return statement; what is printed is not seen here"
#: What a function should give in one case, and what it gives with each usual slip, by the sentence that explains it.
Judged = tuple[float, dict[str, float]]


class Wrong(Exception):  # noqa: N818 - reads as a statement: `raise Wrong("the norms are squared")`
    """Raised by a checker when one property of the answer fails; the message says which."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


#: The checker of each exercise, and the function that the reader is to write, empty where it is none.
REGISTER: dict[str, tuple[Checker, str]] = {}


def exercise(name: str, function: str = "") -> Callable[[Checker], Checker]:
    """Register the decorated function as the checker of exercise *name*.

    The checker takes the reader's answer. It raises `Wrong` with the property that failed, and returns a sentence
    about what held; its docstring says what is asked for, and no reader sees it. *function*, such as "count(n, rate)",
    is what the reader is to write: an answer that cannot be called is refused before the checker sees it.
    """

    def register(checker: Checker) -> Checker:
        other = REGISTER[name][0].__module__ if name in REGISTER else checker.__module__
        if other != checker.__module__:
            raise ValueError(f"exercise {name!r} is registered twice, in {other} too")
        REGISTER[name] = checker, function
        return checker

    return register


def expect(holds: Any, message: str, hint: str = "") -> None:
    """Raise `Wrong` unless a property of the answer *holds*."""
    if not holds:
        raise Wrong(message, hint)


def attempt(where: str, answer: Function, *arguments: Any, hint: str = "") -> Any:
    """What the reader's function returns in one case; raises `Wrong` where it raises, or does not come back.

    >>> attempt("for n = 3", lambda n: n / 0, 3)
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for n = 3 it raised ZeroDivisionError: division by zero
    """
    try:
        with within(LIMIT):
            return answer(*arguments)
    except TooLong:
        late = f"{where} it has not come back after {LIMIT:g} s of work"
        raise Wrong(late, hint or "does each loop end, in this case too?") from None
    except Exception as error:  # the reader's own function may raise anything
        raise Wrong(f"{where} it raised {type(error).__name__}: {error}{_line(answer, error)}") from None


def _line(answer: Function, error: Exception) -> str:
    """Where in the reader's cell an error came from, as far as Python knows its text."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file and frame.line]
    return f", at `{frames[-1].line:.80}`" if frames else ""


def plain(value: Any) -> Any:
    """A number that NumPy or torch keeps in an array of no dimension, as Python has it; anything else as it is."""
    return value.item() if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 0 else value


def array(got: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Numbers of one *shape*, from lists, NumPy or torch; raises `Wrong` otherwise.

    >>> array([[1, 2]], (2, 1), "for 2 rows")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for 2 rows the shape is (1, 2), expected (2, 1)
    """
    expect(got is not None, f"{where} {NOTHING}")
    try:
        found = np.asarray(got.detach().cpu() if isinstance(got, torch.Tensor) else got)
        if np.iscomplexobj(found):
            raise TypeError("complex numbers")
        found = found if found.dtype == np.float32 else found.astype(np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{where} it returned {type(got).__name__}, expected numbers of shape {shape}") from None
    expect(found.shape == shape, f"{where} the shape is {found.shape}, expected {shape}")
    return found


def is_number(value: Any) -> bool:
    """Whether *value* is a real number: Python's, NumPy's or torch's, never bool."""
    value = plain(value)
    return isinstance(value, Real) and not isinstance(value, bool)


def number(got: Any, where: str, whole: bool = False) -> float:
    """*got* where it is a number, or a *whole* one, such as 7 or 7.0; raises `Wrong` otherwise.

    >>> number("8", "for 7 tokens")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for 7 tokens it returned str, expected a number
    """
    expect(got is not None, f"{where} {NOTHING}")
    got = plain(got)
    right = is_number(got) and (not whole or is_whole(got))
    said = f"{got:.6g}" if is_number(got) else type(got).__name__
    expect(right, f"{where} it returned {said}, expected a {'whole ' * whole}number")
    return int(got) if whole else float(got)


def is_whole(value: Any) -> bool:
    """Whether *value* is a whole number, of whatever type."""
    return is_number(value) and (isinstance(plain(value), Integral) or float(value).is_integer())


def stated(value: Any, key: str) -> float:
    """A finite number that the reader wrote down under *key*; raises `Wrong` otherwise.

    >>> stated(..., "share")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: share should be a number, not Ellipsis
    """
    expect(is_number(value) and math.isfinite(value), f"{key} should be a number, not {value!r:.60}")
    return float(value)


def same(got: np.ndarray, right: np.ndarray, where: str, slips: Mapping[str, Any], *, rel_tol: float = 1e-5) -> None:
    """Compare arrays of one shape; raises `Wrong` with the first place that differs, and the usual slip as hint."""
    near = np.isclose(got, right, rtol=rel_tol, atol=1e-7)
    if near.all():
        return
    hit = (why for why, slip in slips.items() if np.shape(slip) == got.shape and np.allclose(got, slip, rtol=rel_tol))
    place = tuple(map(int, np.argwhere(~near)[0]))
    raise Wrong(f"{where} place {list(place)} has {got[place]:.4g}, expected {right[place]:.4g}", next(hit, ""))


def several(got: Any, count: int, where: str, what: str) -> tuple[Any, ...]:
    """The *count* values of a tuple, list or array; raises `Wrong`, saying *what* was expected, otherwise."""
    expect(got is not None, f"{where} {NOTHING}")
    arrays = isinstance(got, (np.ndarray, torch.Tensor)) and got.ndim > 1
    said = f"an array of shape {tuple(got.shape)}" if arrays else f"{got!r:.80}"
    expect(_listed(got, count), f"{where} it gives {said}, expected {what}")
    return tuple(map(plain, got))


def positive(values: Any, count: int) -> bool:
    """Whether *values* is a tuple, list or array of *count* finite numbers above zero."""
    return _listed(values, count) and all(is_number(value) and 0 < float(value) < math.inf for value in values)


def _listed(values: Any, count: int) -> bool:
    arrays = isinstance(values, (np.ndarray, torch.Tensor)) and values.ndim >= 1
    return (arrays or isinstance(values, LISTS)) and len(values) == count


def fields(answer: Any, *names: str) -> tuple[Any, ...]:
    """The values of a dictionary under *names*, in their order; raises `Wrong` unless all are there."""
    there = isinstance(answer, Mapping) and not set(names) - set(answer)
    expect(there, f"the answer should be a dictionary with {', '.join(names[:-1])} and {names[-1]}")
    return tuple(answer[name] for name in names)


def grouped(weight: Any, structure: Any) -> tuple[torch.Tensor, BlockStructure]:
    """A torch matrix and a structure that fits it; raises `Wrong` otherwise."""
    pair = isinstance(weight, torch.Tensor) and weight.dim() == 2 and weight.is_floating_point()
    expect(pair, "weight should be a torch matrix, (outputs, inputs), of floating-point numbers")
    example = "structure should be a BlockStructure, such as bp.BlockStructure.tile(8, 8)"
    expect(isinstance(structure, BlockStructure), example)
    try:
        structure.grid(tuple(weight.shape))
    except ValueError as error:
        raise Wrong(str(error)) from None
    return weight.detach().cpu(), structure


def planned(answer: Any) -> list[Run]:
    """The runs of a recipe that the reader wrote; raises `Wrong`, saying what the recipe lacks, otherwise."""
    from ..experiments.recipe import plan  # brings transformers along, and no other chapter should wait for that

    expect(isinstance(answer, Mapping), f"the answer should be a dictionary, not {type(answer).__name__}")
    for key, value in answer.items():
        other = isinstance(value, (tuple, range, np.ndarray, torch.Tensor))
        expect(not other, f"recipe: {key} is a {type(value).__name__}; what is swept over is a list, as in YAML")
    try:
        return plan(answer)
    except (TypeError, ValueError) as error:
        raise Wrong(str(error)) from None


def agree(
    answer: Function, cases: Iterable[tuple[Any, ...]], judge: Callable[..., Judged], where: str,
    *, unit: str = "", whole: bool = False, rel_tol: float = 1e-6, abs_tol: float = 0.0,
) -> None:  # fmt: skip
    """Compare what a function gives with the right number, case by case; raises `Wrong` with the usual slip as hint.

    `judge(*case)` returns the right number and {sentence: the number that a slip gives}; *where* puts a case in words.

    >>> agree(lambda n: n, [(3,)], lambda n: (2 * n, {"twice, please": n}), "for n = {}")
    Traceback (most recent call last):
    blockprune_lib.teaching.exercises.Wrong: for n = 3 it gives 3, not 6
    """
    for case in cases:
        place = where.format(*case)
        got = number(attempt(place, answer, *case), place, whole)
        right, slips = judge(*case)
        near = [math.isclose(got, value, rel_tol=rel_tol, abs_tol=abs_tol) for value in (right, *slips.values())]
        reason = next((sentence for sentence, hit in zip(slips, near[1:], strict=True) if hit), "")
        expect(near[0], f"{place} it gives {got:.6g}, not {right:.6g}{unit}", reason)
