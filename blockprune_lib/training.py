"""The four stages on the Hugging Face Trainer: fine-tune, train with the penalty, prune, retrain under the masks.

    fine_tune         minimise the task's loss
    train_reweighted  ... plus the reweighted group Lasso, so that groups worth little become small
    prune             zero all but exactly k groups of every matrix; what is left is in the masks
    retrain           minimise the task's loss again; the masks hold to the last bit

Each stage trains the model in place, prints nothing, leaves nothing on disk unless told where, leaves the global random
state as it was, and returns a `StageReport`. What pruning adds to a training step is in `pruning_trainer`.
Left out: resuming a stage that was killed.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .evaluation import Scores, evaluate, prepare
from .lasso import ReweightedGroupLasso
from .selection import Balance, Masks, apply_masks_, select_model
from .stages import StageReport, TrainingSettings, check_settings, first_and_last
from .structure import BlockStructure, check_structure, group_norms

__all__ = ["StageReport", "TrainingSettings", "evaluate", "fine_tune", "prune", "retrain", "train_reweighted"]

NEAR_ZERO = 0.1


def fine_tune(model: Any, tokenizer: Any, data: Any, settings: TrainingSettings | None = None) -> StageReport:
    """Stage 1: train `model` on `data`, a `tasks.Task` or a pair (train, validation) of encoded datasets.

    An encoded dataset is a sequence of dicts with input_ids and label (or labels); validation may be None.
    Raises ValueError for data without examples or labels that do not fit the model's head, and FloatingPointError
    where the training diverges.

    >>> fine_tune(model, tokenizer, tasks.load("rte"), TrainingSettings(max_steps=80))  # doctest: +SKIP
    """
    return _run("fine-tune", model, tokenizer, data, settings)


def train_reweighted(
    model: Any,
    tokenizer: Any,
    data: Any,
    structure: BlockStructure,
    lam: float | Mapping[str, float] = 1e-4,
    eps: float = 1e-3,
    *,
    refresh_every: int | Literal["epoch"] | None = "epoch",
    method: Literal["penalty", "proximal"] = "penalty",
    scale_by_size: bool = False,
    reweighted: bool = True,
    settings: TrainingSettings | None = None,
    **which: bool,
) -> StageReport:
    """Stage 2: train with sum over n, g of λ · α_g · ||W_g||_2 added, α_g = 1 / (||W_g|| + ε).

    `method="penalty"` adds the penalty of the current weights to the loss, once a step; groups become small.
    `method="proximal"` shrinks each group by (learning rate) · λ · α_g after the optimiser's step; groups become zero.
    α starts from the weights the stage starts from and is refreshed every `refresh_every` steps, each "epoch", or never
    (None); `reweighted=False` is plain group Lasso, α = 1. `which` are the flags of `layers.prunable`. The rest as in
    `fine_tune` and `ReweightedGroupLasso`. Raises as they do, and ValueError for an unknown method or refresh.
    """
    settings = check_settings(settings)
    if method not in ("penalty", "proximal"):
        raise ValueError(f"method must be 'penalty' (in the loss) or 'proximal' (after each step); got {method!r}")
    whole = isinstance(refresh_every, int) and not isinstance(refresh_every, bool) and refresh_every >= 1
    if not (whole or refresh_every in ("epoch", None)):
        raise ValueError(f"refresh_every must be a number of steps, 'epoch' or None; got {refresh_every!r}")
    if which.get("embeddings") and settings.freeze_embeddings:
        raise ValueError("freeze_embeddings leaves the embeddings as they are, but embeddings=True penalises them")
    penalty = ReweightedGroupLasso(model, structure, lam, eps, scale_by_size, reweighted=reweighted, **which)
    extra = {"penalty": penalty, "method": method, "refresh_every": refresh_every if reweighted else None}
    return _run("reweight", model, tokenizer, data, settings, **extra)


def prune(
    model: nn.Module,
    structure: BlockStructure,
    rate: float,
    scope: Literal["matrix", "model"] = "matrix",
    balanced: Balance = False,
    **which: bool,
) -> Masks:
    """Stage 3: zero all but the best groups in place, exactly k = max(1, round(n / rate)) of n in each matrix.

    Returns the masks for `retrain`. Arguments and errors are those of `selection.select_model`.

    >>> layer = nn.Linear(8, 4)
    >>> masks = prune(layer, BlockStructure.block_row(4), rate=4.0)
    >>> int(layer.weight.count_nonzero()), masks.density
    (8, 0.25)
    """
    masks = select_model(model, structure, rate, scope, balanced, None, **which)
    apply_masks_(model, masks)
    return masks


def retrain(
    model: Any, tokenizer: Any, data: Any, masks: Mapping[str, Tensor], settings: TrainingSettings | None = None
) -> StageReport:
    """Stage 4: train on as in `fine_tune` while every weight that `masks` prunes stays +0.0, to the last bit.

    `masks` {parameter name: bool, the parameter's shape}, True where the weight lives, as `prune` returns them.
    Raises ValueError where they are empty, name no parameter of the model, or do not fit its shape.
    """
    return _run("retrain", model, tokenizer, data, settings, masks=masks)


def _run(
    stage: str, model: Any, tokenizer: Any, source: Any, settings: TrainingSettings | None, **extra: Any
) -> StageReport:
    """Train one stage with a `PruningTrainer` that takes `extra`, score before and after, and report."""
    from .pruning_trainer import PruningTrainer, training_arguments

    settings = check_settings(settings)
    data = prepare(model, tokenizer, source)
    scores = Scores(model, data)
    with tempfile.TemporaryDirectory(prefix="blockprune-") as folder, _undisturbed(model, settings):
        arguments = training_arguments(settings, folder, len(data.train))
        trainer = PruningTrainer(
            model=model,
            args=arguments,
            data_collator=data.collate,
            train_dataset=data.with_lengths(),
            eval_dataset=data.validation,
            compute_metrics=data.compute_metrics,
            observe=_observer(extra.get("penalty")),
            **extra,
        )
        before = scores.now() if settings.evaluate_first else None
        begin = trainer.observe() if trainer.observe else {}
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        history = [{"step": 0, **begin}] if begin else []
        history += [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
    on_the_way = sum(entry.get("eval_runtime", 0.0) for entry in history)
    after = scores.now()
    if settings.output_dir is not None:
        folder = str(Path(settings.output_dir) / stage)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    masks = extra.get("masks")
    return StageReport(
        stage=stage,
        steps=trainer.state.global_step,
        seconds=seconds - on_the_way,
        evaluation_seconds=scores.seconds + on_the_way,
        device=arguments.device.type,
        examples=0 if data.validation is None else len(data.validation),
        metric=data.metric,
        majority=data.majority(),
        before=before,
        after=after,
        loss=first_and_last(history, "loss"),
        penalty=first_and_last(history, "penalty"),
        near_zero=first_and_last(history, "near_zero"),
        refreshes=trainer.refreshes if "penalty" in extra else None,
        density=Masks(masks, BlockStructure.irregular()).density if masks else None,
        settings=settings,
        history=history,
    )


@contextmanager
def _undisturbed(model: Any, settings: TrainingSettings) -> Iterator[None]:
    """Freeze what the settings freeze; afterwards leave the model in eval mode, and the rest as it was."""
    frozen = [weight for weight in _embeddings(model) if weight.requires_grad] if settings.freeze_embeddings else []
    attributes = dict(vars(model))
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION")  # transformers 4.57 sets it for bf16, for good
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (the Trainer seeds it)
    try:
        for weight in frozen:
            weight.requires_grad_(False)
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
        if precision is not None:
            os.environ["ACCELERATE_MIXED_PRECISION"] = precision
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        for weight in frozen:
            weight.requires_grad_(True)
        # Accelerate marks the model, and under bf16 leaves an autocast around its forward.
        for key in set(vars(model)) - set(attributes):
            delattr(model, key)
        vars(model).update({key: value for key, value in attributes.items() if key == "forward"})
        model.zero_grad(set_to_none=True)
        model.eval()


def _embeddings(model: Any) -> list[nn.Parameter]:
    """The parameters of the embeddings, their layer normalisation included: below them no gradient is needed."""
    encoder = getattr(model, model.base_model_prefix, model)
    return list(getattr(encoder, "embeddings", model.get_input_embeddings()).parameters())


def _observer(penalty: ReweightedGroupLasso | None) -> Callable[[], dict[str, float]] | None:
    if penalty is None:
        return None

    def observe() -> dict[str, float]:
        with torch.no_grad():
            return {"penalty": float(penalty()), "near_zero": near_zero_share(penalty.weights, penalty.structure)}

    return observe


@torch.no_grad()
def near_zero_share(weights: Mapping[str, Tensor], structure: BlockStructure) -> float:
    """The share of groups, 0 to 1, whose root mean square is below a tenth of their matrix's.

    `weights` {name: (M, N)}. It tells how far the groups have split into some that matter and some that do not.

    >>> near_zero_share({"w": torch.tensor([[3.0, 4.0, 0.1, 0.1]])}, BlockStructure.block_row(2))
    0.5
    """
    check_structure(structure)
    near = groups = 0
    for weight in weights.values():
        norms, sizes = group_norms(weight, structure), structure.sizes(weight.shape, weight.device)
        typical = norms.square().sum().div(weight.numel()).sqrt()
        near += int((norms <= NEAR_ZERO * typical * sizes.sqrt()).sum())
        groups += norms.numel()
    return near / groups
