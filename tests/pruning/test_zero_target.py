"""The step that leaves a share of groups at zero: exact counts in every structure, and a twin in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.pruning.selection import select_model
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.pruning.zero_target import shrink_to_share_

from ..helpers.references import alpha, boxes, norms, sizes, structure_texts

TEXTS = structure_texts((4, 4), (5, 7))
SHAPES = st.tuples(st.integers(7, 24), st.integers(7, 24))


def twin(
    weight: np.ndarray, structure: BlockStructure, rate: float, eps: float, pull: str, reach: float | None
) -> np.ndarray:
    """The same group by group: sort the ratios, take the threshold, shrink."""
    size = sizes(structure, weight.shape)
    norm = norms(weight, structure) / np.sqrt(size) * np.sqrt(size.max())
    slope = alpha(norm, eps) if pull == "reweighted" else np.ones_like(norm)
    ratio = norm / slope
    zeros = ratio.size - max(1, round(ratio.size / rate))
    c = np.sort(ratio.ravel())[zeros - 1] if zeros else 0.0
    out = weight.copy()
    for i, j, rows, columns in boxes(structure, weight.shape):
        left = max(0.0, 1 - c * slope[i, j] / norm[i, j])
        if reach is not None:
            left = min(1.0, left / (1 - 1 / reach))
        out[rows, columns] *= left
    return out


@given(
    SHAPES,
    st.sampled_from(TEXTS),
    st.floats(1, 12),
    st.sampled_from([1e-3, 1.0]),
    st.sampled_from(["reweighted", "plain"]),
    st.sampled_from([None, 1.1, 3.0]),
    st.integers(0, 9),
)
def test_it_does_what_the_twin_does(
    shape: tuple[int, int], text: str, rate: float, eps: float, pull: str, reach: float | None, seed: int
) -> None:
    structure = BlockStructure.parse(text)
    weight = np.random.default_rng(seed).normal(size=shape)
    given_alpha = None if pull == "reweighted" else {"w": torch.ones(structure.grid(shape), dtype=torch.float64)}
    got = torch.tensor(weight)
    done = shrink_to_share_({"w": got}, structure, rate, eps=eps, alpha=given_alpha, reach=reach)
    np.testing.assert_allclose(got.numpy(), twin(weight, structure, rate, eps, pull, reach), rtol=1e-9, atol=1e-12)
    groups = done.keep["w"].numel()
    assert int(done.keep["w"].sum()) == max(1, round(groups / rate))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("scope", ["matrix", "model"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_share_of_zero_groups_is_the_target_within_one_group(text: str, scope: Any, kind: torch.dtype) -> None:
    structure = BlockStructure.parse(text)
    torch.manual_seed(0)
    weights = {name: torch.randn(shape).to(kind) for name, shape in {"a": (20, 30), "b": (13, 9)}.items()}
    for rate in (1.0, 1.1, 1.79, 5.0, 1e6):
        shrink_to_share_(weights, structure, rate, scope=scope)
        alive = {name: norms(w.float().numpy(), structure) > 0 for name, w in weights.items()}
        for name, grid in alive.items() if scope == "matrix" else ():
            assert abs(grid.sum() - max(1, grid.size / rate)) <= 1, name
        total, groups = sum(int(grid.sum()) for grid in alive.values()), sum(grid.size for grid in alive.values())
        if scope == "model":
            assert abs(total - max(2, groups / rate)) <= 1
    for weight in weights.values():
        assert not torch.signbit(weight[weight == 0]).any()


def test_equal_groups_do_not_all_vanish() -> None:
    for weight in (torch.ones(6, 8), torch.zeros(6, 8)):
        shrink_to_share_({"w": weight}, BlockStructure.block_row(4), 3.0)
        assert int((norms(weight.numpy(), BlockStructure.block_row(4)) > 0).sum()) in (4, 0)
        assert weight.isfinite().all()


def test_the_groups_that_stay_are_those_of_select_model() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(21, 13), torch.nn.Linear(13, 10))
    structure = BlockStructure.tile(4, 5)
    masks = select_model(model, structure, 3.0)
    weights = {name: model.get_parameter(name) for name in masks}
    done = shrink_to_share_(weights, structure, 3.0)
    for name, mask in masks.items():
        assert torch.equal(weights[name] != 0, mask)
        assert torch.equal(done.keep[name], masks.keep(name))


def test_a_large_group_hardly_moves_and_beyond_the_reach_not_at_all() -> None:
    weight = torch.tensor([[0.1, 0.2, 100.0, 0.21]])
    far = weight.clone()
    shrink_to_share_({"w": weight}, BlockStructure.irregular(), 4 / 2.0)
    assert float(weight[0, 2]) == pytest.approx(100, rel=1e-5)
    shrink_to_share_({"w": far}, BlockStructure.irregular(), 4 / 2.0, reach=4.0)
    assert far[0, 2] == 100.0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rate": 0.5}, "rate must be"),
        ({"rate": 2.0, "eps": 0.0}, "eps must be"),
        ({"rate": 2.0, "reach": 1.0}, "reach must be"),
        ({"rate": 2.0, "alpha": {"v": torch.ones(4, 1)}}, "alpha"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_changes(how: dict[str, Any], message: str) -> None:
    weight = torch.randn(4, 4)
    before = weight.clone()
    with pytest.raises(ValueError, match=message):
        shrink_to_share_({"w": weight}, BlockStructure.row(), **how)
    assert torch.equal(weight, before)
