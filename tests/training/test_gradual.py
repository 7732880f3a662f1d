"""Masks that shrink while the model trains: the schedule by hand, exact counts, movement against plain arithmetic."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from blockprune_lib.pruning.architectures import prunable_weights
from blockprune_lib.pruning.sensitivity import Scales, sensitivities
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.gradual import GradualPruning, cubic_density
from blockprune_lib.training.hooks import Progress
from blockprune_lib.training.output_scales import output_scales
from blockprune_lib.training.stages import prune_gradually

from ..helpers.tiny_training import DATA, ROWS, TOKENIZER, examples, settings, tiny


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.01, 1.0), st.integers(-5, 100))
def test_the_schedule_is_cubic_between_its_ends(start: int, length: int, final: float, step: int) -> None:
    got = cubic_density(step, start, start + length, final)
    where = np.clip((step - start) / length, 0, 1)
    assert got == pytest.approx(final + (1 - final) * (1 - where) ** 3)
    assert final - 1e-12 <= got <= 1
    assert got >= cubic_density(step + 1, start, start + length, final)


@pytest.mark.parametrize("score", ["magnitude", "movement", "sensitivity"])
@pytest.mark.parametrize("text", ["irregular", "block_row:8", "block_column:5", "tile:7x9", "row", "column"])
def test_it_ends_with_exactly_k_groups_and_zeros_to_the_last_bit(text: str, score: Any) -> None:
    model, structure = tiny(), BlockStructure.parse(text)
    report, masks = prune_gradually(
        model, TOKENIZER, (DATA[0], None), structure, 3.0, score=score, settings=settings(max_steps=20)
    )
    for row in masks.rows():
        assert row["kept"] == max(1, round(row["groups"] / 3.0)), row["matrix"]
    for name, mask in masks.items():
        bits = model.get_parameter(name).detach().view(torch.int32)
        assert not bits[~mask].any()
    assert report.density == pytest.approx(masks.density)
    seen = [entry["density"] for entry in report.history if "density" in entry]
    assert seen[0] == 1.0
    # Groups at a ragged edge are smaller, and movement may take one for another.
    assert all(later <= earlier + 0.01 for earlier, later in itertools.pairwise(seen))
    assert seen[-1] == pytest.approx(masks.density)
    assert set(report.densities) == set(masks)


class Watch(GradualPruning):
    """Keeps every mask that was in force."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.seen: list[dict[str, torch.Tensor]] = []

    def step_counted(self, progress: Progress) -> None:
        super().step_counted(progress)
        self.seen.append({name: mask.clone() for name, mask in self.masks.items()})


def drive(
    hook: GradualPruning, weights: dict[str, nn.Parameter], steps: int, seed: int = 0
) -> list[dict[str, np.ndarray]]:
    """Steps of plain gradient descent on made-up gradients, as a Trainer would call the hook; returns the gradients."""
    made = []
    generator = torch.Generator().manual_seed(seed)
    hook.started(Progress(0, steps, 0.1))
    for step in range(steps):
        slopes = {name: torch.randn(w.shape, generator=generator) for name, w in weights.items()}
        made.append({name: slope.numpy().copy() for name, slope in slopes.items()})
        for name, weight in weights.items():
            weight.grad = slopes[name]
        hook.before_optimizer_step(Progress(step, steps, 0.1))
        with torch.no_grad():
            for weight in weights.values():
                weight -= 0.1 * weight.grad
        hook.after_optimizer_step(Progress(step, steps, 0.1))
        hook.step_counted(Progress(step + 1, steps, 0.1))
    return made


def test_magnitude_never_takes_a_group_back() -> None:
    model = nn.Sequential(nn.Linear(20, 12), nn.Linear(12, 7))
    hook = Watch(model, BlockStructure.block_row(4), 4.0, "magnitude", updates=5)
    drive(hook, hook.weights, 30)
    for earlier, later in zip(hook.seen, hook.seen[1:], strict=False):
        for name in earlier:
            assert not (later[name] & ~earlier[name]).any()


