"""The checkers of *know-your-machine* see through the usual wrong answers, and say which property failed."""

import numpy as np
import pytest

from blockprune_lib.machine.timing import compare
from blockprune_lib.teaching import check


def timer(order, middle=np.median, warm=True, upside_down=False):
    def fair_ratio(old, new, clock, rounds=20):
        samples = {old: [], new: []}
        if warm:
            old(), new()
        for function in order(old, new, rounds):
            start = clock()
            function()
            samples[function].append(clock() - start)
        ratio = middle(samples[old]) / middle(samples[new])
        return 1 / ratio if upside_down else ratio

    return fair_ratio


def swapped(old, new, rounds):
    return [f for i in range(rounds) for f in ((old, new) if i % 2 else (new, old))]


def same_order(old, new, rounds):
    return [old, new] * rounds


def one_after_the_other(old, new, rounds):
    return [old] * rounds + [new] * rounds


def shuffled(seed):
    generator = np.random.default_rng(seed)
    return lambda old, new, rounds: [f for _ in range(rounds) for f in generator.permutation([old, new])]


def trimmed(samples):
    kept = sorted(samples)[2:-2]
    return sum(kept) / len(kept) if kept else float("nan")


def by_the_library(old, new, clock, rounds):
    return compare({"old": old, "new": new}, repeats=max(3, rounds), min_time_ms=0, clock=clock).ratio("new").value


@pytest.mark.parametrize("answer", [timer(swapped), by_the_library, *(timer(shuffled(seed)) for seed in range(5))])
def test_fair_timers_pass(answer):
    assert check("fair-timer", answer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (timer(swapped, warm=False), "compiles at the first call"),
        (timer(one_after_the_other), "slows down steadily"),
        (timer(swapped, middle=np.mean), "interrupted now and then"),
        (timer(same_order), "favours whoever runs second"),
        (timer(swapped, upside_down=True), "upside down"),
        (lambda old, new, clock, rounds: 3.0, "never read"),
        (lambda old, new, clock, rounds: [clock()], "expected a number"),
        (timer(swapped, middle=trimmed), "with rounds=2 it finds no number"),
        (7, "should be a function"),
    ],
)
def test_unfair_timers_are_told_what_fooled_them(answer, reason):
    verdict = check("fair-timer", answer)
    assert not verdict
    assert reason in verdict.message


def right(tokens, inputs, outputs, density):
    kept = density * inputs * outputs
    return 2 * tokens * kept / (4 * (tokens * inputs + kept + tokens * outputs))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda *shape: right(*shape) / 2, "two FLOP"),
        (lambda *shape: 4 * right(*shape), "4 bytes"),
        (lambda t, i, o, d: 2 * t * d * i * o / (4 * (t * i + i * o + t * o)), "not moved either"),
        (lambda t, i, o, d: 2 * t * i * o / (4 * (t * i + d * i * o + t * o)), "not multiplied either"),
        (lambda t, i, o, d: t / 2, "input and the output"),
        (lambda t, i, o, d: 2 * t * d * i * o / (4 * (t * i + d * i * o)), "the output has to be moved"),
        (lambda t, i, o, d: 2 * t * d * i * o / (4 * (t * o + d * i * o)), "the input has to be moved"),
        (lambda t, i, o, d: 2 * t * d * i * o / (4 * (t * i + 2 * d * i * o + t * o)), "leaves the indices out"),
    ],
)
def test_slips_in_the_intensity_are_named(answer, hint):
    assert check("intensity", right)
    verdict = check("intensity", answer)
    assert not verdict
    assert hint in verdict.hint


def test_a_whole_number_of_kept_weights_is_right_too():
    assert check("intensity", lambda t, i, o, d: 2 * t * (w := int(d * i * o)) / (4 * (t * (i + o) + w)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({1: "threads"}, "keys 1, 2, 3 and 4"),
        ({1: "threads", 2: "cache", 3: "compilation", 4: "luck"}, "timing 4: 'luck' is not one of"),
        ({1: "threads", 2: "cache", 3: "one run", 4: "compilation"}, "timing 3 and timing 4"),
    ],
)
def test_wrong_flaws_are_counted_and_not_told(answer, reason):
    verdict = check("name-the-flaw", answer)
    assert not verdict
    assert reason in verdict.message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "dictionary"),
        ({"a": (1, 1)}, "three positive numbers"),
        ({"a": (1.0, 1.0, 1.0)}, "three operations or more"),
        ({name: (1.0, 1e6, 1.0) for name in "abc"}, "right of the ridge"),
        ({name: (1e6, 1.0, 1.0) for name in "abc"}, "left of the ridge"),
        ({"a": (1e15, 1e3, 1e-3), "b": (1.0, 1e3, 1.0), "c": (1e6, 1.0, 1.0)}, "above the peak"),
        ({"a": (1e6, 4e6, 1e5), "b": (1e6, 4e6, 1e5), "c": (1e8, 1e6, 1e5)}, "are the times in ms"),
    ],
)
def test_impossible_points_are_refused(answer, reason):
    verdict = check("own-points", answer)
    assert not verdict
    assert reason in verdict.message
