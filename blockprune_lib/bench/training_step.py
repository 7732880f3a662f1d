"""The benchmark of a training step: dense with masks held, against block-sparse layers that hold nothing else.

A step is forward, backward and AdamW on a loss that touches every output; dropout is on, as in training. The gradients
of both are compared on the kept weights, without dropout, before anything is timed. Left out: convergence (both compute
the same step up to rounding), gradient accumulation, and bfloat16.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..machine.thread_limits import threads as on_threads
from ..nn.block_sparse_linear import BlockSparseLinear
from ..nn.convert import sparsify
from ..pruning.architectures import prunable_weights
from ..pruning.masks import HeldMasks, Masks
from ..pruning.packing import PackedMatrix
from ..pruning.structure import BlockStructure
from .encoder import check_name, check_tokens, describe, fresh, operations, pruned, token_ids
from .encoder_engines import LastHidden
from .matrix_engines import Engine
from .measuring import Case, described, make_all, time_all
from .records import Record
from .settings import ModelSettings

BASELINE, OURS = "torch-masked", "blockprune"
#: Largest difference of the gradients that passes, relative to the largest gradient.
TOLERANCES = {"float32": 1e-3}
LEARNING_RATE = 1e-5


def bench_training(*, progress: Callable[[str], object] | None = None, **settings: Any) -> Record:
    """Time a step of retraining a pruned encoder, dense with masks and block-sparse; the record prints itself.

    Settings are those of `bench_model`; `batches` is (8,) unless given, `peers`, `skip` and `memory` have no meaning
    here. The useful operations of a step are three times those of a call: forward, and two products backward.
    """
    chosen = ModelSettings(**({"batches": (8,)} | settings))
    chosen.chosen([BASELINE, OURS], (BASELINE, OURS))
    check_name(chosen.model)
    if chosen.memory:
        raise ValueError("memory: is measured of inference only; measure it without training")
    cases = []
    for number, (structure, rate, batch, tokens, threads) in enumerate(chosen.cases(), 1):
        if progress is not None:
            progress(f"case {number}: {chosen.label}, {structure}, rate {rate:g}, steps of {batch} x {tokens} tokens")
        cases.append(_case(structure, rate, batch, tokens, threads, chosen))
    return Record.made("training", chosen.to_dict(), cases)


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
        module = encoder.get_submodule(name.removesuffix(".weight"))
        if isinstance(module, BlockSparseLinear):
            packed, given = module.packed, module.values.grad
            assert given is not None
            gradient = PackedMatrix(packed.structure, packed.shape, given, packed.columns, packed.offsets).to_dense()
        else:
            gradient = module.weight.grad  # type: ignore[assignment,union-attr]
        parts.append(gradient.double().numpy().ravel())
    return np.concatenate(parts)


def _case(text: str, rate: float, batch: int, tokens: int, threads: int, chosen: ModelSettings) -> Case:
    dense, structure = fresh(chosen.model, chosen.seed), BlockStructure.parse(text)
    check_tokens(dense, chosen.tokens)
    masks = pruned(dense, structure, rate)
    what = describe(chosen.label, dense, masks, text, rate, batch, tokens, threads)
    ids = token_ids(dense, batch, tokens, chosen.seed)
    names = list(prunable_weights(dense))
    sparse = sparsify(copy.deepcopy(dense), structure, keep_dense_above=1.0)
    useful = 3 * operations(dense, what["kept"], batch, tokens)
    makers = {
        BASELINE: partial(_engine, BASELINE, "torch, masks held", Step(dense, ids, masks), names),
        OURS: partial(_engine, OURS, "blockprune", Step(sparse, ids), names),
    }
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="threads: ", category=RuntimeWarning)
            stack.enter_context(on_threads(threads))
        reference = makers[BASELINE]().answer()
        engines, errors, skipped = make_all(makers, (BASELINE, OURS), reference, TOLERANCES)
        for encoder in (dense, sparse):
            encoder.train()
        timings, peak = time_all(
            engines, threads, baseline=BASELINE, repeats=chosen.repeats, warmup=chosen.warmup, seed=chosen.seed
        )
    measured = described(engines, errors, TOLERANCES, threads)
    return Case(what, useful, BASELINE, OURS, measured, timings, peak, tuple(skipped))


def _engine(key: str, name: str, step: Step, names: list[str]) -> Engine:
    def answer() -> np.ndarray:
        step.model.eval()
        step.gradients()
        return weight_gradients(step.model.encoder, names)

    return Engine(key, name, step, answer)
