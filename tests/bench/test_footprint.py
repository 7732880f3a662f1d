"""Bytes in memory: what is counted, and in how many processes."""

import json
import runpy
import subprocess
import sys

import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.bench import footprint, workload
from blockprune_lib.bench.model_settings import ModelSettings


def test_the_sparse_model_holds_no_dense_copy(tiny_folder, monkeypatch, capsys):
    case = ("tiny", ("block_column:4",), 2.0, 1, 8, 1)
    asked = {"name": str(tiny_folder), "case": case, "seed": 0, "structure": "block_column:4"}
    before = footprint.dense_copies({(16, 16), (32, 16)})  # what other tests may have left
    found = []
    for precision in (None, "float32"):  # as the children run it, but here: a child imports everything anew
        monkeypatch.setattr(sys, "argv", ["footprint", json.dumps(asked | {"precision": precision})])
        monkeypatch.delitem(sys.modules, footprint.__name__, raising=False)
        with bp.threads(1):
            runpy.run_module(footprint.__name__, run_name="__main__")
        found.append(json.loads(capsys.readouterr().out))
    dense, sparse = found
    assert dense["dense_copies"] == before + 12
    assert sparse["dense_copies"] == before
    model = workload.fresh(str(tiny_folder), 0)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert dense["bytes_tensors"] == 4 * sum(p.numel() for p in model.parameters()) + buffers
    assert 0 < sparse["bytes_tensors"] < dense["bytes_tensors"]


def test_dense_copies_are_found():
    held = [torch.zeros(7, 13), torch.zeros(13, 7), torch.zeros(7, 13, dtype=torch.int32)]
    held.append(held[0].view(7, 13))  # the same memory once more
    assert footprint.dense_copies({(7, 13)}) == 2
    held.clear()
    assert footprint.dense_copies({(7, 13)}) == 0


def test_memory_is_measured_in_one_child_a_model(monkeypatch):
    asked = []

    def run(command, **options):
        asked.append(json.loads(command[-1]))
        return subprocess.CompletedProcess(command, 0, '{"bytes_tensors": 5}\n', "")

    monkeypatch.setattr(footprint.subprocess, "run", run)
    settings = ModelSettings(model="minilm", structures=["irregular", "row"])
    found = footprint.footprints(settings, next(settings.cases()))
    names = ["torch dense f32", "blockprune irregular f32", "blockprune row f32"]
    assert found == {name: {"bytes_tensors": 5} for name in names}
    assert [(words["structure"], words["precision"]) for words in asked] == [
        ("irregular", None), ("irregular", "float32"), ("row", "float32")
    ]  # fmt: skip


def test_a_child_that_fails_says_why(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nMemoryError: too large\n")

    monkeypatch.setattr(footprint.subprocess, "run", run)
    settings = ModelSettings(model="minilm")
    with pytest.raises(RuntimeError, match=r"the measurement failed: MemoryError: too large$"):
        footprint.footprints(settings, next(settings.cases()))
