"""Faults of the original code that ours must not have: the page that lists them, and guards that stand nowhere else."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import blockprune_lib as bp
from blockprune_lib.experiments.presets import preset
from blockprune_lib.pruning import architectures, packing
from blockprune_lib.pruning.groups import group_norms
from blockprune_lib.pruning.lasso import ReweightedGroupLasso
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.stages import fine_tune, prune, retrain, train_reweighted

from ..helpers.references import alpha, boxes, structure_texts
from ..helpers.small_runs import STEPS, one
from ..helpers.tiny_training import DATA, TOKENIZER, settings, tiny

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "faults.md").read_text(encoding="utf-8")
ENTRIES = {
    int(number): text
    for number, text in re.findall(r"^### (\d+)\. (.*?)(?=^\(fault-\d+\)=|^## |^\[f1\]: |\Z)", PAGE, re.M | re.S)
}
#: {label of a link: file of tests}; a link's words are the test's name.
FILES = dict(re.findall(r"^\[(test_\w+)\]: https://\S+/blob/main/(tests/[\w/]+\.py)$", PAGE, re.M))
STRUCTURES = structure_texts((8, 4))


def functions_in(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def owners(structure, shape):
    """The number of each element's group, by loops."""
    owner = np.empty(shape, dtype=int)
    for number, (_, _, rows, columns) in enumerate(boxes(structure, shape)):
        owner[rows, columns] = number
    return owner


def test_the_page_has_all_twenty_five():
    assert sorted(ENTRIES) == list(range(1, 26))


@pytest.mark.parametrize("number", sorted(ENTRIES))
def test_every_entry_names_a_test_that_is_there_or_says_why_it_cannot_occur(number):
    text = " ".join(ENTRIES[number].split())
    guards = re.findall(r"\[([^]]*)\]\[(test_\w+)\]", text)
    assert guards
    assert re.search(r"\*\*Guard[:,]\*\*|\*\*Cannot occur:\*\*", text)
    for words, label in guards:
        assert f"test_{words.replace(' ', '_')}" in functions_in(FILES[label]), (label, words)
    # Nothing that looks like a test is left out of the check above.
    assert len(re.findall(r"(?<![-\w])test_\w+", text)) == len(guards)


def test_the_page_counts_its_grades_and_every_entry_can_be_linked_to():
    words = ["none", "one", "two", "three", "four"] + [""] * 13 + ["eighteen"]
    said = re.findall(r"\b(\w+)\s+(?:are|is)\s+\*\*([a-z ]+)\*\*: ", PAGE.partition("\n## ")[0])
    told = {grade: count.lower() for count, grade in said}
    found = [re.search(r"\*\*Grade:\*\* ([a-z ]+)", text)[1] for text in ENTRIES.values()]
    assert {grade: words[found.count(grade)] for grade in told} == told
    assert set(found) == set(told)
    assert [f"(fault-{number})=\n### {number}. " in PAGE for number in ENTRIES] == [True] * 25


def test_the_rate_of_the_file_with_wrong_names_is_what_the_page_says():
    """Fault 21: the first feed-forward matrices and the pooler of BERT-base stay whole, the rest keeps one in five."""
    config = BertConfig()
    with torch.device("meta"):
        model = BertForSequenceClassification(config)
    matrices = {name: weight.numel() / 1e6 for name, weight in model.named_parameters() if weight.dim() == 2}
    whole = sum(size for name, size in matrices.items() if "intermediate.dense" in name or "pooler" in name)
    total = sum(matrices.values())
    told = f"{total:.1f} / ({whole:.1f} + {total - whole:.1f} / 5) = {total / (whole + (total - whole) / 5):.1f}"
    assert told in " ".join(ENTRIES[21].split())


@pytest.mark.parametrize("strips", [1, 2, 3])
def test_the_mask_in_another_order_has_as_many_zeros_in_other_places(strips):
    """Fault 14: what the page shows in a few lines; with one strip both orders are the same."""
    places = 4
    (code,) = re.findall(r"```python\n(.*?)```", ENTRIES[14], re.S)
    found = {}
    kept = torch.arange(strips * places) % 3 == 0
    there, meant = code.split("# meant")
    for name, lines in (("there", there), ("meant", meant)):
        scope = {"kept": kept, "strips": strips, "places": places}
        exec(lines, scope)
        found[name] = scope["grid"]
    assert found["there"].shape == found["meant"].shape == (strips, places)
    assert found["there"].sum() == found["meant"].sum()
    assert torch.equal(found["there"], found["meant"]) == (strips == 1)


