"""The tool that records a budget beside one rate: its four steps on a tiny model, and what the record holds."""

import json
from pathlib import Path

import pytest

from blockprune_lib.nn.latency_budget import FEWEST, MOST
from tools import latency_budgets

from ..helpers.small_runs import offline  # noqa: F401
from ..helpers.tiny import tiny_folder  # noqa: F401


def test_four_steps_leave_a_record_of_every_arm(
    tiny_folder: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    offline: None,  # noqa: F811
) -> None:
    target = tmp_path / "record.json"
    flags = [
        "--folder", str(tmp_path / "work"), "--model", str(tiny_folder), "--train", "48", "--steps", "2", "--tokens",
        "8", "--retrain-steps", "2", "--share", "0.9", "0.7", "--seed", "1", "2", "--threads", "1", "--trials", "3",
        "--training-threads", "1", "--json", str(target),
    ]  # fmt: skip
    for step in ("train", "search", "time", "score"):
        assert latency_budgets.main([step, *flags]) == 0
    assert len(list((tmp_path / "work").glob("scored-*.json"))) == 4
    assert "tried" in capsys.readouterr().out
    record = json.loads(target.read_text())
    assert record["format"] == latency_budgets.FORMAT
    assert {"settings", "task", "metric", "dense", "models", "costs", "hardware", "provenance", "cases"} <= set(record)
    assert str(tmp_path) not in target.read_text()
    arms = ["added", "tried", "one rate, block_column:4", "one rate, block_column:16"]
    assert [case["arm"] for case in record["cases"]] == 4 * arms
    assert [case["seed"] for case in record["cases"]] == 2 * (4 * [1] + 4 * [2])
    assert set(record["dense"]) == {"1", "2"}
    for case in record["cases"]:
        assert 0 < case["density"] <= 1
        assert min(case["moved"], case["held_out"], case["loss"]) >= 0
        assert FEWEST <= len(case["measured"]["samples_ms"]) <= MOST
    assert sum("after" in case for case in record["cases"]) == 4 * 2  # what was tried, and one of the two with one rate
    assert latency_budgets.main(["time", *flags]) == 0
    assert not list((tmp_path / "work").glob("scored-*.json"))  # they were of the choices before
