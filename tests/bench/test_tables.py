"""Records print with all that they must, as text and for a notebook, and are drawn."""

import copy
import sys

import pytest

import blockprune_lib as bp
from blockprune_lib import bench
from blockprune_lib._common.plots import check_picture
from blockprune_lib.bench import plots, tables
from blockprune_lib.bench.case import Case

from .conftest import SMALL


def test_the_table_has_what_it_must(record):
    text = repr(record)
    for needed in (
        "32 x 48, block_column:16 at rate 2 (50.0% kept), 8 tokens, 1 thread",
        "torch dense f32", "torch BSR F.linear", "SciPy CSR @ X", "blockprune", "median ms", "quartiles ms",
        "speed [95 %]", "ours is", "GFLOP/s", "of peak", "error", "peak in the same rounds",
        "skipped: torch-bsr: torch runs BSR in square blocks", "3 rounds in turns", bp.hardware().cpu,
    ):  # fmt: skip
        assert needed in text, needed
    html = record._repr_html_()
    assert html.count("<table") == 2
    assert "torch BSR F.linear" in html


def test_memory_prints_with_what_it_counts(record):
    plain = copy.deepcopy(record.to_dict())
    seen = {"bytes_tensors": 9_000_000, "bytes_resident": 11_000_000, "bytes_peak": None, "dense_copies": 1}
    plain["cases"][0]["memory"] = {"blockprune": seen}
    assert tables.notes(Case(**plain["cases"][0]))[-1] == (
        "memory, blockprune: 9.0 MB of parameters and buffers, 11.0 MB resident with it, "
        "1 dense matrix of a pruned weight's shape alive"
    )


def test_an_engine_on_fewer_threads_is_marked(record):
    plain = copy.deepcopy(record.to_dict())
    plain["cases"][0]["what"]["threads"] = 4
    case = Case(**plain["cases"][0])
    assert [row[0] for row in tables.rows(case) if row[0].startswith("SciPy CSR")] == ["SciPy CSR @ X (1 thread)"]


def test_missing_peers_share_one_line_with_the_pip_line(monkeypatch):
    for name in ("onnxruntime", "openvino", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = bench.bench_matrices(peers=("onnxruntime", "openvino", "scipy-csr"), **SMALL)
    assert [engine.key for engine in found.cases[0].engines] == ["torch", "scipy-csr", "blockprune"]
    line = "skipped, not installed: onnxruntime, openvino; install with: pip install 'blockprune-lib[peers]'"
    assert line in repr(found).splitlines()


def test_pictures_are_written(record, tmp_path):
    plots.save_plot(record, tmp_path / "p.PNG")  # the command's test draws an SVG
    assert (tmp_path / "p.PNG").read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.PNG"]


def test_pictures_say_what_they_need(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in .svg or .png; got"):
        check_picture(tmp_path / "p.pdf")
    with pytest.raises(ValueError, match="does not exist; make it first"):
        check_picture(tmp_path / "no" / "p.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'blockprune-lib\[book\]' installs it"):
        check_picture(tmp_path / "p.svg")
