"""Nothing wrong is timed, rates and ratios are what their words say, and engines take turns."""

import numpy as np
import pytest

from blockprune_lib.bench import matrix, measuring
from blockprune_lib.bench.case import Case, What
from blockprune_lib.bench.engine import Engine
from blockprune_lib.bench.settings import MatrixSettings
from blockprune_lib.machine.comparison import Comparison, Timing


def maker(key, answer, precision="float32"):
    return lambda: Engine(key, key, lambda: None, lambda: np.asarray(answer, dtype=float), precision)


def test_a_wrong_answer_is_not_timed_and_a_failure_is_told():
    def fail():
        raise OSError("no such instruction\nmore")

    makers = {
        "right": maker("right", [[1.0, 2.0]]),
        "near": maker("near", [[1.0, 2.02]], "bfloat16"),
        "wrong": maker("wrong", [[1.0, 2.1]]),
        "nan": maker("nan", [[1.0, float("nan")]]),
        "shape": maker("shape", [[1.0]]),
        "broken": fail,
        "ours": maker("ours", [[1.0, 2.0]]),
    }
    allowed = matrix.TOLERANCES
    rivals = {key: make for key, make in makers.items() if key != "ours"}
    for reference in (np.array([[1.0, 2.0]]), None):  # None: the first engine's own answer
        ours = {"ours": makers["ours"]}
        made, errors, skipped = measuring.make_all(rivals, ours, allowed, reference)
        assert list(made) == ["right", "near", "ours"]
        assert errors["right"] == (0, allowed["float32"])
        assert errors["near"] == (pytest.approx(0.01), allowed["bfloat16"])
        said = {entry.engine: entry.why for entry in skipped}
        assert said["wrong"].startswith("its answer is off by 0.05 of the largest number; 1e-05 is allowed")
        assert "nan" in said["nan"]
        assert "inf" in said["shape"]
        assert said["broken"] == "it failed: OSError: no such instruction"
    for first, last in (("wrong", "ours"), ("right", "wrong")):
        with pytest.raises(RuntimeError, match=r"wrong: its answer is off by .* nothing was timed"):
            measuring.make_all({first: makers[first]}, {last: makers[last]}, allowed, np.array([[1.0, 2.0]]))
    with pytest.raises(OSError, match="no such instruction"):
        measuring.make_all({"broken": fail}, {"ours": makers["ours"]}, allowed)


def test_rates_and_ratios_are_what_their_words_say():
    timings = {"a": Timing("a", (4.0, 4.0, 4.0), 1), "b": Timing("b", (1.0, 1.0, 1.0), 1)}
    compared = Comparison(timings, "a", {"torch": 1}, 0, 0)
    what = What(shape=[8, 8], structure="irregular", rate=2.0, kept=32, density=0.5, tokens=1, threads=1)
    engines = {key: maker(key, [[0.0]])() for key in timings}
    peaks = {"float32": (10.0, 16.0, 20.0)}
    case = Case.made(what, 8e6, "b", engines, dict.fromkeys(engines, (0.0, 1.0)), compared, peaks, ())
    a, b = case.engine("a"), case.engine("b")
    assert a.useful_gflops == pytest.approx(2.0)  # 8 million operations in 4 ms
    assert b.useful_gflops == pytest.approx(8.0)
    assert b.share_of_peak == pytest.approx(0.5)
    assert b.ratio_to_baseline.value == pytest.approx(4.0)
    assert a.ours_ratio_to_it.value == pytest.approx(4.0)
    assert b.ours_ratio_to_it.value == pytest.approx(1.0)


def test_engines_take_turns_with_the_peak():
    engine = Engine("x", "x", lambda: sum(range(2000)), lambda: np.zeros(1))
    for threads in (1, 2):
        compared, peaks = measuring.time_all({"x": engine}, threads, MatrixSettings(repeats=4, warmup=1))
        assert list(compared.timings) == ["x"]
        assert compared.rounds == 4
        assert list(peaks) == ["float32"]
        assert len(peaks["float32"]) >= 4
        assert min(peaks["float32"]) > 0
