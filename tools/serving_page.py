"""Tables of book/serve-it.md, from the records of `tools.serving`, of `tools.benchmarks` and of the study."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from blockprune_lib import experiments
from blockprune_lib.data.glue import title_of
from blockprune_lib.experiments.deciding import comparisons
from blockprune_lib.experiments.standing import standings
from blockprune_lib.machine.comparison import DISTURBED
from tools import markdown, readme_accuracy
from tools.readme_short import CLASSES, Engine
from tools.serving import rival_of, table
from tools.serving_engines import CUT, RATE, STRUCTURE, WHOLE
from tools.serving_rates import per_second, rate, versions

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"


def regions() -> dict[str, str]:
    """Each generated region of the page."""
    return {"lead": lead(), "serving": serving()}


def lead() -> str:
    """What the service gained and what it costs: requests a second, the price of the cut, and int8."""
    path = min(RESULTS.glob("serve-*.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    model, _, kind = path.stem.removeprefix("serve-").rpartition("-")
    cases = sorted(record["cases"], key=lambda case: tuple(case["load"].items()))
    rival = rival_of(cases[0]["variants"])
    kinds = {rival: f"dense, {rival.removeprefix('dense, ')}", WHOLE: "one call, nothing cut", CUT: "one call, cut"}
    precision = "bfloat16" if all(f"{CUT}, bfloat16" in case["variants"] for case in cases) else "float32"
    rows = {
        said: [f"{case['variants'][f'{what}, {precision}']['per_second']['median']:.0f}" for case in cases]
        for what, said in kinds.items()
        if all(f"{what}, {precision}" in case["variants"] for case in cases)
    }
    loads = [_load(case["load"]).lower() for case in cases]
    alone = [
        f"{_ends(found)} times as many with {_load(case['load']).lower()}"
        for case in cases
        if (found := _ratios([case], WHOLE, rival, precision).values())
    ]
    worth = _ends(_ratios(cases, CUT, WHOLE, precision).values())
    told = [
        f"- The cut makes the one call answer {worth} times as many requests.",
        f"- With nothing cut, beside {rival.removeprefix('dense, ')}, it answers {' and '.join(alone)} "
        "(it leaves out the padding of a batch).",
        *_price(model),
    ]
    return "\n\n".join(
        [
            f"In short: {model} in {precision} on {record['hardware']['cpu']} ({CLASSES[kind]}), cut at rate "
            f"{record['rate']:g}, so that one weight in {record['rate']:g} of its encoder is left. *One call*: the "
            "whole encoder is one compiled function, so that torch does not start each operation ([every "
            "engine](serve-measured)).",
            *_int8(model, kind),
            "\n".join(markdown.table(loads, rows, names="requests a second", cells="---:")),
            "\n".join(told),
        ]
    )


def _price(model: str) -> list[str]:
    """What the cut takes in accuracy, as a mean over tasks; empty where fewer than three were run."""
    ours = _costs()
    if not ours:
        return []
    return [
        f"- The price: trained for this cut, {model} lost {_ends([-100 * one.mean for one in ours])} points of 100 "
        f"beside a dense model trained as long, in the mean of {len(ours[0].tasks)} tasks "
        "({doc}`the study <the-study>`)."
    ]


def _ratios(cases: list[Any], what: str, of: str, *only: str) -> dict[tuple[int, str], float]:
    """How many times as many requests `what` answers as `of`, by case and precision: medians over rounds."""
    return {
        (number, precision): float(np.median(np.array(ours["per_second"]["values"]) / theirs["per_second"]["values"]))
        for number, case in enumerate(cases)
        for precision in only or ("float32", "bfloat16")
        if (ours := case["variants"].get(f"{what}, {precision}"))
        and (theirs := case["variants"].get(f"{of}, {precision}"))
    }


def _ends(found: Iterable[float]) -> str:
    """The least and the most, as text.

    >>> _ends([2.04, 1.96]), _ends([1.4, 1.9])
    ('2.0', '1.4 to 1.9')
    """
    ends = [f"{end(found):.1f}" for found in [list(found)] for end in (min, max)]
    return " to ".join(dict.fromkeys(ends))


def serving() -> str:
    """Every record of the service: a table for each kind of load."""
    paths = sorted(RESULTS.glob("serve-*.json"))
    return "\n\n".join(_record(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def _record(name: str, record: Mapping[str, Any]) -> str:
    machine, text = record["hardware"], record["text"]
    model, _, kind = name.removeprefix("serve-").rpartition("-")
    source, int8 = title_of(text["name"]), _source_of_int8(model, kind)
    engines = versions(record, "torch", "openvino", "transformers", "blockprune-lib")
    differ = _rounded_up(max(record["differences"].values()))
    cases = sorted(record["cases"], key=lambda case: tuple(case["load"].items()))
    rival = rival_of(cases[0]["variants"]).removeprefix("dense, ")
    failed = sum(found["failed"] for case in cases for found in case["variants"].values())
    head = (
        f"**{model}** on {machine['cpu']} ({CLASSES[kind]}); {text['count']} sentences of {source}'s validation rows, "
        f"{text['shortest']} to {text['longest']} tokens, {text['mean']:.0f} on average. "
        f"The cut is `{record['structure']}` at rate {record['rate']:g}."
    )
    terms = [
        "```{admonition} Every engine, and how long a request took",
        ":class: dropdown",
        "*PyTorch* (eager) and *OpenVINO* (from ONNX, for batches of any shape) run the dense model. *one call*: "
        "this library runs the whole encoder as one call, and leaves out the padding; nothing is cut. *cut*: the same, "
        f"and the matrices are cut. *per s*: requests a second, median over rounds. *to {rival}*: the median of the "
        f"ratios to {rival}'s in the same precision and the same round, and in brackets the lowest and the highest: "
        f"{cases[0]['rounds']} rounds are too few for an interval, so read overlapping brackets as level. "
        "*p50*, *p95*, *p99*: the ms within which 50, 95 and 99 of 100 requests were answered, of all rounds together.",
    ]
    legend = [
        f"- {machine['usable_cores']} cores; the model has {record['threads']} thread{'s' * (record['threads'] > 1)}, "
        f"the rest of the server and the load share what is left. At most {record['most']} in a batch. "
        f"{failed or 'No'} request{'s' * (failed > 1)} failed.",
        f"- Where nothing is cut, the probabilities in the answers differ from PyTorch float32's by {differ} at most, "
        "bfloat16 included.",
        f"- {engines}. From the record `book/results/{name}.json`." + markdown.beside(record),
        *int8,
        "```",
    ]
    fold = ["\n".join(terms)]
    for case in cases:
        fold += [
            f"*{_load(case['load'])}*: {case['rounds']} rounds; in each of them {_turn(case['load'])}.",
            table(case),
        ]
    return "\n\n".join([head, *fold, "\n".join(legend)])


def _beside_int8(model: str, kind: str) -> tuple[dict[str, Any], list[str], dict[str, list[str]]]:
    """The record of batches, its fastest engines in int8, and {batch: [theirs, ours, the faster]}; empty if lacking."""
    path = RESULTS / f"bench-batches-{kind}.json"
    if not path.exists():
        return {}, [], {}
    batches, rows, names = json.loads(path.read_text(encoding="utf-8")), dict[str, list[str]](), list[str]()
    batches["cases"] = [
        case for case in batches["cases"] if (case["what"]["model"], case["what"]["rate"]) == (model, RATE)
    ]
    for case in batches["cases"]:
        number, engines = case["what"]["batch"], case["engines"]
        theirs = [engine for engine in engines if engine["precision"] == "int8"]
        ours = [engine for engine in engines if engine["key"] == f"blockprune {STRUCTURE} bf16"]
        if theirs and ours:
            best = max(theirs, key=partial(per_second, sentences=number))
            names.append(best["name"])
            rows[f"{number}"] = [rate(best, number), rate(ours[0], number), _faster(best, ours[0])]
    return batches, names, rows


def _int8(model: str, kind: str) -> list[str]:
    """What the record of batches says of the fastest int8 beside the cut in bfloat16; empty where it has neither."""
    record, names, rows = _beside_int8(model, kind)
    if not rows:
        return []
    calm = {number: row for number, row in rows.items() if number not in _disturbed(record["cases"])}
    words = {"int8": "faster", "cut": "slower", "neither": "not told apart"}
    told = [
        f"{words[faster]} {'one text at a time' if number == '1' else f'in batches of {number}'} ({theirs} to {ours})"
        for number, (theirs, ours, faster) in calm.items()
    ]
    return [
        f"(serve-int8)=\n**First try int8** ({' or '.join(dict.fromkeys(names))}), which needs no training. Beside the "
        f"cut in bfloat16 it is {', '.join(told)}, in sequences a second. What "
        "it costs in accuracy is in {doc}`the study <the-study>`."
    ]


def _source_of_int8(model: str, kind: str) -> list[str]:
    """Where the rates of int8 come from, for the fold; empty where there are none."""
    record, _, rows = _beside_int8(model, kind)
    if not rows:
        return []
    what, left_out = record["cases"][0]["what"], [number for number in rows if number in _disturbed(record["cases"])]
    return [
        f"- int8: medians, without a service; {what['tokens']} tokens, no padding, {what['threads']} threads"
        + f"; other work disturbed batches of {' and '.join(left_out)}" * bool(left_out)
        + f". {versions(record)}. From the record `book/results/bench-batches-{kind}.json`."
    ]


def _disturbed(cases: list[Any]) -> list[str]:
    """The batches that other work disturbed: rates that fall there are not the doing of the batch."""
    return [
        f"{case['what']['batch']}"
        for case in cases
        if max(engine["ms"]["q3"] / engine["ms"]["q1"] for engine in case["engines"]) >= DISTURBED
    ]


def _faster(theirs: Engine, ours: Engine) -> str:
    """Which of two engines is the faster, by 95 % intervals of their ratios to the same baseline."""
    one, other = theirs["ratio_to_baseline"], ours["ratio_to_baseline"]
    return "int8" if one["low"] > other["high"] else "cut" if other["low"] > one["high"] else "neither"


def _turn(load: Mapping[str, Any]) -> str:
    had = f"answered the same {load['requests']} requests" if "requests" in load else f"had {load['seconds']:g} s"
    return f"every engine {had}"


def _rounded_up(value: float) -> str:
    """Two digits, never less than the value.

    >>> _rounded_up(0.002445)
    '0.0025'
    """
    if value == 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.2g}"


def _load(load: Mapping[str, Any]) -> str:
    if "rate" in load:
        return f"{load['rate']:g} requests a second, at random moments"
    return "One client" if load["clients"] == 1 else f"{load['clients']} clients at once"


@cache
def _costs() -> list[Any]:
    """What each method lost at the structure and the rate of the tables: means over tasks, at least three."""
    found = [comparisons(study, text=False) for study in standings(readme_accuracy.records())]
    pooled = experiments.over_tasks((one for some in found for one in some.cost), least=3)
    return [one for one in pooled if (one.structure, one.rate) == (STRUCTURE, RATE)]
