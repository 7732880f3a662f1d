"""The same model multiplied in fewer bits: what the rivals that need no pruning cost in accuracy."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from ..data.tasks import Task
from ..training.evaluation import evaluate


def precision_scores(
    model: Any, tokenizer: Any, task: Task, max_length: int, dense: bool
) -> dict[str, dict[str, float]]:
    """{precision: the task's metrics} of a copy of `model` on a CPU in bfloat16, and if it is `dense` in int8.

    bfloat16: every weight and activation. int8: the matrices, whose inputs are rounded as they come (torch's dynamic
    quantisation); left out where torch cannot.
    """
    model = copy.deepcopy(model).cpu()
    found = {"bfloat16": evaluate(copy.deepcopy(model).to(torch.bfloat16), tokenizer, task, max_length=max_length)}
    if dense and (rounded := int8(model)) is not None:
        found["int8"] = evaluate(rounded, tokenizer, task, max_length=max_length)
    return found


def int8(model: Any) -> Any:
    """`model` with its Linears in int8, inputs rounded as they come; None where this torch has no such thing."""
    quantize = getattr(getattr(torch.ao, "quantization", None), "quantize_dynamic", None)
    if quantize is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize(copy.deepcopy(model).cpu(), {nn.Linear}, dtype=torch.qint8)
