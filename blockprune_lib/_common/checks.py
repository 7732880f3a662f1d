"""What the library asks of its input, and the words it says when the input will not do.

Only checks that several modules share stand here; what a single function asks stays with that function.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

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
    """Raise ValueError saying how many elements of `tensor` are NaN or infinite, if any."""
    if bool(tensor.isfinite().all()):
        return
    nans, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    raise ValueError(
        f"{name} must be finite; got {nans} NaN and {infinite} infinite of {tensor.numel()} elements: "
        "if training has diverged, go back to an earlier checkpoint"
    )


def positive_int(value: Any, name: str) -> int:
    """`value` as an int; raises TypeError for what is no int (True is none), ValueError below 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a positive int, such as 32; got {value!r}")
    if number < 1:
        raise ValueError(f"{name} must be a positive int, such as 32; got {number}")
    return number


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
    missing, extra = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    if missing or extra:
        lists = [
            f"{word} {', '.join(map(repr, n[:3]))}" for word, n in (("lacks", missing), ("has beside", extra)) if n
        ]
        raise ValueError(f"{what} must name exactly the {len(wanted)} matrices chosen; it {' and '.join(lists)}")
