"""Fair timing, on machines whose clock we hold: medians, ratios, intervals, turns, threads, and what is refused."""

import gc
import json
import math
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from threadpoolctl import threadpool_info

import blockprune_lib as bp
from blockprune_lib.machine import thread_limits
from blockprune_lib.machine.comparison import Comparison, Ratio, Timing
from blockprune_lib.machine.thread_limits import threads
from blockprune_lib.machine.timing import compare, measure


class Machine:
    """A machine on which only the functions below take time, and only as long as they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def function(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        count = 0

        def call() -> None:
            nonlocal count
            self.calls.append(name)
            self.now += seconds(count)
            count += 1

        return call


positive = st.floats(1e-3, 10)
samples = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=3, max_size=40)


def paired(rows: list[tuple[float, float]], seed: int = 0) -> Comparison:
    first, second = zip(*rows, strict=True)
    timings = {"a": Timing("a", first, 1), "b": Timing("b", second, 1)}
    return Comparison(timings, "a", {"torch": 1, "numba": None}, 0, seed)


@given(positive, positive, st.integers(3, 12))
def test_steady_functions_are_measured_exactly(slow, fast, repeats):
    machine = Machine()
    functions = {"slow": machine.function("slow", lambda _: slow), "fast": machine.function("fast", lambda _: fast)}
    result = compare(functions, repeats=repeats, clock=machine.clock)
    assert result.medians == pytest.approx({"slow": 1e3 * slow, "fast": 1e3 * fast})
    found = result.ratio("fast")
    assert found.value == pytest.approx(slow / fast)  # above 1 where `fast` is the faster one
    assert (found.low, found.high) == pytest.approx((found.value, found.value))
    assert result.rounds == repeats


@given(samples)
def test_medians_and_quartiles_agree_with_numpy(rows):
    for timing, column in zip(paired(rows).timings.values(), np.array(rows).T, strict=True):
        q1, median, q3 = np.percentile(column, [25, 50, 75])
        assert (timing.q1, timing.median, timing.q3) == pytest.approx((q1, median, q3))


@given(samples, st.integers(0, 5))
def test_the_ratio_and_its_interval(rows, seed):
    result = paired(rows, seed)
    column = np.array(rows)
    ratio = result.ratio("b")
    assert ratio.value == pytest.approx(np.median(column[:, 0]) / np.median(column[:, 1]))
    assert ratio.low <= ratio.high
    assert ratio == result.ratio("b"), "seeded"
    assert result.ratio("a") == Ratio(1.0, 1.0, 1.0)
    # Nothing outside the most extreme ratio of single samples can come out.
    assert column[:, 0].min() / column[:, 1].max() <= ratio.low * (1 + 1e-12)
    assert ratio.high <= column[:, 0].max() / column[:, 1].min() * (1 + 1e-12)


def test_a_ratio_over_a_ratio_has_the_spread_of_both():
    rng = np.random.default_rng(0)
    middles, widths = (6.0, 2.0), (0.05, 0.12)
    one, other = (Ratio(m, m * np.exp(-1.96 * s), m * np.exp(1.96 * s)) for m, s in zip(middles, widths, strict=True))
    first, second = (m * np.exp(rng.normal(0, s, 400_000)) for m, s in zip(middles, widths, strict=True))
    low, high = np.quantile(first / second, [0.025, 0.975])
    found = one / other
    assert (found.value, found.low, found.high) == pytest.approx((3.0, low, high), rel=5e-3)
    # The end that counts against a quotient is the one below it and the one above its divisor.
    assert Ratio(6.0, 5.0, 6.0) / Ratio(2.0, 1.0, 2.0) == Ratio(3.0, pytest.approx(2.5), pytest.approx(6.0))


def test_the_interval_agrees_with_scipy():
    generator = np.random.default_rng(3)
    rows = np.exp(generator.normal([1.0, 0.2], 0.1, size=(30, 2)) + generator.normal(0, 0.5, size=(30, 1)))
    found = paired([tuple(row) for row in rows]).ratio("b")
    expected = bootstrap(
        (rows[:, 0], rows[:, 1]),
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.05)


@given(samples, positive)
def test_scaling_a_function_scales_its_ratio(rows, factor):
    scaled = [(a, b * factor) for a, b in rows]
    before, after = paired(rows).ratio("b"), paired(scaled).ratio("b")
    assert (after.value, after.low, after.high) == pytest.approx(
        (before.value / factor, before.low / factor, before.high / factor)
    )


def test_a_slow_minute_that_hits_everybody_leaves_the_ratio_alone():
    generator = np.random.default_rng(0)
    minute = np.exp(generator.normal(0, 1, size=30))  # the machine's mood, the same for both in a round
    found = paired([(3 * m, m) for m in minute]).ratio("b")
    assert found.low == pytest.approx(3)
    assert found.high == pytest.approx(3)


def test_a_steady_drift_cancels():
    machine = Machine()
    functions = {
        name: machine.function(name, lambda _, s=seconds: s * (1 + machine.now / 1000))
        for name, seconds in (("a", 0.2), ("b", 0.1))
    }
    result = compare(functions, repeats=40, warmup=0, clock=machine.clock)
    assert result.ratio("b").value == pytest.approx(2, rel=0.002)


@given(st.integers(1, 5), st.integers(3, 9), st.integers(0, 4), st.integers(0, 9))
def test_everybody_has_one_turn_a_round_and_places_balance(number, repeats, warmup, seed):
    machine = Machine()
    names = [f"f{i}" for i in range(number)]
    functions = {name: machine.function(name, lambda _: 1.0) for name in names}
    compare(functions, repeats=repeats, warmup=warmup, seed=seed, clock=machine.clock)
    assert len(machine.calls) == number * (warmup + 1 + repeats)
    timed = np.array(machine.calls[number * (warmup + 1) :]).reshape(repeats, number)
    assert all(sorted(row) == names for row in timed)
    for first in range(0, repeats - 1, 2):
        assert list(timed[first]) == list(timed[first + 1][::-1])


def test_warm_up_is_not_in_the_samples():
    machine = Machine()
    compiles = machine.function("compiles", lambda call: 5.0 if call == 0 else 0.01)
    assert compare({"f": compiles}, repeats=5, clock=machine.clock).timings["f"].samples_ms == pytest.approx([10] * 5)


def test_a_lead_in_keeps_the_first_call_of_a_turn_out_of_the_samples():
    machine = Machine()

    def cold_after_the_other(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            machine.now += seconds if machine.calls[-1:] == [name] else seconds + 1.0
            machine.calls.append(name)

        return call

    functions = {"slow": cold_after_the_other("slow", 2.0), "fast": cold_after_the_other("fast", 1.0)}
    assert compare(functions, repeats=4, clock=machine.clock, lead_in=1).ratio("fast").value == pytest.approx(2.0)
    machine.calls.clear()
    compare(functions, repeats=4, warmup=0, clock=machine.clock, lead_in=2)
    assert len(machine.calls) == 2 + 4 * 2 * 3  # one to find how many calls a sample needs; then two untimed, one timed


@given(st.floats(1e-7, 0.1), st.floats(0, 20))
def test_quick_functions_are_called_until_a_sample_is_long_enough(seconds, wanted):
    machine = Machine()
    timing = measure(
        machine.function("f", lambda _: seconds), repeats=3, min_time_ms=wanted, warmup=0, clock=machine.clock
    )
    assert timing.inner * seconds * 1e3 >= min(wanted, 1e3) * (1 - 1e-6)
    assert timing.inner == 1 or timing.inner <= 2.5 * wanted / 1e3 / seconds + 2
    assert timing.median == pytest.approx(1e3 * seconds, rel=1e-6)


def test_a_clock_that_stands_still_is_refused():
    with pytest.raises(ValueError, match="clock must advance; it stood still while 'f' ran"):
        measure(lambda: None, name="f", min_time_ms=0, clock=lambda: 1.0)


def test_the_garbage_collector_rests_and_is_woken():
    seen = set()
    compare({"f": lambda: seen.add(gc.isenabled())}, repeats=3)
    assert seen == {False}
    assert gc.isenabled()
    with pytest.raises(RuntimeError):
        compare({"f": lambda: 1 / 0})
    assert gc.isenabled()
    gc.disable()
    try:
        compare({"f": lambda: None}, repeats=3)
        assert not gc.isenabled()
    finally:
        gc.enable()


def fail() -> None:
    raise LookupError("no such weight")


@pytest.mark.parametrize(
    ("functions", "options", "error", "message"),
    [
        ({}, {}, ValueError, "functions must have at least one entry"),
        ([len], {}, TypeError, "functions must be a dict"),
        ({"a": 3}, {}, TypeError, r"functions\['a'\] must be callable; got int"),
        ({3: len}, {}, TypeError, "functions must have names as keys; got 3"),
        ({"a": list, "b": list}, {"baseline": "c"}, ValueError, "baseline must be one of a, b; got 'c'"),
        ({"a": list}, {"repeats": 2}, ValueError, "repeats must be a whole number of at least 3; got 2"),
        ({"a": list}, {"repeats": 3.0}, TypeError, "repeats must be a whole number"),
        ({"a": list}, {"warmup": -1}, ValueError, "warmup"),
        ({"a": list}, {"warmup": True}, TypeError, "warmup"),
        ({"a": list}, {"seed": -1}, ValueError, "seed"),
        ({"a": list}, {"min_time_ms": math.nan}, ValueError, "min_time_ms"),
        ({"a": list}, {"min_time_ms": -1}, ValueError, "min_time_ms"),
        ({"a": list}, {"min_time_ms": "1"}, TypeError, "min_time_ms"),
        ({"a": list}, {"threads": 0}, ValueError, "threads must be a whole number of at least 1; got 0"),
        ({"a": list}, {"threads": 1.0}, TypeError, "threads"),
        ({"good": list, "bad": fail}, {}, RuntimeError, "'bad' raised LookupError: no such weight"),
    ],
)
def test_bad_input(functions, options, error, message):
    with pytest.raises(error, match=message):
        compare(functions, **options)


def test_the_function_s_own_error_is_chained():
    with pytest.raises(RuntimeError) as caught:
        compare({"bad": fail})
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_ratio_needs_a_name_that_was_timed():
    with pytest.raises(ValueError, match="name must be one of a, b; got 'c'"):
        paired([(1.0, 1.0)] * 3).ratio("c")
    with pytest.raises(ValueError, match="to must be one of a, b; got 'c'"):
        paired([(1.0, 1.0)] * 3).ratio("a", to="c")


def test_a_ratio_is_to_the_baseline_or_to_whom_one_names():
    result = paired([(2.0, 4.0), (2.0, 4.0), (2.2, 4.0)])
    assert result.ratio("b", to="a") == result.ratio("b")
    assert result.ratio("a", to="b").value == pytest.approx(2.0)


def test_a_part_of_a_comparison_keeps_its_rounds_and_ratios():
    result = paired([(2.0, 4.0), (2.0, 4.0), (2.2, 4.0)])
    part = result.only(["b"], "a")
    assert (list(part.timings), part.baseline, part.rounds) == (["a", "b"], "a", 3)
    assert part.ratio("b") == result.ratio("b")
    assert list(result.only(["b", "a"], "a").timings) == ["b", "a"]
    assert result.only(["b"]).baseline == "b"
    for names, baseline, message in ((["c"], None, "names must"), (["a"], "c", "baseline must"), ([], None, "names")):
        with pytest.raises(ValueError, match=message):
            result.only(names, baseline)


# --- threads ---------------------------------------------------------------------------------------------------


def test_threads_are_set_disclosed_and_restored():
    before = torch.get_num_threads()
    seen = []
    result = compare({"f": lambda: seen.append(torch.get_num_threads())}, repeats=3, threads=1, min_time_ms=0)
    assert set(seen) == {1}
    assert result.threads["torch"] == 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads(1):
        raise KeyError
    assert torch.get_num_threads() == before
    assert bp.threads is threads


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (0, ValueError, "threads must be a whole number of at least 1; got 0"),
        (-1, ValueError, "got -1"),
        (2.5, TypeError, "got 2.5"),
        (True, TypeError, "got True"),
        ("2", TypeError, "got '2'"),
        (10**6, ValueError, r"threads must be at most \d+ on \d+ usable core\(s\); got 1000000: \d+ would do"),
        (10**30, ValueError, "threads must be at most"),
    ],
)
def test_a_number_of_threads_that_no_machine_has(number, error, says):
    before = torch.get_num_threads()
    with pytest.raises(error, match=says), threads(number):
        pass
    assert torch.get_num_threads() == before


def test_more_threads_than_cores_warn_and_work(monkeypatch):
    monkeypatch.setattr(thread_limits, "processor", lambda: type("Facts", (), {"usable_cores": 1}))
    before = torch.get_num_threads()
    with pytest.warns(RuntimeWarning, match="2 threads on 1 usable"), threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning), threads(2):
            pass
    assert torch.get_num_threads() == before


def test_the_blas_of_numpy_is_limited_and_restored():
    def in_use():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = in_use()
    with threads(1):
        assert set(in_use()) <= {1}
    assert in_use() == before


class FakeNumba:
    """Stands for Numba with four threads, started or not, and torch's number reset when ours is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, started: bool) -> None:
        self.number, self.config = 4, type("config", (), {"NUMBA_NUM_THREADS": 4})
        parallel = type(sys)("numba.np.ufunc.parallel")
        parallel._is_initialized = started
        self.parallel = parallel
        monkeypatch.setitem(sys.modules, "numba", self)
        monkeypatch.setitem(sys.modules, "numba.np.ufunc.parallel", parallel)

    def get_num_threads(self) -> int:
        return self.number

    def set_num_threads(self, number: int) -> None:
        if not 1 <= number <= 4:
            raise ValueError("The number of threads must be between 1 and 4")
        self.number = number
        torch.set_num_threads(1)


