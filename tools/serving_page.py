"""Tables of book/serve-it.md, from the records of `tools.serving`, of `tools.benchmarks` and of the study."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from blockprune_lib import experiments
from blockprune_lib.data.glue import title_of
from blockprune_lib.experiments.deciding import comparisons
from blockprune_lib.experiments.standing import standings
from tools import markdown, readme_accuracy
from tools.readme_short import CLASSES, Engine
from tools.serving import rival_of, table, to_rival
from tools.serving_batches import batches, per_second, rate, versions
from tools.serving_engines import CUT, RATE, STRUCTURE, WHOLE

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
#: Methods as a reader knows them who has not read the chapters.
METHOD_NAMES = {"reweighted": "reweighted group Lasso", "gradual": "gradual magnitude pruning"}


def regions() -> dict[str, str]:
    """Each generated region of the page."""
    return {"lead": lead(), "batches": batches(), "serving": serving(), "accuracy": accuracy()}


def lead() -> str:
    """What the service gained and what it costs: beside the fastest dense engine in the same precision, and int8."""
    path = min(RESULTS.glob("serve-*.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    model, _, kind = path.stem.removeprefix("serve-").rpartition("-")
    cases = sorted(record["cases"], key=lambda case: tuple(case["load"].items()))
    cut, whole = (_beside_rival(cases, what) for what in (CUT, WHOLE))
    rival = rival_of(cases[0]["variants"])
    kinds = {rival: f"dense, {rival.removeprefix('dense, ')}", WHOLE: "compiled, nothing cut", CUT: "compiled and cut"}
    rows = {
        f"{said}, {precision}": [
            f"{case['variants'][f'{what}, {precision}']['per_second']['median']:.0f}" for case in cases
        ]
        for precision in ("float32", "bfloat16")
        for what, said in kinds.items()
        if all(f"{what}, {precision}" in case["variants"] for case in cases)
    }
    loads = [_load(case["load"]).lower() for case in cases]
    return "\n\n".join(
        [
            f"In short: {model} on {record['hardware']['cpu']} ({CLASSES[kind]}), cut at rate {record['rate']:g}, so "
            f"that one weight in {record['rate']:g} of its encoder is left. *Compiled*: the whole encoder in one call.",
            "\n".join(markdown.table(loads, rows, names="requests a second", cells="---:")),
            f"- Cut, it answers {cut} times as many requests as the dense model in {rival.removeprefix('dense, ')} in "
            f"the same precision; with the compiled call and no cut it is {whole} times as many.\n"
            + "\n".join(_price(model, kind)),
        ]
    )


def _price(model: str, kind: str) -> list[str]:
    """What the cut takes in accuracy, and where int8 is faster: the two things a table of speed leaves out."""
    told, faster = list[str](), _beside_int8(model, kind)[2]
    if ours := _costs():
        points = " or ".join(
            f"{-100 * one.mean:.1f} points ({METHOD_NAMES.get(one.method, one.method)})" for one in ours
        )
        told.append(
            f"- This cut has a price: trained for it, {model} lost {points}, on average over {len(ours[0].tasks)} "
            "tasks ([intervals](serve-price))."
        )
    if faster:
        found = {verdict: [size for size, row in faster.items() if row[-1] == verdict] for verdict in VERDICTS}
        told.append(
            "- int8, which needs no training, was timed without a service: "
            + "; ".join(
                f"{VERDICTS[verdict]} with batches of {' and '.join(sizes)}"
                for verdict, sizes in found.items()
                if sizes
            )
            + " ([the table](serve-int8))."
        )
    return told


def _beside_rival(cases: list[Any], what: str) -> str:
    """The least and the most that `what` answers, times as many as the rival: medians over rounds, by load."""
    found = [
        float(np.median(np.array(mine["per_second"]["values"]) / np.array(dense["per_second"]["values"])))
        for case in cases
        for precision in ("float32", "bfloat16")
        if (mine := case["variants"].get(f"{what}, {precision}"))
        and (dense := case["variants"].get(f"{rival_of(case['variants'])}, {precision}"))
    ]
    return f"{min(found):.1f} to {max(found):.1f}"


def serving() -> str:
    """Every record of the service: a table for each kind of load."""
    paths = sorted(RESULTS.glob("serve-*.json"))
    return "\n\n".join(_record(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def _record(name: str, record: Mapping[str, Any]) -> str:
    machine, text = record["hardware"], record["text"]
    model, _, kind = name.removeprefix("serve-").rpartition("-")
    int8, source = _int8(model, kind), title_of(text["name"])
    engines = versions(record, "torch", "openvino", "transformers", "blockprune-lib")
    differ = _rounded_up(max(record["differences"].values()))
    cases = sorted(record["cases"], key=lambda case: tuple(case["load"].items()))
    rival = rival_of(cases[0]["variants"]).removeprefix("dense, ")
    failed = sum(found["failed"] for case in cases for found in case["variants"].values())
    head = (
        f"**{model}** on {machine['cpu']} ({CLASSES[kind]}); {text['count']} sentences of {source}'s validation rows, "
        f"{text['shortest']} to {text['longest']} tokens, {text['mean']:.0f} on average; in float32 and bfloat16 only. "
        f"The cut is `{record['structure']}` at rate {record['rate']:g}."
    )
    ratios = (
        f"The rates of the table at the top of this page, as multiples of {rival}'s in the same precision and the same "
        f"round: the median of {cases[0]['rounds']} rounds, and in brackets the lowest and the highest. (A quotient of "
        "two rates of that table, which are medians themselves, may differ a little.) So few rounds make no interval; "
        "brackets that overlap tell no difference."
    )
    terms = [
        "```{admonition} Every engine, and how long a request took",
        ":class: dropdown",
        "*PyTorch* (eager) and *OpenVINO* (from ONNX, for batches of any shape) run the dense model. *compiled*: "
        "this library runs the whole encoder as one call, and leaves out the padding; nothing is cut. *cut*: the same, "
        f"and the matrices are cut. *per s*: requests a second, median over rounds. *to {rival}*: the ratio, as above. "
        "*p50*, *p95*, *p99*: the ms within which 50, 95 and 99 of 100 requests were answered, of all rounds together.",
    ]
    legend = [
        f"- {machine['usable_cores']} cores; the model has {record['threads']} thread{'s' * (record['threads'] > 1)}, "
        f"the rest of the server and the load share what is left. At most {record['most']} in a batch. "
        f"{failed or 'No'} request{'s' * (failed > 1)} failed.",
        f"- Where nothing is cut, the probabilities in the answers differ from PyTorch float32's by {differ} at most, "
        "bfloat16 included.",
        f"- {engines}. From the record `book/results/{name}.json`." + markdown.beside(record),
        "```",
    ]
    fold = ["\n".join(terms)]
    for case in cases:
        fold += [
            f"*{_load(case['load'])}*: {case['rounds']} rounds; in each of them {_turn(case['load'])}.",
            table(case),
        ]
    told = "\n".join(f"- {line}" for case in cases for line in _factors(case))
    parts = [head, ratios, _ratios(cases), told, "\n\n".join([*fold, "\n".join(legend)]), *int8]
    return "\n\n".join(part for part in parts if part)


def _ratios(cases: list[Any]) -> str:
    """The compiled call without a cut and with it, as ratios to the rival, a column for each load."""
    rows = {
        f"{said}, {precision}": [to_rival(case["variants"], f"{what}, {precision}") for case in cases]
        for precision in ("float32", "bfloat16")
        for what, said in ((WHOLE, "compiled, nothing cut"), (CUT, "compiled and cut"))
        if all(f"{what}, {precision}" in case["variants"] for case in cases)
    }
    columns = [_load(case["load"]).lower() for case in cases]
    rival = rival_of(cases[0]["variants"]).removeprefix("dense, ")
    return "\n".join(markdown.table(columns, rows, names=f"times {rival}", cells="---:"))


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
    batches, names, rows = _beside_int8(model, kind)
    if not rows:
        return []
    what = batches["cases"][0]["what"]
    return [
        f"(serve-int8)=\n**int8, without a service**: {model} on {batches['hardware']['cpu']} ({CLASSES[kind]}), "
        f"sequences of {what['tokens']} tokens and no padding, threads: {what['threads']}; sequences a second, "
        f"medians, of the fastest engine in int8 ({', '.join(dict.fromkeys(names))}) and of the cut.",
        "\n".join(markdown.table(["int8", "cut, bf16", "faster"], rows, names="batch", cells="---:")),
        "int8 needs no training and no blocks: measure it before you cut. What it costs in accuracy is in "
        "{doc}`the study <the-study>`." + _busy(batches["cases"]),
        "```{admonition} How faster is decided\n:class: dropdown\nBy the 95 % intervals of both ratios to PyTorch; "
        f"where they overlap, the two are not told apart. {versions(batches)}. From the record "
        f"`book/results/bench-batches-{kind}.json`.\n```",
    ]


def _busy(cases: list[Any]) -> str:
    """A warning for each batch that other work disturbed: rates that fall there are not the doing of the batch."""
    told = ""
    for case in cases:
        apart = max(engine["ms"]["q3"] / engine["ms"]["q1"] for engine in case["engines"])
        if apart > 1.2:
            told += (
                f" Other work disturbed batch {case['what']['batch']} (quartiles up to {apart:.1f} times apart): its "
                "rates are not to be compared with those of other batches."
            )
    return told


def _faster(theirs: Engine, ours: Engine) -> str:
    """Which of two engines is the faster, by intervals of their ratios to the same baseline."""
    one, other = theirs["ratio_to_baseline"], ours["ratio_to_baseline"]
    return "int8" if one["low"] > other["high"] else "cut" if other["low"] > one["high"] else "not told apart"


#: What `_faster` says, as part of a sentence.
VERDICTS = {
    "int8": "faster than the cut in bfloat16",
    "cut": "slower than it",
    "not told apart": "not told apart from it",
}


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


def _factors(case: Mapping[str, Any]) -> list[str]:
    """What the cut adds to the compiled call, and that beside the rival; nothing where a row is lacking."""
    told, beside, rival = list[str](), list[float](), rival_of(case["variants"])
    for precision in ("float32", "bfloat16"):
        *rows, dense = (case["variants"].get(f"{what}, {precision}") for what in (WHOLE, CUT, rival))
        if None not in rows:
            whole, cut = (np.array(row["per_second"]["values"]) for row in rows)
            told.append(f"{np.median(cut / whole):.1f} times as many in {precision}")
            beside += [*(whole / np.array(dense["per_second"]["values"]))] if dense else []
    said = f"{_load(case['load'])}: round by round, the cut makes the compiled model answer {' and '.join(told)}."
    if beside and not min(beside) <= 1 <= max(beside):
        number, name = "more" if min(beside) > 1 else "fewer", rival.removeprefix("dense, ")
        said += f" Without a cut it answers {number} than {name} in each round."
    return [said] if told else []


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


def accuracy() -> str:
    """What a model lost at the rate of the tables, as a mean over tasks; empty where fewer than three were run."""
    ours = _costs()
    if not ours:
        return ""
    *most, last = map(title_of, ours[0].tasks)
    return (
        f"(serve-price)=\n**The price.** Trained for this cut, {ours[0].model} lost "
        f"{' and '.join(_lost(one) for one in ours)}, on average over {', '.join(most)} and {last}, beside a dense "
        "model trained for as many steps. In brackets: 95 % intervals over seeds. {doc}`The study "
        "<the-study>` says what the two methods do; the records are in `book/results/study`."
    )


def _lost(one: Any) -> str:
    high, low = (-100 * end for end in one.seeds or (math.nan, math.nan))
    return f"{-100 * one.mean:.1f} points ({low:.1f} to {high:.1f}) with {METHOD_NAMES.get(one.method, one.method)}"
