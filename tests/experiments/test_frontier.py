"""Accuracy against latency: which points are on the frontier, and what may not be compared."""

import copy
import re
from types import SimpleNamespace

import pytest

from blockprune_lib import experiments
from blockprune_lib.cli import main
from blockprune_lib.experiments import frontier, latency, records
from blockprune_lib.experiments.frontier import points

from ..helpers.record_of import record_of
from ..helpers.small_runs import recipe


def timed(fast, blocks=True, engines=("compiled",), **more):
    record = record_of(**more)
    one = {"median_ms": 12.0 / fast, "q1_ms": 1.0, "q3_ms": 9.0, "ratio": {"value": fast, "low": fast, "high": fast}}
    whole = one | {"median_ms": 12.0, "ratio": dict.fromkeys(("value", "low", "high"), 1.0)}
    record["latency"] = {
        "engines": {"dense": whole} | dict.fromkeys(engines, one),
        "cpu": "A Processor", "isa": "AVX2", "threads": 2, "sentences": 32, "tokens": 9.5, "rounds": 5,
    }  # fmt: skip
    if not blocks:
        record["densities"] = {}
        record["precisions"] = {"bfloat16": {"accuracy": more["score"] - 0.01}}
    return record


def test_a_point_that_another_beats_on_both_is_not_on_the_frontier():
    found = points(
        [
            timed(3.0, score=0.8, rate=5.0),
            timed(3.0, score=0.7, rate=5.0, seed=2),
            timed(2.0, score=0.7, method="gradual"),
            timed(4.0, score=0.6, method="magnitude"),
            timed(1.5, blocks=False, engines=("bfloat16",), method="dense", rate=1.0, score=0.9),
        ]
    )
    best = {(p.setting.what, p.engine): (p.best, round(p.mean, 3), p.times) for p in found}
    assert best == {
        ("block_row:64 reweighted", "compiled"): (True, 0.75, 3.0),
        ("block_row:64 gradual", "compiled"): (False, 0.7, 2.0),
        ("block_row:64 magnitude", "compiled"): (True, 0.6, 4.0),
        ("dense", "float32"): (True, 0.9, 1.0),
        ("dense", "bfloat16"): (True, 0.89, 1.5),
    }
    assert [point.times for point in found] == sorted(point.times for point in found)


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("latency", "cpu", "Another", "processor"),
        ("latency", "threads", 1, "threads"),
        ("latency", "sentences", 8, "sentences"),
        ("data", "fingerprint", "22", "rows"),
        ("model", "sha256", "33", "weights"),
    ],
)
def test_what_cannot_be_compared_is_refused(part, key, value, said):
    first, second = timed(2.0, score=0.8), timed(3.0, score=0.7, method="gradual")
    assert len(points([first, second])) == 2
    second = copy.deepcopy(second)
    second[part][key] = value
    with pytest.raises(ValueError, match=rf"cannot be compared: their {said} differ"):
        points([first, second])
    second["run"]["task"] = "mrpc"  # another task is another comparison
    assert len(points([first, second])) == 2


def test_a_seed_without_a_time_counts_and_a_folder_without_any_says_so():
    quiet = timed(9.0, score=0.6, seed=2)
    quiet["latency"] = None
    (point,) = points([timed(3.0, score=0.8), quiet])
    assert (round(point.mean, 3), point.times) == (0.7, 3.0)
    assert points([quiet]) == []
    assert "--time measures it" in frontier.table([quiet])


def test_latencies_are_added_to_the_records_of_models_that_are_kept(material, tmp_path, capsys):
    asked = recipe(material, method=["gradual", "dense"], layers=[1, None])
    found = experiments.run(asked, tmp_path)
    assert all(record.get("latency") is None for record in found)
    quick = {"sentences": 3, "repeats": 3, "threads": 1, "say": lambda line: None}
    assert latency.add_latencies(tmp_path, **quick) == 4
    assert latency.add_latencies(tmp_path, **quick) == 0
    for record in records.read_all(tmp_path):
        engines = set(record["latency"]["engines"])
        layers, blocks = record["run"]["options"].get("layers"), record["run"]["method"] == "gradual"
        plain = {"bfloat16", "int8"} | ({"float32"} if layers else set())
        assert engines - {"compiled bfloat16"} == {"dense", "compiled"} | (set() if blocks else plain)
        assert record["latency"]["tokens"] > 0
        assert all(time["median_ms"] > 0 for time in record["latency"]["engines"].values())
        served = record["latency"]["serving"]
        assert served["rows"] == record["examples"]
        assert {"float32", "bfloat16", "int8", "compiled"} <= set(served["engines"])
        for name, engine in served["engines"].items():
            assert 0 < engine["low"] <= engine["sentences_per_second"] <= engine["high"]
            assert engine["same_answers"] >= (1.0 if name == "float32" else 0.9)
    assert main(["report", str(tmp_path), "--frontier"]) == 0
    shown = capsys.readouterr().out
    assert re.search("dense, 1 layer +int8 ", shown)
    assert re.search("block_row:8 gradual at 2 +compiled ", shown)
    assert max(len(line) for line in shown.splitlines() if not line.startswith("!")) <= 90
    assert frontier.table(records.read_all(tmp_path)) in shown
    assert main(["report", str(tmp_path), "--time", "--threads", "1"]) == 0


def test_the_sentences_are_of_every_length():
    rows = [{"input_ids": [1] * (i % 17 + 2), "attention_mask": [1] * (i % 17 + 2)} for i in range(200)]
    task = SimpleNamespace(encode=lambda tokenizer, length: (None, rows))
    shapes = [example["input_ids"].shape for example in latency.sample(task, None, 17, 64)]
    assert all(abs(got - right) <= 1 for got, right in zip(sorted(n for _, n in shapes), range(2, 19), strict=True))
    assert {one for one, _ in shapes} == {1}