@pytest.mark.parametrize("shape", [(12, 20), (7, 9), (1, 4)])
def test_movement_scores_are_the_sums_that_the_paper_gives(shape: tuple[int, int]) -> None:
    M, N = shape
    model = nn.Linear(N, M, bias=False)
    structure, steps = BlockStructure.tile(3, 4), 24
    hook = Watch(model, structure, 3.0, "movement", begin=0.25, end=0.75, updates=4)
    w = model.weight.detach().numpy().copy().astype(np.float64)
    slopes = drive(hook, hook.weights, steps)
    # The same in NumPy: full weights that move only where they live.
    R, C = -(-M // 3), -(-N // 4)
    scores, kept = np.zeros((R, C)), np.ones((M, N), bool)
    last = scores
    for step in range(steps):
        slope = slopes[step]["weight"].astype(np.float64)
        product = slope * w
        for i in range(R):
            for j in range(C):
                scores[i, j] -= product[3 * i : 3 * i + 3, 4 * j : 4 * j + 4].sum()
        w = np.where(kept, w - 0.1 * slope, w)
        kept = hook.seen[step]["weight"].numpy()
        last = scores.copy() if step < 18 else last  # three quarters of 24: the last choice
    np.testing.assert_allclose(hook.scores["weight"].numpy(), scores, rtol=1e-3, atol=1e-4)
    k = max(1, round(R * C / 3.0))
    assert set(last[kept[::3, ::4]]) == set(np.sort(last.ravel())[::-1][:k])
    np.testing.assert_allclose(model.weight.detach().numpy(), np.where(kept, w, 0), rtol=1e-3, atol=1e-4)


def test_under_movement_a_group_comes_back_with_its_old_values() -> None:
    model = nn.Linear(4, 1, bias=False)
    structure = BlockStructure.block_row(2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    hook = GradualPruning(model, structure, 2.0, "movement", begin=0.0, end=1.0, updates=1)
    hook.started(Progress(0, 4, 0.0))
    hook.scores["weight"].copy_(torch.tensor([[0.0, 1.0]]))
    hook._choose(2.0)
    assert model.weight.tolist() == [[0.0, 0.0, 3.0, 4.0]]
    hook.scores["weight"].copy_(torch.tensor([[5.0, 1.0]]))
    hook._choose(2.0)
    assert model.weight.tolist() == [[1.0, 2.0, 0.0, 0.0]]


@given(st.integers(1, 9), st.integers(1, 11), st.floats(1.0, 6.0), st.integers(0, 9))
def test_sensitivity_ranks_scaled_weights(M: int, N: int, rate: float, seed: int) -> None:
    dice = np.random.default_rng(seed)
    model, structure = nn.Linear(N, M, bias=False), BlockStructure.irregular()
    rows, columns = dice.uniform(0.1, 10, M).astype("f4"), dice.uniform(0.1, 10, N).astype("f4")
    scales = {"weight": Scales(torch.from_numpy(rows), torch.from_numpy(columns))}
    weight = model.weight.detach().numpy().copy()
    hook = GradualPruning(model, structure, rate, "sensitivity", begin=0.0, end=1.0, updates=1, scales=scales)
    hook.started(Progress(0, 4, 0.0))
    hook._choose(rate)
    scores = np.abs(weight * rows[:, None] * columns).ravel()
    kept = np.argsort(-scores)[: max(1, round(scores.size / rate))]
    assert set(np.flatnonzero(hook.masks["weight"].numpy())) == set(kept)
    np.testing.assert_array_equal(model.weight.detach().numpy(), np.where(hook.masks["weight"], weight, 0))


def test_a_matrix_that_moves_no_output_goes_first_in_one_ranking() -> None:
    model = tiny()
    with torch.no_grad():  # the second layer's values are multiplied by 0
        model.bert.encoder.layer[1].attention.output.dense.weight.zero_()
    idle = "bert.encoder.layer.1.attention.self.value.weight"
    _, masks = prune_gradually(
        model, TOKENIZER, (DATA[0], None), ROWS, 4.0, score="sensitivity", scope="model",
        settings=settings(max_steps=10, learning_rate=1e-9),
    )  # fmt: skip
    kept = {row["matrix"]: row["kept"] for row in masks.rows()}
    assert kept[idle] == 1, "of each matrix the best group stays"
    assert sum(kept.values()) == round(sum(row["groups"] for row in masks.rows()) / 4)


def test_scales_are_those_of_a_sample_and_need_linears() -> None:
    model = tiny()
    found = output_scales(model, TOKENIZER, (DATA[0], None), settings())
    batch = {"input_ids": torch.tensor([row["input_ids"] for row in examples(64, length=6)])}
    name = "bert.encoder.layer.0.attention.self.query.weight"
    same = output_scales(model, TOKENIZER, (examples(64, length=6), None), settings())[name]
    known = sensitivities(model, {"q": model.bert.encoder.layer[0].attention.self.query}, [batch], 1)["q"].scales
    torch.testing.assert_close(same.columns, known.columns)
    assert set(found) == set(prunable_weights(model))
    for label in (0, 1):  # labels are not read
        other = [row | {"label": label} for row in DATA[0]]
        again = output_scales(model, TOKENIZER, (other, None), settings())
        assert all(torch.equal(found[key].rows, again[key].rows) for key in found)
    with pytest.raises(ValueError, match=r"score='sensitivity' ranks Linears; .*embeddings.* is of none"):
        output_scales(model, TOKENIZER, (DATA[0], None), settings(), embeddings=True)


@pytest.mark.parametrize("score", ["magnitude", "sensitivity"])
def test_scales_go_with_sensitivity_and_with_nothing_else(score: Any) -> None:
    scales = None if score == "sensitivity" else {"weight": Scales(torch.ones(2), torch.ones(3))}
    with pytest.raises(ValueError, match="scales must be given for score='sensitivity', and for no other"):
        GradualPruning(nn.Linear(3, 2), BlockStructure.irregular(), 2.0, score, scales=scales)
    other = {"other": Scales(torch.ones(2), torch.ones(3))}
    with pytest.raises(ValueError, match="scales must name exactly the 1 matrices chosen"):
        GradualPruning(nn.Linear(3, 2), BlockStructure.irregular(), 2.0, "sensitivity", scales=other)


def test_one_ranking_over_the_model_and_balanced_strips() -> None:
    model = tiny()
    _, together = prune_gradually(
        model, TOKENIZER, (DATA[0], None), ROWS, 4.0, scope="model", settings=settings(max_steps=10)
    )
    rows = together.rows()
    assert sum(row["kept"] for row in rows) == round(sum(row["groups"] for row in rows) / 4)
    _, even = prune_gradually(
        tiny(), TOKENIZER, (DATA[0], None), ROWS, 4.0, balanced=True, settings=settings(max_steps=10)
    )
    for name in even:
        assert len(set(even.keep(name).sum(0).tolist())) == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"score": "gradient"}, "score must be one of magnitude, movement, sensitivity; got 'gradient'"),
        ({"begin": 0.8}, "begin and end must be shares"),
        ({"end": 1.5}, "begin and end must be shares"),
        ({"rate": 0.5}, "rate"),
        ({"scope": "layer"}, "scope"),
        ({"structure": BlockStructure.block_row(500)}, "block larger"),
        ({"embeddings": True, "settings": settings(freeze_embeddings=True)}, "freeze_embeddings"),
    ],
)
def test_what_cannot_be_is_refused_before_any_step(how: dict[str, Any], message: str) -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    usual: dict[str, Any] = {"structure": ROWS, "rate": 2.0, "settings": settings()}
    with pytest.raises(ValueError, match=message):
        prune_gradually(model, TOKENIZER, (DATA[0], None), **(usual | how))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
    assert prunable_weights(model)


@pytest.mark.parametrize("updates", [0, 1.5, True])
def test_updates_must_be_a_count(updates: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="updates must be a whole number of at least 1"):
        GradualPruning(nn.Linear(4, 4), BlockStructure.row(), 2.0, updates=updates)
