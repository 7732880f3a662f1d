"""What ranking by sensitivity needs of a model and its data: the scales of each matrix, from a sample of examples."""

from __future__ import annotations

import random
from typing import Any

from torch import nn

from ..pruning.architectures import parameter_name, prunable
from ..pruning.sensitivity import Scales, sensitivities
from .evaluation import prepare
from .settings import TrainingSettings

#: Training examples that are looked at, and how many at once.
EXAMPLES, _BATCH = 512, 32


def output_scales(
    model: Any, tokenizer: Any, source: Any, settings: TrainingSettings, **which: bool
) -> dict[str, Scales]:
    """{parameter name: `Scales`} of every prunable matrix, as `model` is now, from `EXAMPLES` training examples.

    Their labels are not read; `settings.seed` draws them. Raises ValueError where `which` asks for a matrix that no
    Linear multiplies by, such as an embedding table: it has no inputs to be sensitive to.
    """
    data = prepare(model, tokenizer, source, settings.max_length)
    found: dict[str, Any] = prunable(model, **which)
    modules = {parameter_name(name): module for name, module in found.items()}
    if others := [name for name, module in modules.items() if not isinstance(module, nn.Linear)]:
        raise ValueError(f"score='sensitivity' ranks Linears; {others[0]} is of none: score='magnitude' would do")
    rows = data.rows()
    chosen = random.Random(settings.seed).sample(rows, min(EXAMPLES, len(rows)))
    device = next(model.parameters()).device
    batches = [data.collate(chosen[start : start + _BATCH]) for start in range(0, len(chosen), _BATCH)]
    inputs = [{key: value.to(device) for key, value in batch.items() if key != "labels"} for batch in batches]
    return {name: found.scales for name, found in sensitivities(model, modules, inputs, settings.seed).items()}
