"""README: its tables are those of the records, its table of chapters is the book's, and it stays short."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from tools import readme_accuracy, readme_picture, readme_short

from ..helpers.tiny import write
from ..helpers.tiny_training import examples, tiny

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "table"), [("speeds", readme_short.speeds), ("accuracies", readme_accuracy.accuracies)]
)
def test_the_first_tables_are_those_of_the_records(name, table):
    assert f"<!-- {name} -->\n{table()}\n<!-- /{name} -->" in README


def test_the_lines_that_save_and_load_run(tmp_path, monkeypatch):
    import blockprune_lib as bp

    _, lines, *_ = re.findall(r"```python\n(.*?)```", README, re.S)
    model, tokenizer = bp.models.load(write(tmp_path, head=2))
    structure = bp.BlockStructure.block_column(4)
    bp.prune(model, structure, rate=2.0)
    found = {"bp": bp, "sparse": bp.sparsify(model, structure, keep_dense_above=1.0), "tokenizer": tokenizer}
    monkeypatch.chdir(tmp_path)
    exec(lines, found)
    assert not found["sparse"].training
    assert bp.compression(found["sparse"]).rate_pruned > 1.5


def test_the_lines_that_train_keep_the_zeros(tmp_path, monkeypatch):
    import blockprune_lib as bp

    loop, trainer = re.findall(r"```python\n(.*?)```", README, re.S)[2:]
    model, structure, rows = tiny(), bp.BlockStructure.block_column(4), examples(8, length=5)
    batch = {
        "input_ids": torch.tensor([r["input_ids"] for r in rows]),
        "labels": torch.tensor([r["label"] for r in rows]),
    }
    found = {
        "bp": bp, "torch": torch, "copy": copy, "model": model, "structure": structure, "data": rows,
        "masks": bp.prune(model, structure, rate=5.0), "batches": [batch] * 2,
        "optimizer": torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.1),
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    exec(loop, found)
    assert found["held"].violations() == {}
    exec(trainer.replace('"checkpoints"', '"checkpoints", use_cpu=True, report_to=[], disable_tqdm=True'), found)
    assert bp.compression(found["sparse"]).rate_pruned > 4.9


def test_every_page_that_is_numbered_is_in_the_table_of_chapters():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    numbered = [page["file"] for part in contents["parts"] if part.get("numbered") for page in part["chapters"]]
    table = README.partition("## What the book covers")[2].partition("\n## ")[0]
    linked = re.findall(r"\(https://\S+/([a-z-]+)\.html\) \|", table)
    assert [page for page in linked if page in numbered] == numbered
    assert {"experiments", "serve-it"} <= set(linked)


def test_what_is_not_folded_is_read_in_three_minutes():
    plain = re.sub(
        r"<details>.*?</details>|```.*?```|<!--.*?-->|\(https?://\S+\)|^\|.*$", "", README, flags=re.S | re.M
    )
    before = plain.partition("## What the book covers")[0]
    assert len(before.split()) < 3 * 280


def test_folds_are_closed_again():
    assert README.count("<details>") == README.count("</details>") == README.count("<summary>") > 0


def engine(key, value, median=100.0):
    ratio = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {"key": key, "name": f"{key} dense f32", "ms": {"median": median}, "ratio_to_baseline": ratio}


def test_the_best_rival_of_a_precision_is_the_fastest_and_never_ours(tmp_path, monkeypatch):
    engines = [
        engine("torch", 1.0), engine("onnxruntime", 2.0), engine("openvino-sorted", 3.0), engine("openvino-int8", 9.0),
        engine("blockprune tile:32x32 f32", 20.0), engine("blockprune block_column:4 bf16", 30.0),
    ]  # fmt: skip
    record = {
        "hardware": {"cpu": "A Processor"},
        "provenance": {"date": "2026-01-02T03:04", "environment": {"NUMBA_CPU_NAME": "haswell"}},
        "cases": [{"what": {"threads": 1, "model": "bert-base", "rate": 5.0, "tokens": 64}, "engines": engines}],
    }
    path = tmp_path / "bench-model-avx2.json"
    path.write_text(json.dumps(record))
    monkeypatch.setattr(readme_short, "RESULTS", tmp_path)
    table = readme_short.speeds()
    assert "| the best dense engine, float32 | 3.0 (2.9 to 3.1), openvino-sorted |" in table
    assert "| the best dense engine, int8 | 9.0 (8.9 to 9.1), openvino-int8 |" in table
    assert "the best dense engine, bfloat16" not in table
    assert "| **tiles of 32 x 32, float32** | **20.0 (19.9 to 20.1)** |" in table
    assert "A Processor, 2026-01-02;" in table
    assert table.startswith("| | 64 tokens, AVX2 |")
    assert "AVX2 is the same processor held to those instructions" in table
    record["provenance"]["environment"] = {}
    path.write_text(json.dumps(record))
    assert "held to those instructions" not in readme_short.speeds()


def test_the_accuracy_table_has_a_column_for_tasks_with_dense_and_pruned_models_only():
    table = readme_accuracy.accuracies()
    assert "| the majority class |" in table
    heads = table.splitlines()[0].count("|") - 2
    tasks = {point.setting.task for point in readme_accuracy.timed_points()}
    assert 1 <= heads <= len(tasks)


def test_the_picture_has_what_the_table_has():
    drawn = readme_picture.picture()
    assert drawn.startswith("<?xml")
    points = readme_accuracy.timed_points()
    assert readme_picture.task_shown(points) in {point.setting.task for point in points if point.setting.structure}
