"""A report of a stage: printed, escaped, and read back from JSON."""

import json
from typing import Any

import pytest

from blockprune_lib.training.report import StageReport, first_and_last
from blockprune_lib.training.settings import TrainingSettings


def report(**changes: Any) -> StageReport:
    usual: dict[str, Any] = {
        "stage": "retrain", "steps": 4, "seconds": 2.0, "evaluation_seconds": 1.0, "device": "cpu", "examples": 32,
        "metric": "accuracy", "majority": {"accuracy": 0.5}, "before": None, "after": {"accuracy": 0.75},
        "loss": (0.7, 0.6), "settings": TrainingSettings(batch_size=8, epochs=2),
    }  # fmt: skip
    return StageReport(**(usual | changes))


def test_it_says_what_a_reader_asks() -> None:
    assert repr(report(near_zero=(0.1, 0.5), refreshes=3, density=0.2)).splitlines() == [
        "retrain",
        "steps       4 of 8 in 2.0 s on cpu, 500 ms per step",
        "loss        0.7 -> 0.6",
        "accuracy    0.75 on 32 examples (majority 0.500)",
        "near zero   10.0% -> 50.0% of groups below a tenth of the RMS",
        "reweighted  3 times after the start",
        "density     20.0% of the pruned matrices, held by masks",
    ]


def test_its_table_is_escaped() -> None:
    shown = report(stage="<b>", device="<script>")._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "on &lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "0.7 → 0.6" in shown
    assert "<thead>" not in shown


def test_json_gives_the_same_report_back() -> None:
    first = report(penalty=(2.0, 1.0), densities={"w": 0.2}, history=[{"step": 1, "loss": 0.7}])
    again = StageReport.of(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert again.to_dict() == first.to_dict()
    assert again.loss == (0.7, 0.6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": "4"}, TypeError, "report: steps must be a whole number; got '4'"),
        ({"loss": [0.7]}, ValueError, "report: loss"),
        ({"speed": 1}, ValueError, "report: there is no 'speed'"),
        ({"settings": {"batch_size": 0}}, ValueError, "report: settings.batch_size must be a whole number"),
    ],
)
def test_json_of_something_else_is_refused_by_name(change: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        StageReport.of(report().to_dict() | change, "report")


def test_first_and_last_of_what_was_logged() -> None:
    history = [{"loss": 3}, {"penalty": 1.0}, {"loss": 2.0}, {"loss": 1.0}]
    assert first_and_last(history, "loss") == (3.0, 1.0)
    assert first_and_last(history, "penalty") == (1.0, 1.0)
    assert first_and_last(history, "density") is None
