"""Checks of arguments that several files share; every error reads "X must be Y; got Z: W would do"."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor

Word = TypeVar("Word", bound=str)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_matrix(matrix: Any, name: str = "weight") -> None:
    """Raise unless `matrix` is a dense, non-empty float tensor (M, N); its values are not read."""
    if not isinstance(matrix, Tensor):
        does = "torch.from_numpy(array)" if type(matrix).__module__ == "numpy" else "torch.tensor(values)"
        raise TypeError(f"{name} must be a torch.Tensor; got {type(matrix).__name__}: {does} would do")
    if matrix.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor; got layout {matrix.layout}: .to_dense() would do")
    if matrix.dtype not in FLOATS:
        floats = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATS)
        raise TypeError(f"{name} must hold floats ({floats}); got {matrix.dtype}: .float() would do")
    if matrix.ndim != 2:
        raise ValueError(f"{name} must be a matrix (M, N); got {matrix.ndim} dimensions, shape {tuple(matrix.shape)}")
    check_shape(matrix.shape, name)


def check_shape(shape: Any, name: str = "shape") -> tuple[int, int]:
    """(M, N) as two ints; raises TypeError or ValueError unless both are there and at least 1."""
    sides = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not all(hasattr(side, "__index__") for side in sides):
        raise TypeError(f"{name} must be two ints (M, N); got {shape!r}")
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"{name} must have at least one row and one column; got the shape {sides}")
    return int(sides[0]), int(sides[1])


def check_finite(tensor: Tensor, name: str = "weight") -> None:
    """Raise ValueError saying how many elements of `tensor` are NaN or infinite, if any, or that it has no numbers."""
    check_present(tensor, name)
    if bool(tensor.isfinite().all()):
        return
    nans, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    found = f"{nans} NaN and {infinite} infinite of {tensor.numel()} elements"
    raise ValueError(f"{name} must be finite; got {found}: if training has diverged, go back to an earlier checkpoint")


def check_present(tensor: Tensor, name: str = "weight") -> None:
    """Raise ValueError for a tensor without numbers, as a model has that is yet to be loaded."""
    if tensor.is_meta:
        raise ValueError(f"{name} must hold numbers; got a tensor on the meta device: load the model's weights first")


def whole_number(value: Any, name: str, at_least: int = 0, example: int | None = None) -> int:
    """`value` as an int; raises TypeError unless it is one (a bool is not), ValueError below `at_least`.

    >>> whole_number(-1, "seed")
    Traceback (most recent call last):
    ValueError: seed must be a whole number of at least 0; got -1: 0 would do
    """
    number = None
    with suppress(TypeError):
        number = None if isinstance(value, bool) else operator.index(value)
    if number is None or number < at_least:
        remedy, error = at_least if example is None else example, TypeError if number is None else ValueError
        raise error(f"{name} must be a whole number of at least {at_least}; got {value!r}: {remedy} would do")
    return number


def positive_int(value: Any, name: str) -> int:
    """`value` as an int of at least 1; raises as `whole_number`."""
    return whole_number(value, name, at_least=1, example=32)


def one_of(value: Any, name: str, allowed: Iterable[Word], remedy: str = "") -> Word:
    """`value`, if it is among `allowed`; raises ValueError naming all of them, and the nearest one.

    >>> one_of("hubb", "source", ("auto", "hub"))
    Traceback (most recent call last):
    ValueError: source must be one of auto, hub; got 'hubb': did you mean 'hub'?
    """
    known = list(allowed)
    if isinstance(value, str) and value in known:
        return known[known.index(value)]  # type: ignore[arg-type]
    close = difflib.get_close_matches(str(value), known, n=1)
    hints = [*(f"did you mean {word!r}?" for word in close), *([remedy] if remedy else [])]
    raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}{': ' if hints else ''}{' '.join(hints)}")


def unknown_word(word: str, known: Iterable[str], name: str) -> str:
    """What is said of a word that nobody knows, as `one_of` says it.

    >>> unknown_word("pooller", ["pooler", "classifier"], "a flag")
    "a flag must be one of pooler, classifier; got 'pooller': did you mean 'pooler'?"
    """
    try:
        one_of(word, name, known)
    except ValueError as error:
        return str(error)
    return ""


def finite_number(value: Any, name: str, at_least: float, hint: str, above: bool = False) -> float:
    """`value` as a float, at least (or `above`) a bound; raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r} ({type(value).__name__}): {hint}")
    number = float(value)
    if not math.isfinite(number) or number < at_least or (above and number == at_least):
        bound = f"above {at_least:g}" if above else f"at least {at_least:g}"
        raise ValueError(f"{name} must be a finite number {bound}; got {value!r}: {hint}")
    return number


def same_names(given: Any, wanted: Mapping[str, Any], what: str) -> None:
    """Raise TypeError unless `given` is a dict, ValueError unless its keys are those of `wanted`."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a dict {{parameter name: value}}; got {type(given).__name__}")
    wrong = {"lacks": [n for n in wanted if n not in given], "has beside": [n for n in given if n not in wanted]}
    if lists := [f"{word} {', '.join(map(repr, names[:3]))}" for word, names in wrong.items() if names]:
        raise ValueError(f"{what} must name exactly the {len(wanted)} matrices chosen; it {' and '.join(lists)}")
