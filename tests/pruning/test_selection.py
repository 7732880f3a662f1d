"""Selection against a plain sort in Python; masks over models; what they print."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from blockprune_lib.pruning.groups import group_norms, group_scores
from blockprune_lib.pruning.masks import Masks, apply_masks_
from blockprune_lib.pruning.selection import select, select_model
from blockprune_lib.pruning.structure import BlockStructure, expand

from ..helpers.references import named_cases

ROW2, TILE2 = BlockStructure.block_row(2), BlockStructure.tile(2, 2)
RATES = st.one_of(st.sampled_from([1, 1.0, 1.25, 2, 3.0, 5.0, 1e9]), st.floats(1, 30))


def best(values: list[float], k: int) -> list[bool]:
    """The k largest, the first of equal ones: a stable sort, written down."""
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    return [i in order for i in range(len(values))]


def count(n: int, rate: float) -> int:
    return max(1, round(n / rate))


# Few distinct values, so that ties are the rule.
GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99)).map(
    lambda t: np.random.default_rng(t[3]).integers(-1, t[2], t[:2]).astype(np.float32)
)


def small() -> nn.Module:
    return nn.ModuleDict({"a": nn.Linear(8, 6), "b": nn.Linear(6, 4), "c": nn.Linear(4, 2)})


# --- select ---


@given(GRIDS, RATES)
def test_select_is_a_stable_sort(grid: np.ndarray, rate: float) -> None:
    keep = select(torch.from_numpy(grid), rate)
    assert (keep.dtype, keep.shape) == (torch.bool, grid.shape)
    assert keep.flatten().tolist() == best(grid.ravel().tolist(), count(grid.size, rate))


@given(GRIDS, RATES, st.sampled_from([True, "rows", "columns"]))
def test_balanced_select_is_a_stable_sort_in_each_strip(grid: np.ndarray, rate: float, balanced: bool | str) -> None:
    keep = select(torch.from_numpy(grid), rate, balanced)  # type: ignore[arg-type]
    rows = grid.shape[1] >= grid.shape[0] if balanced is True else balanced == "rows"
    strips = grid if rows else grid.T
    want = np.array([best(strip.tolist(), count(len(strip), rate)) for strip in strips])
    assert keep.tolist() == (want if rows else want.T).tolist()


@pytest.mark.parametrize(
    ("n", "rate", "k"),
    [(10, 5.0, 2), (10, 3.0, 3), (1, 5.0, 1), (7, 100.0, 1), (7, 1.0, 7), (5, 2.0, 2), (7, 2.0, 4), (12, 1.428, 8)],
)
def test_how_many_stay(n: int, rate: float, k: int) -> None:
    assert int(select(torch.randn(1, n), rate).sum()) == k


@pytest.mark.parametrize("balanced", [False, True, "rows", "columns"])
def test_rate_one_drops_nothing_not_even_zeros(balanced: bool | str) -> None:
    assert select(torch.zeros(3, 5), 1.0, balanced).all()  # type: ignore[arg-type]


def test_all_equal_keeps_the_first() -> None:
    assert select(torch.ones(2, 4), 4.0).tolist() == [[True, True, False, False], [False] * 4]
    assert select(torch.ones(2, 4), 4.0, "columns").tolist() == [[True] * 4, [False] * 4]


def test_zeros_of_both_signs_tie() -> None:
    assert select(torch.tensor([[-0.0, 0.0, -0.0, 0.0]]), 2.0).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scores_of_every_float_type_and_any_strides(dtype: torch.dtype) -> None:
    scores = torch.tensor([[1.0, 4.0], [3.0, 2.0]], dtype=dtype, requires_grad=True)
    assert select(scores, 2.0).tolist() == [[False, True], [True, False]]
    assert select(scores.T, 2.0).tolist() == [[False, True], [True, False]]
    assert select(scores[:, ::2], 2.0).tolist() == [[False], [True]]


def test_huge_and_tiny_scores_rank() -> None:
    scores = torch.tensor([[1e-45, 0.0, 3e38, -3e38, 1e-30]])
    assert select(scores, 5 / 3).tolist() == [[True, False, True, False, True]]


def test_a_long_row_keeps_exactly_k() -> None:
    scores = (torch.arange(100_000) % 7).float()[None]
    keep = select(scores, 7.0)
    assert int(keep.sum()) == 14286
    assert keep[scores == 6].all()
    assert keep[0, 5]  # there is one group more than sixes: the first five


@pytest.mark.parametrize("rate", [np.float32(2.5), np.float64(2.5), np.int64(2), Fraction(5, 2)])
def test_other_real_numbers_are_rates(rate: float) -> None:
    assert int(select(torch.randn(2, 5), rate).sum()) == round(10 / float(rate))


BAD_RATES = [
    *((rate, ValueError) for rate in (0, -5.0, 0.99, float("nan"), float("inf"))),
    *((rate, TypeError) for rate in (True, "5", None, 1 + 0j, torch.tensor(2.0))),
]


@pytest.mark.parametrize(("rate", "error"), BAD_RATES, ids=str)
def test_bad_rates_are_refused(rate: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"rate must be a .*; got .*rate 5.0 keeps one group in five"):
        select(torch.ones(2, 2), rate)  # type: ignore[arg-type]
    with pytest.raises(error, match="keeps one group in five"):
        select_model(small(), ROW2, rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "error", "says"),
    [
        (np.ones((2, 2)), TypeError, r"scores must be a torch.Tensor; got ndarray: torch.from_numpy"),
        (torch.ones(2, 2).int(), TypeError, "scores must hold floats"),
        (torch.ones(4), ValueError, "scores must be a matrix"),
        (torch.ones(0, 4), ValueError, "scores must have at least one row"),
        (torch.tensor([[1.0, torch.nan]]), ValueError, "scores must be finite; got 1 NaN"),
        (torch.tensor([[1.0, -torch.inf]]), ValueError, "1 infinite of 2"),
    ],
)
def test_bad_scores_are_refused(scores: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        select(scores, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("balanced", ["row", "", None, 1])
def test_bad_balance_is_refused(balanced: object) -> None:
    with pytest.raises(ValueError, match="balanced must be False, True, 'rows' or 'columns'; got"):
        select(torch.ones(2, 2), 2.0, balanced)  # type: ignore[arg-type]


# --- select_model ---


def test_each_matrix_is_selected_alone() -> None:
    model = small()
    masks = select_model(model, ROW2, rate=3.0)
    assert list(masks) == ["a.weight", "b.weight", "c.weight"]
    for name, weight in ((f"{key}.weight", layer.weight) for key, layer in model.items()):
        keep = select(group_scores(weight, ROW2), 3.0)
        assert torch.equal(masks[name], expand(keep, ROW2, weight.shape))
        assert torch.equal(masks.keep(name), keep)


@given(
    st.integers(0, 50),
    RATES,
    st.sampled_from([ROW2, TILE2, BlockStructure.irregular(), BlockStructure.block_column(4)]),
)
def test_one_ranking_over_the_model_is_a_stable_sort(seed: int, rate: float, structure: BlockStructure) -> None:
    model = small()
    draw = torch.Generator().manual_seed(seed)
    grids = {
        f"{key}.weight": torch.randint(0, 4, structure.grid(layer.weight.shape), generator=draw).float()
        for key, layer in model.items()
    }
    masks = select_model(model, structure, rate, scope="model", scores=grids)
    flat = {name: grid.flatten().tolist() for name, grid in grids.items()}
    ranking = [
        np.inf if i == values.index(max(values)) else v for values in flat.values() for i, v in enumerate(values)
    ]
    k = max(3, round(len(ranking) / rate))
    assert [bool(k) for name in grids for k in masks.keep(name).flatten()] == best(ranking, k)
    assert all(mask.any() for mask in masks.values())


def test_over_the_model_a_weak_matrix_keeps_its_best_group_only() -> None:
    model = small()
    with torch.no_grad():
        model["b"].weight.mul_(1e-3)
    masks = select_model(model, ROW2, rate=4.0, scope="model")
    kept = {row["matrix"]: row["kept"] for row in masks.rows()}
    assert kept["b.weight"] == 1
    assert sum(kept.values()) == round((24 + 12 + 4) / 4)
    assert masks.keep("b.weight").flatten().int().argmax() == group_norms(model["b"].weight, ROW2).flatten().argmax()


@pytest.mark.parametrize("scope", ["matrix", "model"])
def test_never_empties_a_matrix_and_rate_one_keeps_all(scope: str) -> None:
    model = small()
    assert all(int(mask.sum()) == 2 for mask in select_model(model, ROW2, 1e9, scope=scope).values())  # type: ignore[arg-type]
    with torch.no_grad():
        model["a"].weight.zero_()
    assert all(mask.all() for mask in select_model(model, ROW2, 1.0, scope=scope).values())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "along"),
    [("block_row:2", 0), ("row", 0), ("block_column:2", 1), ("tile:2x2", 1), ("column", 1), ("irregular", 1)],
)
def test_balance_follows_the_structure(text: str, along: int) -> None:
    structure = BlockStructure.parse(text)
    masks = select_model(nn.Linear(12, 12), structure, 3.0, balanced=True)
    kept = masks.keep("weight").sum(along)
    assert (kept == count(masks.keep("weight").shape[along], 3.0)).all()


def test_balance_can_be_forced() -> None:
    masks = select_model(nn.Linear(12, 12), ROW2, 3.0, balanced="rows")
    assert (masks.keep("weight").sum(1) == 2).all()


@pytest.mark.parametrize(("structure", "shape"), named_cases())
def test_named_cases(structure: BlockStructure, shape: tuple[int, int]) -> None:
    linear = nn.Linear(shape[1], shape[0], bias=False)
    masks = select_model(linear, structure, rate=2.0)
    groups = structure.sizes(shape).numel()
    assert masks.rows()[0]["kept"] == count(groups, 2.0)
    apply_masks_(linear, masks)
    assert int((group_norms(linear.weight.detach(), structure) > 0).sum()) == count(groups, 2.0)


def test_a_short_edge_group_is_not_dropped_for_being_short() -> None:
    weight = torch.ones(1, 5)
    weight[0, 4] = 1.1  # alone in its group: a smaller norm than its neighbours', a larger root mean square
    linear = nn.Linear(5, 1, bias=False)
    linear.weight = nn.Parameter(weight)
    assert select_model(linear, ROW2, 3.0).keep("weight").tolist() == [[False, False, True]]


def test_flags_reach_the_table_of_layers() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "up": nn.Linear(4, 4)})
    assert list(select_model(model, ROW2, 2.0, embeddings=True)) == ["table.weight", "up.weight"]
    with pytest.raises(TypeError, match="a flag must be one of embeddings, pooler, classifier; got 'heads'"):
        select_model(model, ROW2, 2.0, heads=True)


def test_the_model_is_left_alone() -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    select_model(model, TILE2, 3.0, scope="model")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_arguments_are_refused_and_the_matrix_is_named() -> None:
    with pytest.raises(ValueError, match=r"c.weight: structure tile:4x5: block larger than the matrix.* 2 x 4"):
        select_model(small(), BlockStructure.tile(4, 5), 2.0)
    with pytest.raises(ValueError, match=r"scope must be 'matrix' .* got 'block'"):
        select_model(small(), ROW2, 2.0, scope="block")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="balanced strips need scope='matrix'"):
        select_model(small(), ROW2, 2.0, scope="model", balanced=True)
    with pytest.raises(ValueError, match="balanced must be False, True"):
        select_model(small(), ROW2, 2.0, balanced="diagonal")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="structure must be a BlockStructure"):
        select_model(small(), "row", 2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got dict"):
        select_model({}, ROW2, 2.0)  # type: ignore[arg-type]
    broken = small()
    with torch.no_grad():
        broken["b"].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"b.weight must be finite; got 1 NaN"):
        select_model(broken, ROW2, 2.0)


def test_scores_of_your_own() -> None:
    linear = nn.Linear(4, 2)
    scores = torch.tensor([[-5.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    masks = select_model(linear, ROW2, 4.0, scores={"weight": scores})
    assert masks["weight"].tolist() == [[False, False, True, True], [False] * 4]


@pytest.mark.parametrize(
    ("scores", "error", "says"),
    [
        ({}, ValueError, "scores must name exactly the 1 matrices chosen; it lacks 'weight'"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(2, 2)}, ValueError, "has beside 'bias'"),
        (
            {"weight": torch.ones(2, 4)},
            ValueError,
            r"scores\['weight'\] must have the grid's shape \(2, 2\); got \(2, 4\)",
        ),
        ({"weight": torch.full((2, 2), torch.nan)}, ValueError, r"scores\['weight'\] must be finite; got 4 NaN"),
        ({"weight": [[1.0]]}, TypeError, r"scores\['weight'\] must be a torch.Tensor; got list"),
        (torch.ones(2, 2), TypeError, "scores must be a dict {parameter name: value}; got Tensor"),
    ],
)
def test_bad_scores_of_your_own_are_refused(scores: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        select_model(nn.Linear(4, 2), ROW2, 2.0, scores=scores)  # type: ignore[arg-type]


# --- masks ---


def test_apply_gives_plus_zeros_in_place_and_keeps_the_rest_to_the_bit() -> None:
    model = small()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    addresses = {name: value.data_ptr() for name, value in model.named_parameters()}
    masks = select_model(model, TILE2, 3.0)
    apply_masks_(model, masks)
    for name, value in model.named_parameters():
        assert value.data_ptr() == addresses[name]
        mask = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value[mask], before[name][mask])
        assert not torch.signbit(value[~mask]).any()
        assert not value[~mask].any()


def test_apply_reaches_tied_weights_by_either_name() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(4, 4), "head": nn.Linear(4, 4, bias=False)})
    model["head"].weight = model["table"].weight
    apply_masks_(model, {"head.weight": torch.eye(4, dtype=torch.bool)})
    assert int(model["table"].weight.count_nonzero()) == 4


@pytest.mark.parametrize(
    ("masks", "error", "says"),
    [
        (
            {"a.weight": torch.zeros(6, 8, dtype=torch.bool), "z.weight": torch.ones(1)},
            ValueError,
            "masks must name parameters of ModuleDict; 1 of 2 are none: z.weight; were they made for another model",
        ),
        (
            {"a.weight": torch.zeros(6, 8, dtype=torch.bool), "b.weight": torch.ones(4, 6)},
            ValueError,
            "got torch.float32",
        ),
        (
            {"b.weight": torch.zeros(4, 3, dtype=torch.bool)},
            ValueError,
            r"bool of shape \(4, 6\); got torch.bool \(4, 3\)",
        ),
        ({"b.weight": True}, ValueError, "got bool"),
        (torch.ones(2), TypeError, "masks must be a dict"),
    ],
)
def test_bad_masks_are_refused_and_change_nothing(masks: object, error: type[Exception], says: str) -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=says):
        apply_masks_(model, masks)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        apply_masks_({}, {})  # type: ignore[arg-type]


def test_masks_print_a_table_with_what_they_keep() -> None:
    linear = nn.Linear(4, 2, bias=False)
    linear.weight = nn.Parameter(torch.tensor([[3.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    masks = select_model(linear, ROW2, 4.0)
    assert masks.rows() == [
        {
            "matrix": "weight",
            "shape": "2 x 4",
            "kept": 1,
            "groups": 4,
            "density": 0.25,
            "squared norm": pytest.approx(0.9),
        }
    ]
    assert masks.density == 0.25
    lines = repr(masks).splitlines()
    assert lines[0] == "masks over block_row:2, 1 matrix"
    assert lines[2].split() == ["weight", "2", "x", "4", "1", "4", "25.0%", "90.0%"]
    assert lines[3].split() == ["all", "1", "4", "25.0%"]
    html = masks._repr_html_()
    assert html.count("<tr>") == 3
    assert "<td>90.0%</td>" in html


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squared_norm_kept_of_huge_and_tiny_weights(scale: float) -> None:
    linear = nn.Linear(4, 1, bias=False)
    linear.weight = nn.Parameter(torch.tensor([[3.0, 0.0, 0.0, 1.0]]) * scale)
    assert select_model(linear, ROW2, 2.0).squared_norm_kept["weight"] == pytest.approx(0.9)
    with torch.no_grad():
        linear.weight.zero_()
    assert select_model(linear, ROW2, 2.0).squared_norm_kept["weight"] == 1.0


def test_masks_of_a_structure_for_each_matrix() -> None:
    tile = BlockStructure.tile(2, 2)
    ones = {name: torch.ones(2, 4, dtype=torch.bool) for name in ("a", "b")}
    mixed = Masks(ones, {"a": ROW2, "b": tile})
    assert mixed.structures == {"a": ROW2, "b": tile}
    assert mixed.keep("a").shape == (2, 2)
    assert mixed.keep("b").shape == (1, 2)
    assert repr(mixed).startswith("masks over block_row:2, tile:2x2, 2 matrices")
    assert Masks(ones, ROW2).structures == {"a": ROW2, "b": ROW2}
    with pytest.raises(ValueError, match="structure must name exactly the 2 matrices chosen; it lacks 'b'"):
        Masks(ones, {"a": ROW2})
    with pytest.raises(TypeError, match="structure must be a BlockStructure"):
        Masks(ones, {"a": ROW2, "b": "tile:2x2"})


def test_masks_without_norms_copy_and_pickle() -> None:
    masks = Masks({"w": torch.ones(2, 4, dtype=torch.bool)}, ROW2)
    assert repr(masks).splitlines()[2].split() == ["w", "2", "x", "4", "4", "4", "100.0%"]
    for twin in (pickle.loads(pickle.dumps(masks)), copy.deepcopy(masks)):
        assert isinstance(twin, Masks)
        assert twin.structure == ROW2
        assert torch.equal(twin["w"], masks["w"])
    assert Masks({}, ROW2).density == 0.0
    assert ", 0 matrices" in repr(Masks({}, ROW2))
