"""The four stages on the Hugging Face Trainer: fine-tune, train with the penalty, prune, retrain under the masks.

    fine_tune         minimise the task's loss
    train_reweighted  ... plus the reweighted group Lasso, so that groups worth little become small
    prune             zero all but exactly k groups of every matrix; what is left is in the masks
    retrain           minimise the task's loss again; the masks hold to the last bit

    prune_gradually   the last two at once: the masks shrink while the model trains
    shrink_gradually  the last three at once: the penalty's strength follows the share of groups that should be at zero

Each stage trains the model in place, prints nothing, leaves the global random state as it was, and returns a
`StageReport`. With `TrainingSettings(output_dir=...)` it is kept there: called again after it was killed it goes on
from its last checkpoint, and called again when it is finished it reads the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

from torch import Tensor, nn

from .._common.checks import one_of
from ..nn.block_sparse_linear import BlockSparseLinear
from ..nn.places import places, put_
from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.masks import Masks, apply_masks_
from ..pruning.passed_over import shares_otherwise
from ..pruning.selection import Balance, Scope, select_model
from ..pruning.structure import BlockStructure
from .distillation import Teacher
from .gradual import GradualPruning
from .hooks import LassoHook, MaskHook
from .output_scales import output_scales
from .report import StageReport
from .settings import LamSchedule, PenaltyMethod, PruningScore, Support, TrainingSettings, check_settings
from .shrinking import ShrinkToRate
from .stage_runner import run_stage


def fine_tune(
    model: Any, tokenizer: Any, data: Any, settings: TrainingSettings | None = None, *, teacher: Teacher | None = None
) -> StageReport:
    """Stage 1: train `model` on `data`, a `tasks.Task` or a pair (train, validation) of encoded datasets.

    An encoded dataset is a sequence of dicts with input_ids and label (or labels); validation may be None.
    `teacher`: learn from a trained model too.
    Raises ValueError for data without examples or labels that do not fit the model's head, and FloatingPointError
    where the training diverges.

    >>> fine_tune(model, tokenizer, tasks.load("rte"), TrainingSettings(max_steps=80))  # doctest: +SKIP
    """
    return run_stage("fine-tune", model, tokenizer, data, settings, teacher=teacher)


def train_reweighted(
    model: Any, tokenizer: Any, data: Any, structure: BlockStructure, lam: float | Mapping[str, float] = 1e-4,
    eps: float = 1e-3, *, refresh_every: int | str | None = "epoch", method: PenaltyMethod = "penalty",
    lam_schedule: LamSchedule = "constant", scale_by_size: bool = False, reweighted: bool = True,
    settings: TrainingSettings | None = None, teacher: Teacher | None = None, **which: bool,
) -> StageReport:  # fmt: skip
    """Stage 2: train with sum over n, g of λ · α_g · ||W_g||_2 added, α_g = 1 / (||W_g|| + ε).

    `method="penalty"` adds the penalty of the current weights to the loss, once a step; groups become small.
    `method="proximal"` shrinks each group by (learning rate) · λ · α_g after the optimiser's step; groups become zero
    where that outweighs the step. AdamW rescales gradients and not this, so a λ for plain gradient steps is too weak.
    α starts from the weights the stage starts from and is refreshed every `refresh_every` steps, each "epoch", every
    "4 epochs", or never (None); `reweighted=False` is plain group Lasso, α = 1. `lam_schedule="rise"` lets λ grow from
    0 to its value over the stage. `which` are the flags of `prunable`. The rest as in `fine_tune` and
    `ReweightedGroupLasso`. Raises what these raise, and ValueError for an unknown method, schedule or refresh.
    """
    _refuse_frozen(settings, which)
    penalty = ReweightedGroupLasso(model, structure, lam, eps, scale_by_size, reweighted=reweighted, **which)
    hook = LassoHook(penalty, method, refresh_every, lam_schedule)
    return run_stage("reweight", model, tokenizer, data, settings, [hook], teacher)


def prune(
    model: nn.Module, structure: BlockStructure, rate: float, scope: Scope = "matrix", balanced: Balance = False,
    **which: bool,
) -> Masks:  # fmt: skip
    """Stage 3: zero all but the best groups in place, exactly k = max(1, round(n / rate)) of n in each matrix.

    Returns the masks for `retrain`. Arguments and errors are those of `select_model`.

    >>> layer = nn.Linear(8, 4)
    >>> masks = prune(layer, BlockStructure.block_row(4), rate=4.0)
    >>> int(layer.weight.count_nonzero()), masks.density
    (8, 0.25)
    """
    masks = select_model(model, structure, rate, scope, balanced, None, **which)
    apply_masks_(model, masks)
    return masks


def retrain(
    model: Any, tokenizer: Any, data: Any, masks: Mapping[str, Tensor], settings: TrainingSettings | None = None,
    *, teacher: Teacher | None = None, support: Support = "masks",
) -> StageReport:  # fmt: skip
    """Stage 4: train on as in `fine_tune` while every weight that `masks` prunes stays +0.0, to the last bit.

    `masks` {parameter name: bool, the parameter's shape}, True where the weight lives, as `prune` returns them.
    `teacher`: learn from a trained model too. `support="packed"` trains on what is left alone, with block-sparse layers
    forward and backward (on a CPU; `masks` must be what `prune` returned); the model comes back dense, zeros in place.
    Raises ValueError where the masks are empty, name no parameter of the model, or do not fit its shape.
    """
    one_of(support, "support", get_args(Support))
    hook = MaskHook(model, masks)
    if support == "masks":
        return run_stage("retrain", model, tokenizer, data, settings, [hook], teacher)
    if not isinstance(masks, Masks):
        raise TypeError(f"masks must be what prune returns where support='packed'; got {type(masks).__name__}")
    return run_stage("retrain", model, tokenizer, data, settings, [hook], teacher, context=_packed(model, masks))


def prune_gradually(
    model: Any, tokenizer: Any, data: Any, structure: BlockStructure, rate: float,
    *, score: PruningScore = "magnitude", scope: Scope = "matrix", balanced: Balance = False, begin: float = 0.1,
    end: float = 0.7, settings: TrainingSettings | None = None, teacher: Teacher | None = None, **which: bool,
) -> tuple[StageReport, Masks]:  # fmt: skip
    """Stages 3 and 4 at once: the masks shrink on the cubic schedule between `begin` and `end`, then hold.

    `score`: which groups go, by "magnitude", by "movement" (Sanh, Wolf and Rush 2020), or by "sensitivity": how far the
    outputs of the model it starts from would move without the group, estimated from 512 training examples, which makes
    groups of different matrices comparable too (scope "model"). `begin`, `end`: shares of the steps, 0 to 1. Returns
    the report and the last masks. The rest as in `prune` and `retrain`.
    """
    _refuse_frozen(settings, which)
    by_outputs = score == "sensitivity"
    scales = output_scales(model, tokenizer, data, check_settings(settings), **which) if by_outputs else None
    hook = GradualPruning(model, structure, rate, score, scope, balanced, begin, end, scales=scales, **which)
    report = run_stage("retrain", model, tokenizer, data, settings, [hook], teacher)
    return report, hook.masks


def shrink_gradually(
    model: Any, tokenizer: Any, data: Any, structure: BlockStructure, rate: float,
    *, eps: float = 1e-3, reweighted: bool = True, refresh_every: int | None = 10, reach: float | None = None,
    hold: bool = False, scope: Scope = "matrix", balanced: Balance = False, begin: float = 0.1, end: float = 0.7,
    fix: float | None = None, settings: TrainingSettings | None = None, teacher: Teacher | None = None, **which: bool,
) -> tuple[StageReport, Masks]:  # fmt: skip
    """Stages 2 to 4 at once, without a λ to choose: the reweighted group Lasso as far as the share of zero groups says.

    Every `refresh_every` steps a proximal step of the penalty (`pruning.zero_target`) leaves as many groups at zero as
    the cubic schedule asks for: none up to `begin`, all but 1 / `rate` from `end` on, shares of the steps. Groups may
    come back until `fix` (None: `end`), when the best ones become the masks, which then hold. `reweighted=False`: plain
    group Lasso; `refresh_every=None`: α of the first weights for good. `reach`: only groups near the threshold pay;
    `hold`: zero groups do not come back. Returns the report and the masks. The rest as in `prune` and `retrain`.
    """
    _refuse_frozen(settings, which)
    hook = ShrinkToRate(
        model, structure, rate, eps=eps, reweighted=reweighted, refresh_every=refresh_every, reach=reach, hold=hold,
        scope=scope, balanced=balanced, begin=begin, end=end, fix=fix, **which,
    )  # fmt: skip
    report = run_stage("retrain", model, tokenizer, data, settings, [hook], teacher)
    return report, hook.masks


def _refuse_frozen(settings: TrainingSettings | None, which: Mapping[str, bool]) -> None:
    if which.get("embeddings") and check_settings(settings).freeze_embeddings:
        raise ValueError("freeze_embeddings leaves the embeddings as they are, but embeddings=True would prune them")


@contextmanager
def _packed(model: nn.Module, masks: Masks) -> Iterator[None]:
    """The masked Linears of `model` as block-sparse layers; dense again, with zeros in place, afterwards.

    One that does more than multiply stays as it is, and its mask holds; so does one whose weight another module uses in
    another way.
    """
    modules = dict(model.named_modules())
    masked = {name: m for name, m in modules.items() if isinstance(m, nn.Linear) and f"{name}.weight" in masks}
    dense = {
        name: linear
        for name, linear in masked.items()
        if not any(shares_otherwise(module, linear.weight) for _, module in places(model, linear.weight))
    }
    stood = {place: module for linear in dense.values() for place, module in places(model, linear.weight)}
    for name, linear in dense.items():
        # By the mask, not by the weights: the penalty may have emptied groups that the rate keeps.
        packed = BlockSparseLinear.from_linear(linear, masks.structures[f"{name}.weight"], masks.keep(f"{name}.weight"))
        put_(model, linear, packed)
    try:
        yield
    finally:
        for place, was in stood.items():
            trained = model.get_submodule(place)
            if isinstance(trained, BlockSparseLinear):  # else its parent stands in several places
                was.load_state_dict(trained.to_linear().state_dict())
            model.set_submodule(place, was)