@pytest.mark.parametrize("text", STRUCTURES)
def test_the_second_stage_shrinks_the_groups_of_every_structure(text):
    """Fault 1: a penalty that is logged and has no gradient."""
    structure, ends = BlockStructure.parse(text), {}
    for lam in (0.0, 0.02):
        model = tiny(dropout=0.0)
        train_reweighted(model, TOKENIZER, DATA, structure, lam=lam, settings=settings(max_steps=8))
        ends[lam] = sum(
            float(group_norms(layer.weight.detach(), structure).sum())
            for layer in architectures.prunable(model).values()
        )
    assert ends[0.02] < 0.99 * ends[0.0]


@pytest.mark.parametrize("text", STRUCTURES)
def test_penalty_scores_masks_and_packing_speak_of_the_same_groups(text):
    """Fault 2: one structure shrinks, another is cut."""
    structure, weight = BlockStructure.parse(text), torch.randn(20, 28)
    owner = owners(structure, weight.shape)
    for group in np.unique(owner)[:: max(1, owner.max() // 7)]:
        alone = torch.where(torch.as_tensor(owner == group), weight, 0.0).requires_grad_()
        penalty = ReweightedGroupLasso({"w": alone}, structure, 1.0, reweighted=False)
        assert penalty().item() == pytest.approx(float(alone.detach().norm()), rel=1e-5)
        scores = bp.group_scores(alone.detach(), structure)
        assert int((scores > 0).sum()) == 1
        mask = bp.expand(bp.select(scores, rate=scores.numel()), structure, weight.shape)
        assert np.array_equal(mask.numpy(), owner == group)
        packed = packing.pack(alone.detach(), structure)
        assert (len(packed.values), torch.equal(packed.to_dense(), alone.detach())) == (1, True)


@pytest.mark.parametrize("text", ["block_row:4", "block_column:4", "tile:4x4"])
def test_alpha_starts_from_the_norms_of_its_own_groups(text):
    """Fault 3: along the other direction the count is the same, for 16 x 16 cut into four strips of four."""
    structure, weight = BlockStructure.parse(text), torch.randn(16, 16)
    found = ReweightedGroupLasso({"w": weight.clone().requires_grad_()}, structure, 1.0, eps=1e-3).alpha["w"]
    owner = owners(structure, weight.shape)
    norms = [float(weight[torch.as_tensor(owner == group)].norm()) for group in range(owner.max() + 1)]
    order = [found[i, j].item() for i, j, _, _ in boxes(structure, weight.shape)]
    np.testing.assert_allclose(order, alpha(np.array(norms), 1e-3), rtol=1e-5)


def test_the_penalty_on_rows_is_a_sum_over_rows():
    """Fault 5: one norm over the whole matrix cannot part its rows."""
    weight = torch.randn(6, 10, requires_grad=True)
    penalty = ReweightedGroupLasso({"w": weight}, BlockStructure.row(), 1.0, reweighted=False)
    assert penalty().item() == pytest.approx(float(weight.detach().norm(dim=1).sum()), rel=1e-6)
    assert penalty().item() > 1.5 * float(weight.detach().norm())


def test_each_stage_trains_at_its_own_learning_rate(material, tmp_path):
    """Fault 6: the last stage's rate is accepted and not read."""
    rates = {"fine_tune": 1e-3, "reweight": 2e-3, "retrain": 3e-3}
    stages = {stage: STEPS | {"learning_rate": rate, "schedule": "constant"} for stage, rate in rates.items()}
    stages["reweight"]["lam"] = 0.0
    record = one(material, tmp_path, preset="paper", **stages)
    logged = [
        {entry["learning_rate"] for entry in stage["history"] if "learning_rate" in entry} for stage in record["stages"]
    ]
    assert logged == [{1e-3}, {2e-3}, {3e-3}]


def test_alpha_of_a_single_weight_is_bounded_on_both_sides_of_zero():
    """Fault 8: |1 / (w + eps)| has no bound near w = -eps."""
    weight = torch.tensor([[-1e-3, 1e-3, 0.0, -0.5, 0.5]], requires_grad=True)
    found = ReweightedGroupLasso({"w": weight}, BlockStructure.irregular(), 1.0, eps=1e-3).alpha["w"]
    np.testing.assert_allclose(found, alpha(weight.detach().abs(), 1e-3), rtol=1e-5)


@pytest.mark.parametrize("rows", [2490, 3668, 67349])
def test_the_best_preset_refreshes_while_it_trains(rows):
    """Fault 10: a refresh that is due after the training has ended."""
    stage = preset("best", "rte")["reweight"]
    steps = stage["epochs"] * rows / stage.get("batch_size", 32)
    assert steps / stage["refresh_every"] >= 2


@pytest.mark.parametrize("text", ["block_column:16", "block_row:16", "tile:16x16"])
@pytest.mark.parametrize("shape", [(1000, 37), (37, 1000), (2, 96), (17, 17)])
def test_matrices_that_do_not_divide_are_really_pruned(text, shape):
    """Fault 13: zeros that go to a padded copy."""
    model = nn.Sequential(nn.Linear(shape[1], shape[0]))
    structure = BlockStructure.parse(text)
    if structure.grid(shape) == (1, 1):
        pytest.skip("one group: nothing to cut")
    masks = prune(model, structure, rate=2.0)
    total = int(np.prod(structure.grid(shape)))
    kept = int((group_norms(model[0].weight.detach(), structure) > 0).sum())
    assert kept == max(1, round(total / 2))
    assert torch.equal(model[0].weight != 0, masks["0.weight"])


@pytest.mark.parametrize("rate", [3.0, 50.0, 1e9])
@pytest.mark.parametrize("balanced", [False, "rows", "columns"])
def test_no_strip_and_no_matrix_is_ever_emptied(rate, balanced):
    """Fault 17: the check against an empty row tests the wrong condition."""
    scores = torch.rand(7, 11)
    keep = bp.select(scores, rate=rate, balanced=balanced)
    assert keep.any()
    if balanced == "rows":
        assert keep.any(1).all()
    if balanced == "columns":
        assert keep.any(0).all()


@pytest.mark.parametrize("vocabulary", [64, 30522, 50265])
@pytest.mark.parametrize("embeddings", [False, True])
def test_the_penalty_and_the_cut_cover_the_same_matrices(vocabulary, embeddings):
    """Fault 19: a matrix is known by its number of rows."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=vocabulary, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8,
    )  # fmt: skip
    model, structure = BertForSequenceClassification(config), BlockStructure.block_row(4)
    penalty = ReweightedGroupLasso(model, structure, 1e-3, embeddings=embeddings)
    masks = bp.select_model(model, structure, rate=2.0, embeddings=embeddings)
    assert list(penalty.parts()) == list(masks)
    assert ("bert.embeddings.word_embeddings.weight" in masks) == embeddings


def test_a_bias_of_zero_is_trained():
    """Fault 22: a mask made of what is not zero freezes every bias, which starts at zero."""
    model = tiny()
    masks = prune(model, BlockStructure.block_row(8), rate=2.0)
    biases = {name: weight for name, weight in model.named_parameters() if name.endswith("bias") and not weight.any()}
    assert len(biases) > 10
    retrain(model, TOKENIZER, DATA, masks, settings())
    still = [name for name, weight in biases.items() if not weight.any()]
    assert all(name.endswith("key.bias") for name in still), "softmax is blind to a shift: a key's bias has no gradient"
    assert not set(masks) & set(biases)


@pytest.mark.parametrize("name", ["SST-2", "checkpoint-2", "run-100"])
def test_a_folder_whose_name_ends_in_a_number_skips_no_step(name, tmp_path):
    """Fault 23: the path of the model is parsed for a step count."""
    (tmp_path / name).mkdir()
    report = fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path / name))
    plain = fine_tune(tiny(), TOKENIZER, DATA, settings())
    assert report.steps == plain.steps == 4
    assert report.after == plain.after
