"""The pooler of a compiled call: tanh(W h + b) of each text's first token, here for few texts, else by torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.first_token import FEW, first_products
from ..kernels.memory import new_matrix
from ..machine.simd import WIDTH
from ..pruning.passed_over import more_than_linear


def pooled(pooler: Any, states: Tensor) -> Tensor:
    """What `pooler` makes of the last hidden states (texts, tokens, features), float32: (texts, features)."""
    texts, _, features = states.shape
    if texts > FEW or features % WIDTH or not _is_plain(pooler, features):
        result: Tensor = pooler(states)
        return result
    found, weight = new_matrix(texts, features), pooler.dense.weight
    first_products(states.data_ptr(), 4 * states.stride(0), texts, weight.data_ptr(), features, found.data_ptr(),
                   _numbers(features))  # fmt: skip
    numbers = found.numpy()
    np.tanh(np.add(numbers, pooler.dense.bias.detach().numpy(), out=numbers), out=numbers)
    return found


def _is_plain(pooler: Any, features: int) -> bool:
    """Whether a pooler is one of transformers' that multiply the first token by a float32 matrix, and take tanh."""
    if not type(pooler).__module__.startswith("transformers.") or "forward" in vars(pooler):
        return False
    dense, activation = getattr(pooler, "dense", None), getattr(pooler, "activation", None)
    if type(dense) is not nn.Linear or type(activation) is not nn.Tanh or len(pooler._modules) != 2:
        return False
    weight = dense.weight
    return (
        weight.shape == (features, features) and weight.dtype is torch.float32 and weight.is_contiguous()
        and weight.is_cpu and dense.bias is not None and not more_than_linear(dense)
    )  # fmt: skip


@cache
def _numbers(features: int) -> np.ndarray:
    return np.arange(features, dtype=np.int32)