@pytest.mark.filterwarnings("ignore:threads")
def test_numba_is_set_where_it_runs_and_torch_is_set_after_it(monkeypatch):
    fake, before = FakeNumba(monkeypatch, started=True), torch.get_num_threads()
    with threads(2):
        assert (torch.get_num_threads(), fake.number) == (2, 2)
    assert (torch.get_num_threads(), fake.number) == (before, 4)
    with threads(9):
        assert (torch.get_num_threads(), fake.number) == (9, 4)
    assert torch.get_num_threads() == before


def test_numba_is_not_started_but_found_when_a_function_starts_it(monkeypatch):
    fake = FakeNumba(monkeypatch, started=False)
    with threads(1):
        assert fake.number == 4

    def start() -> None:
        fake.parallel._is_initialized = True

    result = compare({"f": start}, repeats=3, threads=1, min_time_ms=0)
    assert result.threads == {"torch": 1, "numba": 1}
    assert fake.number == 4


# --- what it prints --------------------------------------------------------------------------------------------


def test_prints_a_table_and_gives_json():
    rows = [(3.0, 1.0), (3.3, 1.1), (2.7, 0.9)]
    result = paired(rows)
    text = repr(result)
    assert "Ratio: times as fast as a, with its 95 % interval" in text
    assert "3 rounds in turns after 0 warm-up calls; a sample is one call. Threads" in text
    assert "3.00 [3.00, 3.00]" in text
    assert text.endswith("Threads: torch 1.")
    assert len({len(line) for line in text.splitlines()[:3]}) == 1, "columns line up"
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["timings"]["b"]["ratio"] == pytest.approx({"value": 3, "low": 3, "high": 3})
    assert plain["timings"]["a"]["samples_ms"] == [3.0, 3.3, 2.7]
    assert plain["threads"] == {"torch": 1, "numba": None}
    assert "<th scope='row'>b</th>" in result._repr_html_()
    assert repr(result.timings["a"]) == "a: 3.00 ms [2.85, 3.15], 3 rounds of 1"


def test_a_sample_of_several_calls_says_how_many():
    timings = {name: Timing(name, (1.0, 2.0, 3.0), calls) for name, calls in (("a", 4), ("b", 20))}
    text = repr(Comparison(timings, "a", {"torch": 1}, 0, 0))
    assert "a sample is the mean of 4 to 20 calls in a row. Threads" in text


def test_names_are_escaped_on_a_page():
    machine = Machine()
    page = compare({"<b>": machine.function("x", lambda _: 1.0)}, repeats=3, clock=machine.clock)._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
