"""The penalty on a schedule: the share of zero groups follows it in every structure, masks hold, groups come back."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.gradual import cubic_density
from blockprune_lib.training.hooks import HookState, Progress
from blockprune_lib.training.shrinking import ShrinkToRate
from blockprune_lib.training.stages import shrink_gradually

from ..helpers.references import norms, structure_texts
from ..helpers.tiny_training import DATA, ROWS, TOKENIZER, settings, tiny

TEXTS = structure_texts((5, 8), (7, 9))


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 12), nn.Linear(12, 17))


def zero_groups(hook: ShrinkToRate) -> dict[str, tuple[int, int]]:
    """(Groups at zero, all groups) of each matrix."""
    found = {}
    for name, weight in hook.weights.items():
        grid = norms(weight.detach().numpy(), hook.structure)
        found[name] = int((grid == 0).sum()), grid.size
    return found


def drive(hook: ShrinkToRate, steps: int, pace: float = 0.01) -> list[dict[str, tuple[int, int]]]:
    """Steps of plain descent on made-up gradients, as a Trainer would call the hook: zero groups after each."""
    generator, seen = torch.Generator().manual_seed(0), []
    hook.started(Progress(0, steps, pace))
    for step in range(steps):
        for weight in hook.weights.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        hook.before_optimizer_step(Progress(step, steps, pace))
        with torch.no_grad():
            for weight in hook.weights.values():
                assert weight.grad is not None
                weight -= pace * weight.grad
        hook.after_optimizer_step(Progress(step, steps, pace))
        hook.step_counted(Progress(step + 1, steps, pace))
        seen.append(zero_groups(hook))
    return seen


@pytest.mark.parametrize("text", TEXTS)
def test_the_zero_share_follows_the_target_within_one_group(text: str) -> None:
    hook = ShrinkToRate(
        model(), BlockStructure.parse(text), 4.0, refresh_every=1, begin=0.1, end=0.6, fix=0.8, reach=2.0
    )
    for step, zeros in enumerate(drive(hook, 40), 1):
        share = 1 - cubic_density(step, 4, 24, 0.25)
        for zero, groups in zeros.values():
            assert abs(zero - min(groups - 1, share * groups)) <= 1


@pytest.mark.parametrize("how", [{"reweighted": False}, {"refresh_every": None}, {"scope": "model"}, {"hold": True}])
def test_every_kind_of_it_ends_at_the_rate(how: dict[str, Any]) -> None:
    hook = ShrinkToRate(model(), BlockStructure.block_row(4), 4.0, begin=0.0, end=0.5, **how)
    zeros = drive(hook, 40)[-1]
    gone, groups = (sum(pair[i] for pair in zeros.values()) for i in (0, 1))
    assert abs(gone - 0.75 * groups) <= 1


def test_groups_come_back_until_the_masks_are_fixed_and_never_where_they_are_held() -> None:
    back = {}
    for hold in (False, True):
        hook = ShrinkToRate(
            model(), BlockStructure.block_row(4), 2.0, refresh_every=2, begin=0.0, end=0.2, fix=0.5, hold=hold
        )
        seen = []
        step = hook.step_counted

        def watch(progress: Progress, step: Any = step, hook: Any = hook, seen: Any = seen) -> None:
            step(progress)
            seen.append({name: mask.clone() for name, mask in hook.masks.items()})

        hook.step_counted = watch  # type: ignore[method-assign]
        drive(hook, 60, pace=0.5)
        moved = [any(bool((b[name] & ~a[name]).any()) for name in a) for a, b in itertools.pairwise(seen)]
        back[hold] = any(moved)
        assert not any(moved[30:])
        for name, weight in hook.weights.items():
            assert not weight[~hook.masks[name]].any()
    assert back == {False: True, True: False}


def test_a_stage_of_it_ends_with_exactly_k_groups_and_says_what_it_did() -> None:
    report, masks = shrink_gradually(
        tiny(), TOKENIZER, (DATA[0], None), ROWS, 3.0, refresh_every=2, settings=settings(max_steps=20)
    )
    for row in masks.rows():
        assert row["kept"] == max(1, round(row["groups"] / 3.0)), row["matrix"]
    assert report.density == pytest.approx(masks.density)
    assert report.near_zero is not None
    assert report.near_zero[0] < 0.1 < 0.6 < report.near_zero[1]
    assert report.refreshes
    assert {"density", "near_zero", "returned"} <= set(report.history[-1])


@pytest.mark.parametrize("how", [{}, {"refresh_every": None}])
def test_its_state_is_all_it_needs(how: dict[str, Any]) -> None:
    first = ShrinkToRate(model(), BlockStructure.tile(5, 8), 4.0, **how)
    drive(first, 30)
    tensors, values = first.state()
    second = ShrinkToRate(model(), BlockStructure.tile(5, 8), 4.0, **how)
    second.load(HookState({name: value.clone() for name, value in tensors.items()}, dict(values)))
    for name, value in second.state().tensors.items():
        assert torch.equal(value, tensors[name])
    assert second.state().values == values
    assert second.fixed


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"begin": 0.8}, "begin, end and fix must be shares"),
        ({"fix": 0.5}, "begin, end and fix must be shares"),
        ({"end": 1.5}, "begin, end and fix must be shares"),
        ({"refresh_every": 0}, "refresh_every must be a whole number of at least 1"),
        ({"reach": 1.0}, "reach must be"),
        ({"eps": 0.0}, "eps must be"),
        ({"rate": 0.5}, "rate must be"),
        ({"scope": "layer"}, "scope must be"),
        ({"structure": BlockStructure.block_row(500)}, "block larger"),
        ({"embeddings": True, "settings": settings(freeze_embeddings=True)}, "freeze_embeddings"),
    ],
)
def test_what_cannot_be_is_refused_before_any_step(how: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"structure": ROWS, "rate": 2.0, "settings": settings()}
    with pytest.raises(ValueError, match=message):
        shrink_gradually(tiny(), TOKENIZER, (DATA[0], None), **(usual | how))
