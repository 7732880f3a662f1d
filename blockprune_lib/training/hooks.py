"""What pruning adds to a training step, one hook each: the penalty, and fixed masks.

    backward of the task's loss         (the Trainer)
    hook.before_optimizer_step          the penalty's gradient is added; gradients of pruned weights are zeroed
    clip, optimiser step                (the Trainer)
    hook.after_optimizer_step           group soft-threshold (method "proximal"); pruned weights are reset to +0.0
    hook.step_counted, hook.new_epoch   alpha is refreshed; masks shrink (see `gradual`)

`before_optimizer_step` comes after the last micro-batch, so a hook acts once a step even where its batch is split into
micro-batches. Every process of a distributed run sees the same weights and summed gradients, so alpha and masks agree.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, get_args

import torch
from torch import Tensor, nn

from .._common.checks import one_of
from ..pruning.groups import group_norms
from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.masks import HeldMasks, Masks
from ..pruning.structure import BlockStructure, check_structure
from .report import first_and_last
from .settings import LamSchedule, PenaltyMethod

NEAR_ZERO = 0.1


class Progress(NamedTuple):
    """Progress of a training: optimiser steps done, total steps, current learning rate."""

    step: int
    steps: int
    learning_rate: float


class HookState(NamedTuple):
    """A hook's part of a checkpoint: tensors by name, and values that JSON can hold."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class Hook:
    """What is called in a training, in this order; each method does nothing unless a hook overrides it."""

    name: ClassVar[str] = ""

    def started(self, progress: Progress) -> None:
        """Called before the first step, of a resumed training too."""

    def before_optimizer_step(self, progress: Progress) -> None:
        """Called after the backward pass of a step's last micro-batch, before clipping."""

    def after_optimizer_step(self, progress: Progress) -> None:
        """Called right after the optimiser's step, which `progress.step` does not count yet."""

    def step_counted(self, progress: Progress) -> None:
        """Called once `progress.step` counts the step: it is at least 1."""

    def new_epoch(self, progress: Progress) -> None:
        """Called before the first step of every epoch except the first."""

    def config(self) -> dict[str, Any]:
        """The hook's settings, JSON-able: a stage resumes only if they are unchanged."""
        return {}

    def log_values(self) -> dict[str, float]:
        """What this hook adds to each log entry."""
        return {}

    def report(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """The fields that this hook fills in the `StageReport`, at the end; `history` is what was logged."""
        return {}

    def state(self) -> HookState:
        """What a checkpoint needs to resume from here."""
        return HookState({}, {})

    def load(self, state: HookState) -> None:
        """Restore a `state()`."""


class LassoHook(Hook):
    """The reweighted group Lasso in training, in the loss or as a soft-threshold after each step.

    `refresh_every`: steps between two `penalty.reweight()`, "epoch", "4 epochs", or None for never; no refresh after
    the last step. `lam_schedule`: "constant", or "rise": λ rises linearly, reaching its value at the last step.
    """

    name = "penalty"

    def __init__(
        self, penalty: ReweightedGroupLasso, method: PenaltyMethod = "penalty",
        refresh_every: int | str | None = None, lam_schedule: LamSchedule = "constant",
    ) -> None:  # fmt: skip
        one_of(method, "method", get_args(PenaltyMethod))
        one_of(lam_schedule, "lam_schedule", get_args(LamSchedule))
        self._every_steps, self._every_epochs = _refresh_interval(refresh_every) if penalty.reweighted else (None, None)
        self.penalty, self.method, self.lam_schedule = penalty, method, lam_schedule
        self.refresh_every = refresh_every if penalty.reweighted else None
        self.refreshes = self.epochs = 0

    def before_optimizer_step(self, progress: Progress) -> None:
        """Add the penalty's gradient to the task's."""
        if self.method == "penalty":
            self.penalty.add_gradient_(self._scale(progress))

    def after_optimizer_step(self, progress: Progress) -> None:
        """Shrink every group by (learning rate) · λ · α_g."""
        if self.method == "proximal":
            self.penalty.proximal_(progress.learning_rate * self._scale(progress))

    def step_counted(self, progress: Progress) -> None:
        """Refresh α when due by the count of steps."""
        if self._every_steps is not None and progress.step % self._every_steps == 0:
            self._refresh(progress)

    def new_epoch(self, progress: Progress) -> None:
        """Refresh α when due by the count of epochs."""
        self.epochs += 1
        if self._every_epochs is not None and self.epochs % self._every_epochs == 0:
            self._refresh(progress)

    def config(self) -> dict[str, Any]:
        """The penalty's settings."""
        pen, strengths = self.penalty, set(self.penalty.lam.values())
        return {
            "structure": str(pen.structure), "lam": strengths.pop() if len(strengths) == 1 else dict(pen.lam),
            "lam_schedule": self.lam_schedule, "eps": pen.eps, "scale_by_size": pen.scale_by_size,
            "reweighted": pen.reweighted, "method": self.method, "refresh_every": self.refresh_every,
            "matrices": list(pen.weights),
        }  # fmt: skip

    @torch.no_grad()
    def log_values(self) -> dict[str, float]:
        """The penalty at full λ, and the share of groups near zero."""
        weights = self.penalty.weights
        return {"penalty": float(self.penalty()), "near_zero": near_zero_share(weights, self.penalty.structure)}

    def report(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """First and last penalty, first and last share of groups near zero, and how often α was refreshed."""
        return {key: first_and_last(history, key) for key in ("penalty", "near_zero")} | {"refreshes": self.refreshes}

    def state(self) -> HookState:
        """α, how often it was refreshed, and how many epochs have ended."""
        return HookState(dict(self.penalty.state_dict()["alpha"]), {"refreshes": self.refreshes, "epochs": self.epochs})

    def load(self, state: HookState) -> None:
        """Restore α and the counts."""
        self.penalty.load_state_dict(self.penalty.state_dict() | {"alpha": state.tensors})
        self.refreshes, self.epochs = state.values["refreshes"], state.values["epochs"]

    def _scale(self, progress: Progress) -> float:
        return 1.0 if self.lam_schedule == "constant" else (progress.step + 1) / progress.steps

    def _refresh(self, progress: Progress) -> None:
        if progress.step < progress.steps:
            self.penalty.reweight()
            self.refreshes += 1


class MaskHook(Hook):
    """Fixed masks, bitwise exact: pruned weights stay +0.0. Takes the arguments of `pruning.masks.HeldMasks`."""

    name = "masks"

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.model, self.masks, self.held = model, masks, HeldMasks(model, masks)

    def config(self) -> dict[str, Any]:
        """A checksum of the masks."""
        checksum = 0
        for name, mask in self.masks.items():
            checksum = zlib.crc32(name.encode() + mask.cpu().contiguous().numpy().tobytes(), checksum)
        return {"crc32": f"{checksum:08x}", "matrices": list(self.masks)}

    def started(self, progress: Progress) -> None:
        """Zero the pruned weights."""
        self.held.mask_weights_()

    def before_optimizer_step(self, progress: Progress) -> None:
        """Zero the gradients of pruned weights, so that clipping sees only those of kept weights."""
        self.held.mask_gradients_()

    def after_optimizer_step(self, progress: Progress) -> None:
        """Zero the pruned weights, whatever the optimiser did to them."""
        self.held.mask_weights_()

    def report(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """The density of all masks together, and of each."""
        densities = {name: float(mask.float().mean()) for name, mask in self.masks.items()}
        # Any structure would do here: density counts elements.
        return {"density": Masks(self.masks, BlockStructure.irregular()).density, "densities": densities}


def _refresh_interval(every: Any) -> tuple[int | None, int | None]:
    """(steps, None) or (None, epochs) between two refreshes; (None, None) for never."""
    if isinstance(every, int) and not isinstance(every, bool) and every >= 1:
        return every, None
    if every is None:
        return None, None
    match = re.fullmatch(r"epoch|([1-9]\d*) epochs?", every) if isinstance(every, str) else None
    if match is None:
        raise ValueError(f"refresh_every must be a number of steps, 'epoch', '4 epochs' or None; got {every!r}")
    return None, int(match[1] or 1)


@torch.no_grad()
def near_zero_share(weights: Mapping[str, Tensor], structure: BlockStructure) -> float:
    """The share of groups, 0 to 1, whose root mean square is below a tenth of their matrix's.

    `weights` {name: (M, N)}. It tells how clearly the groups have split into some that matter and some that do not.

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
