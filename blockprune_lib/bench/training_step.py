"""The benchmark of a training step: dense with masks held, against block-sparse layers that hold nothing else.

A step is forward, backward and AdamW on a loss that touches every output; dropout is on, as in training. The gradients
of both are compared on the kept weights, without dropout, before anything is timed.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..nn.block_sparse_linear import BlockSparseLinear
from ..nn.convert import sparsify
from ..pruning.architectures import prunable_weights
from ..pruning.masks import HeldMasks, Masks
from ..pruning.structure import BlockStructure
from .case import Case, What
from .engine import Engine
from .measuring import Progress, measure_all, measured
from .model_settings import TrainingSettings
from .records import Record
from .sequences import of_lengths
from .settings import ModelCase
from .workload import (
    LastHidden,
    check_name,
    check_tokens,
    density_of,
    fresh,
    kept_of,
    operations_of,
    pruned,
)  # fmt: skip

#: Largest difference of the gradients that passes, relative to the largest gradient.
TOLERANCES = {"float32": 1e-3}
LEARNING_RATE = 1e-5


def bench_training(*, progress: Progress = None, **settings: Any) -> Record:
    """Time a step of retraining a pruned encoder, dense with masks and block-sparse; the record prints itself.

    Settings are those of `bench_model`, without rivals and with `batches` of (8,) unless given; each structure is a
    case of its own. The useful operations of a step are three times those of a call: one forward, two backward.
    """
    asked = TrainingSettings(**settings)
    check_name(asked.model)

    def measure(case: ModelCase) -> Case:
        [text] = case.structures
        model, structure = fresh(asked.model, asked.seed), BlockStructure.parse(text)
        check_tokens(model, asked.tokens)
        masks = pruned(model, structure, case.rate)
        kept, lengths = kept_of(masks), (case.tokens,) * case.batch
        ids = of_lengths(model, lengths, asked.seed).ids
        what = What(
            model=case.model, structure=text, rate=case.rate, batch=case.batch, tokens=case.tokens,
            threads=case.threads, kept=kept, density=density_of(model, kept),
        )  # fmt: skip
        names = list(prunable_weights(model))
        sparse = sparsify(copy.deepcopy(model), structure, keep_dense_above=1.0)
        dense, ours = Step(model, ids, masks), Step(sparse, ids)
        rival = partial(Engine, "torch-masked", "torch, masks held", dense, partial(dense.answer, names))
        own = partial(Engine, "blockprune", "blockprune", ours, partial(ours.answer, names))
        return measured(
            what, 3 * operations_of(model, kept, lengths), {"torch-masked": rival}, {"blockprune": own}, asked,
            TOLERANCES, gradients=True,
        )  # fmt: skip

    return measure_all("training", asked, measure, progress)


class Step:
    """A training step of an encoder, to be called again and again; `masks` are held where they are given."""

    def __init__(self, encoder: nn.Module, ids: Tensor, masks: Masks | None = None) -> None:
        self.model, self.ids = LastHidden(encoder), ids
        self.held = None if masks is None else HeldMasks(encoder, masks)
        # A loss of squares would be constant behind the last normalisation, and its gradients rounding alone.
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.probe = torch.randn(width, generator=torch.Generator().manual_seed(0))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE)

    def gradients(self) -> None:
        """Forward and backward; the gradients of pruned weights are zero after it."""
        self.optimizer.zero_grad(set_to_none=True)
        (self.model(self.ids) * self.probe).mean().backward()
        if self.held is not None:
            self.held.mask_gradients_()

    def answer(self, names: list[str]) -> np.ndarray:
        """The gradients of the named weights, one after another, without the dropout of the steps that are timed."""
        self.model.eval()
        self.gradients()
        self.model.train()
        return weight_gradients(self.model.encoder, names)

    def __call__(self) -> None:
        """One step."""
        self.gradients()
        self.optimizer.step()
        if self.held is not None:
            self.held.mask_weights_()


def weight_gradients(encoder: nn.Module, names: list[str]) -> np.ndarray:
    """The gradients of the named weights, dense or block-sparse, one after another as float64."""
    parts = []
    for name in names:
        module: Any = encoder.get_submodule(name.removesuffix(".weight"))
        sparse = isinstance(module, BlockSparseLinear)
        gradient = replace(module.packed, values=module.values.grad).to_dense() if sparse else module.weight.grad
        parts.append(gradient.double().numpy().ravel())
    return np.concatenate(parts)
