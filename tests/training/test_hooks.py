"""The penalty as a hook: when alpha is refreshed, how lambda rises, and what a checkpoint gives back."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blockprune_lib.pruning.lasso import ReweightedGroupLasso
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.hooks import Hook, HookState, LassoHook, MaskHook, Progress
from blockprune_lib.training.stages import prune, retrain, train_reweighted

from ..helpers.references import alpha
from ..helpers.tiny_training import DATA, ROWS, TOKENIZER, settings, tiny

PAIRS = BlockStructure.block_row(2)


def penalty(**more: Any) -> ReweightedGroupLasso:
    weight = torch.tensor([[3.0, 4.0, 0.6, 0.8]], requires_grad=True)
    return ReweightedGroupLasso({"w": weight}, PAIRS, 0.1, eps=1.0, **more)


@pytest.mark.parametrize(
    ("every", "steps", "epochs", "expected"),
    [(2, 7, 0, 3), (7, 7, 0, 0), (None, 9, 3, 0), ("epoch", 0, 3, 3), ("2 epochs", 0, 5, 2), ("1 epoch", 0, 2, 2)],
)
def test_refreshes_are_counted_by_steps_or_epochs(every: Any, steps: int, epochs: int, expected: int) -> None:
    hook = LassoHook(penalty(), refresh_every=every)
    for step in range(1, steps + 1):
        hook.step_counted(Progress(step, steps, 0.1))
    for epoch in range(epochs):
        hook.new_epoch(Progress(epoch, 100, 0.1))
    assert hook.refreshes == expected


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "steps", "0 epochs", "4 epoch s", ""])
def test_a_refresh_that_cannot_be_meant_is_refused(every: Any) -> None:
    with pytest.raises(ValueError, match="refresh_every must be a number of steps, 'epoch', '4 epochs' or None"):
        LassoHook(penalty(), refresh_every=every)


@pytest.mark.parametrize(("method", "schedule"), [("proximall", "constant"), ("penalty", "zigzag")])
def test_unknown_words_are_refused(method: str, schedule: str) -> None:
    with pytest.raises(ValueError, match=r"(method|lam_schedule) must be one of"):
        LassoHook(penalty(), method, None, schedule)


@pytest.mark.parametrize("method", ["penalty", "proximal"])
def test_lambda_rises_in_equal_steps(method: str) -> None:
    for step in range(4):
        pen = penalty()
        weight = pen.weights["w"]
        start = weight.detach().numpy().copy()
        hook = LassoHook(pen, method, None, "rise")
        hook.before_optimizer_step(Progress(step, 4, 0.5))
        hook.after_optimizer_step(Progress(step, 4, 0.5))
        groups = start.reshape(2, 2)
        norms = np.linalg.norm(groups, axis=1, keepdims=True)
        pull = 0.1 * (step + 1) / 4 * groups / norms * alpha(norms, 1.0)
        if method == "penalty":
            np.testing.assert_allclose(weight.grad.numpy().reshape(2, 2), pull, rtol=1e-5)
            np.testing.assert_array_equal(weight.detach().numpy(), start)
        else:
            assert weight.grad is None
            np.testing.assert_allclose(weight.detach().numpy().reshape(2, 2), groups - 0.5 * pull, rtol=1e-5)


def test_a_state_gives_alpha_and_counts_back() -> None:
    hook = LassoHook(penalty(), refresh_every="2 epochs")
    with torch.no_grad():
        hook.penalty.weights["w"].mul_(0.5)
    for epoch in range(3):
        hook.new_epoch(Progress(epoch, 9, 0.1))
    state = copy.deepcopy(hook.state())
    other = LassoHook(penalty(), refresh_every="2 epochs")
    other.load(state)
    assert torch.equal(other.penalty.alpha["w"], hook.penalty.alpha["w"])
    assert (other.refreshes, other.epochs) == (1, 3)


def test_a_hook_does_nothing_unless_it_says_so() -> None:
    hook, progress = Hook(), Progress(0, 1, 0.1)
    for method in ("started", "before_optimizer_step", "after_optimizer_step", "step_counted", "new_epoch"):
        assert getattr(hook, method)(progress) is None
    assert (hook.log_values(), hook.config(), hook.report([]), hook.state()) == ({}, {}, {}, HookState({}, {}))
    hook.load(HookState({}, {}))


def test_masks_are_described_by_what_they_keep() -> None:
    layer = nn.Linear(4, 2)
    mask = torch.tensor([[True, False, True, True], [True, True, True, True]])
    first = MaskHook(layer, {"weight": mask}).config()
    assert first == MaskHook(layer, {"weight": mask.clone()}).config()
    mask[1, 1] = False
    assert first != MaskHook(layer, {"weight": mask}).config()


def test_a_rising_lambda_pulls_less_in_all() -> None:
    ends = {}
    for schedule in ("constant", "rise"):
        model = tiny(dropout=0.0)
        report = train_reweighted(
            model, TOKENIZER, (DATA[0], None), ROWS, 0.3, lam_schedule=schedule, method="proximal",
            settings=settings(max_steps=12),
        )  # fmt: skip
        assert report.near_zero is not None
        ends[schedule] = report.penalty[1] if report.penalty else 0.0
    assert ends["rise"] > ends["constant"]


# ---- every optimiser that the Trainer offers, and the packed support


def constructible() -> list[str]:
    from transformers.training_args import OptimizerNames

    return [entry.value for entry in OptimizerNames]


@pytest.mark.parametrize("optimizer", constructible())
def test_the_zero_pattern_is_the_mask_for_every_optimiser(optimizer: str) -> None:
    model = tiny()
    masks = prune(model, ROWS, rate=3.0)
    chosen = settings(optimizer=optimizer, weight_decay=0.1, learning_rate=1e-3, max_steps=3)
    try:
        retrain(model, TOKENIZER, (DATA[0], None), masks, chosen)
    except (ImportError, ValueError, RuntimeError, NotImplementedError, AttributeError, AssertionError) as error:
        pytest.skip(f"{optimizer} needs more than is here: {type(error).__name__}: {str(error)[:80]}")
    for name, mask in masks.items():
        bits = model.get_parameter(name).detach().view(torch.int32)
        assert not bits[~mask].any(), f"{optimizer}: {name} has a pruned weight that is not +0.0"
        assert bits[mask].all(), f"{optimizer}: {name} has a living weight that is zero"


@pytest.mark.parametrize("text", ["block_row:8", "block_column:5", "tile:7x9"])
def test_training_on_the_packed_support_is_training_with_masks(text: str) -> None:
    ends = {}
    for support in ("masks", "packed"):
        model = tiny(dropout=0.0)
        masks = prune(model, BlockStructure.parse(text), rate=3.0)
        kinds = {name: type(module) for name, module in model.named_modules()}
        report = retrain(model, TOKENIZER, DATA, masks, settings(max_steps=6), support=support)  # type: ignore[arg-type]
        assert {name: type(module) for name, module in model.named_modules()} == kinds, "the model comes back dense"
        ends[support] = (dict(model.state_dict()), report.after)
        for name, mask in masks.items():
            assert not model.get_parameter(name).detach()[~mask].any()
    for name, weight in ends["masks"][0].items():
        torch.testing.assert_close(ends["packed"][0][name], weight, rtol=1e-3, atol=1e-4)
    assert ends["masks"][1] == ends["packed"][1]


@pytest.mark.filterwarnings("ignore:.*pruned for both:blockprune_lib.pruning.PassedOverWarning")
def test_layers_that_share_a_weight_are_trained_on_either_support() -> None:
    ends = {}
    for support in ("masks", "packed"):
        model = tiny(dropout=0.0)
        first, second = model.bert.encoder.layer
        second.attention.self.query.weight = first.attention.self.query.weight
        second.output.dense = first.output.dense
        masks = prune(model, ROWS, rate=3.0)
        retrain(model, TOKENIZER, (DATA[0], None), masks, settings(max_steps=4), support=support)  # type: ignore[arg-type]
        assert second.attention.self.query.weight is first.attention.self.query.weight
        assert second.output.dense is first.output.dense
        ends[support] = model.state_dict()
    for name, weight in ends["masks"].items():
        torch.testing.assert_close(ends["packed"][name], weight, rtol=1e-3, atol=1e-4)


def test_groups_that_are_kept_and_empty_are_trained_on_either_support() -> None:
    ends = {}
    for support in ("masks", "packed"):
        model = tiny(dropout=0.0)
        weight = model.get_parameter("bert.encoder.layer.0.intermediate.dense.weight")
        with torch.no_grad():
            weight[: weight.shape[0] // 2] = 0  # as a penalty that was too strong leaves it
        masks = prune(model, ROWS, rate=1.25)
        retrain(model, TOKENIZER, DATA, masks, settings(max_steps=4), support=support)  # type: ignore[arg-type]
        ends[support] = weight.detach().clone()
        mask = masks["bert.encoder.layer.0.intermediate.dense.weight"]
        assert torch.equal(ends[support] != 0, mask), "kept groups that were zero live again"
    torch.testing.assert_close(ends["packed"], ends["masks"], rtol=1e-3, atol=1e-4)


def test_support_and_its_masks_are_checked() -> None:
    model = tiny()
    masks = prune(model, ROWS, rate=3.0)
    with pytest.raises(ValueError, match="support must be one of masks, packed; got 'sparse'"):
        retrain(model, TOKENIZER, DATA, masks, settings(), support="sparse")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be what prune returns"):
        retrain(model, TOKENIZER, DATA, dict(masks), settings(), support="packed")
