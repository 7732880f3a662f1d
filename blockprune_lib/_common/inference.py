"""What keeps a tensor made under `torch.inference_mode()` from spoiling a model for good.

Such a tensor can never take part in training again. Who converts or reads a model inside that mode wants the mode for
the calls that follow, not for the weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def ordinary_tensors(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function`, run without gradients but outside inference mode where the caller is in it.

    >>> with torch.inference_mode():
    ...     ordinary_tensors(torch.zeros)(2).is_inference()
    False
    """

    @functools.wraps(function)
    def run(*arguments: _P.args, **more: _P.kwargs) -> _R:
        if not torch.is_inference_mode_enabled():
            return function(*arguments, **more)
        with torch.inference_mode(False), torch.no_grad():
            return function(*arguments, **more)

    return run
