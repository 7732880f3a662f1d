"""Times of the study's models: every way in every engine, on models small enough to run here; and the record kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from blockprune_lib.kernels.precision import PRECISIONS
from blockprune_lib.pruning import BlockStructure
from tools import study_times

HERE = {f"compiled {name}" for name, precision in PRECISIONS.items() if not precision.missing}


def tiny() -> transformers.BertForSequenceClassification:
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return transformers.BertForSequenceClassification(config).eval()


def texts() -> list[dict[str, torch.Tensor]]:
    return [
        {"input_ids": torch.randint(3, 50, (1, n)), "attention_mask": torch.ones(1, n, dtype=torch.long)}
        for n in (5, 9)
    ]  # fmt: skip


def test_a_pruned_model_runs_in_the_compiled_call(tmp_path: Path) -> None:
    model = tiny()
    study_times.bp.prune(model, BlockStructure.parse("block_column:4"), 3.0)
    calls = study_times.engines_of(model, "block_column:4", texts(), tmp_path, 1, dense=False)
    assert set(calls) == HERE
    for call in calls.values():
        call()


def test_a_dense_model_runs_in_every_engine(tmp_path: Path) -> None:
    for module in ("openvino", "onnx"):
        pytest.importorskip(module)
    calls = study_times.engines_of(tiny(), "irregular", texts(), tmp_path, 1, dense=True)
    assert set(calls) >= HERE | {"torch float32", "torch bfloat16", "OpenVINO f32", "OpenVINO bf16"}
    for call in calls.values():
        call()


@pytest.mark.parametrize("path", sorted(study_times.RESULTS.glob("study-times-*.json")), ids=lambda path: path.stem)
def test_a_record_has_every_way_beside_the_dense_model(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert [(way["structure"], way["rate"], way["layers"]) for way in record["ways"]] == list(study_times.WAYS)
    assert record["ways"][0]["engines"]["torch float32"]["ratio"]["value"] == 1
    assert all(way["engines"] for way in record["ways"])
