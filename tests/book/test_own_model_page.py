"""The block at the top of "Your own model" that a reader pastes runs in an empty folder, up to a model that loads."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.nn import Cut, LayerCosts

from ..helpers.tiny import tiny_folder  # noqa: F401

PAGE = Path(__file__).resolve().parents[2] / "book" / "your-own-model.ipynb"
ROWS = ["the cat sat,cats", "a dog sat,dogs", "not a dog,cats", "not the cat,dogs"]


def known_times(model, example):
    """Times that need no clock: a weight takes a microsecond."""
    cuts = (Cut(), *(Cut(bp.BlockStructure.block_column(4), rate) for rate in (2.0, 4.0, 8.0)))
    shapes = {f"{name}.weight": (m.out_features, m.in_features) for name, m in bp.prunable(model).items()}
    ms = {(M, N): tuple(M * N / 1000 / cut.rate for cut in cuts) for M, N in shapes.values()}
    return LayerCosts(cuts, ms, 0.1, 9.9, shapes, example, "float32", 1)


@pytest.mark.filterwarnings("ignore:.*too dense to be faster:UserWarning")
def test_the_block_to_paste_ends_with_a_folder_that_loads(tmp_path, monkeypatch, tiny_folder):  # noqa: F811
    cells = json.loads(PAGE.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "check.csv"):
        Path(name).write_text("\n".join(["message,team", *ROWS * 4]) + "\n", encoding="utf-8")
    load = bp.models.load
    monkeypatch.setattr(bp.models, "load", lambda name, task: load(str(tiny_folder), task=task))
    monkeypatch.setattr(bp.nn, "layer_costs", known_times)
    monkeypatch.setattr(bp, "budget", partial(bp.budget, verify=False, trials=1))
    found = {}
    exec(compile(block, "the block to paste", "exec"), found)
    model = bp.load("model")
    with torch.inference_mode():
        assert model(**found["call"]).logits.shape == (4, 2)
    assert model.config.id2label == {0: "cats", 1: "dogs"}
    assert found["chosen"].density < 1
