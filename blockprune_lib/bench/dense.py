"""The dense float32 products of this build of torch: the one that a model calls, and oneDNN's, which may be faster.

torch carries several libraries for dense products. `F.linear` hands float32 to the BLAS that torch was built with,
often MKL, whatever the processor; bfloat16 goes to oneDNN. A ratio to `F.linear` alone may therefore say more about
that library than about pruning.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..machine.comparison import Comparison
from ..pruning.architectures import prunable
from .engine import UnavailableError, in_a_line

#: What `products` calls them: the product of a model, and oneDNN's.
PLAIN, ONEDNN = "dense", "dense, oneDNN"
#: Largest difference from `F.linear` that passes, relative to its largest number: float32, summed in another order.
TOLERANCE = 1e-4


def products(weight: Tensor, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """x Wᵀ of x (T, N) with `weight` (M, N), both float32: {"dense": F.linear, "dense, oneDNN": oneDNN's product}.

    The second is left out where this torch has none, or where it disagrees with the first. Both give (T, M); preparing
    the weight is not part of a call. Raises ValueError for arguments that do not fit.

    >>> found = products(torch.eye(2), torch.ones(3, 2))
    >>> found["dense"]().shape
    torch.Size([3, 2])
    """
    for name, matrix in (("weight", weight), ("x", x)):
        if not isinstance(matrix, Tensor) or matrix.ndim != 2 or matrix.dtype != torch.float32:
            got = f"{matrix.dtype} {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
            raise ValueError(f"{name} must be a float32 matrix; got {got}: {name}.float() would do")
    if x.shape[1] != weight.shape[1]:
        raise ValueError(f"x must have {weight.shape[1]} columns, as weight has; got {x.shape[1]}: x.T might do")
    weight, x = weight.detach(), x.detach()
    found: dict[str, Callable[[], Tensor]] = {PLAIN: partial(torch.nn.functional.linear, x, weight)}
    with contextlib.suppress(UnavailableError):
        found[ONEDNN] = onednn(weight, x)
    return found


def onednn(weight: Tensor, x: Tensor) -> Callable[[], Tensor]:
    """oneDNN's product x Wᵀ, float32, with the weight reordered beforehand as oneDNN likes it for so many rows of x.

    These are the operators that torch.compile puts into frozen models; they have no public name. Raises
    UnavailableError where this torch lacks them, where they fail, and where they disagree with `F.linear`.
    """
    if not torch.backends.mkldnn.is_available():
        raise UnavailableError(f"torch {torch.__version__} was built without oneDNN")
    try:
        with torch.no_grad():
            ordered = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
            run = partial(_linear, x, ordered)
            found, wanted = run(), torch.nn.functional.linear(x, weight)
    except Exception as error:  # an operator without a public name may go or change with any version
        raise UnavailableError(f"oneDNN's product does not work here: {in_a_line(error)}") from None
    off = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
    if not off <= TOLERANCE * max(float(wanted.abs().max()), 1e-30):
        raise UnavailableError(f"oneDNN's product is off by {off:.2g}")
    return run


def models(model: torch.nn.Module, tokens: int) -> dict[str, torch.nn.Module]:
    """A float32 model and its copy with oneDNN's products: {"dense": model, "dense, oneDNN": the copy}; to be timed.

    Only prunable matrices change; `tokens` is the number of rows that their weights are arranged for, others work too.
    For evaluation, on the CPU. The copy is left out as in `products`. Raises ValueError for a model without prunable
    matrices.

    >>> from transformers import BertConfig, BertModel
    >>> small = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    >>> next(iter(models(BertModel(small).eval(), tokens=8)))
    'dense'
    """
    found, other = {PLAIN: model}, copy.deepcopy(model)
    with contextlib.suppress(UnavailableError):
        for name, linear in prunable(other).items():
            if isinstance(linear, torch.nn.Linear):
                onednn(linear.weight, linear.weight.new_zeros(tokens, linear.in_features))  # raises where it is wrong
                other.set_submodule(name, _OneDNNLinear(linear, tokens))
        found[ONEDNN] = other
    return found


class _OneDNNLinear(torch.nn.Module):
    """x Wᵀ + b by oneDNN, with the weight arranged once."""

    def __init__(self, linear: torch.nn.Linear, tokens: int) -> None:
        super().__init__()
        self.bias = linear.bias
        with torch.no_grad():
            self.ordered = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), tokens)

    def forward(self, x: Tensor) -> Tensor:
        return _linear(x, self.ordered, self.bias)


def fastest(compared: Comparison) -> str:
    """Which of the dense float32 products in a comparison has the lowest median; raises ValueError without any.

    >>> from blockprune_lib.machine.comparison import Timing
    >>> timings = {name: Timing(name, (ms,), 1) for name, ms in (("dense", 2.0), ("dense, oneDNN", 1.0), ("ours", 0.5))}
    >>> fastest(Comparison(timings, "dense", {"torch": 1}, 0, 0))
    'dense, oneDNN'
    """
    found = [name for name in (PLAIN, ONEDNN) if name in compared.timings]
    if not found:
        raise ValueError(f"compared must hold {PLAIN!r}; got {', '.join(compared.timings)}: add dense.products(...)")
    return min(found, key=lambda name: compared.timings[name].median)


def _linear(x: Tensor, ordered: Tensor, bias: Tensor | None = None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, ordered, bias, "none", [], "")
    return result
