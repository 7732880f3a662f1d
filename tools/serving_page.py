"""Tables of book/serve-it.md, from the records of `tools.serving` and of `tools.benchmarks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tools.readme_short import CLASSES, Engine
from tools.serving import CUT, DENSE, WHOLE, table

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"


def regions() -> dict[str, str]:
    """Each generated region of the page."""
    return {"batches": batches(), "serving": serving()}


def serving() -> str:
    """Every record of the service: a table for each kind of load."""
    paths = sorted(RESULTS.glob("serve-*.json"))
    return "\n\n".join(_record(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def _record(name: str, record: Mapping[str, Any]) -> str:
    machine, text = record["hardware"], record["text"]
    model, _, kind = name.removeprefix("serve-").rpartition("-")
    differ, cores = max(record["differences"].values()), "one" if record["threads"] == 1 else record["threads"]
    head = (
        f"**{model}** on {machine['cpu']} ({CLASSES[kind]}), {machine['usable_cores']} cores, {cores} of them for the "
        f"model's {record['threads']} thread{'s' * (record['threads'] > 1)}. {text['count']} sentences of "
        f"{text['name']} ({text['source']}), {text['shortest']} to {text['longest']} tokens, {text['mean']:.0f} on "
        f"average; at most {record['most']} in a batch. *Dense* is eager "
        "PyTorch; *compiled* means that this library runs the whole encoder as one call. Where nothing is cut, the "
        f"probabilities in the answers differ from dense float32's by {differ:.1g} at most, bfloat16 included. From "
        f"the record `book/results/{name}.json`."
    )
    parts = [head]
    for case in sorted(record["cases"], key=lambda case: tuple(case["load"].items())):
        answered = [found["answered"] for found in case["variants"].values()]
        failed = sum(found["failed"] for found in case["variants"].values())
        parts.append(
            f"*{_load(case['load'])}*, {case['rounds']} rounds, every row once in each; a row answered {min(answered)} "
            f"to {max(answered)} requests in all, and {failed or 'none'} failed. *Per s*: requests a second, median "
            "over rounds. *Ratio*: to the first row in the same round, median (quartiles). *p50, p95, p99*: "
            "milliseconds within which so many per cent of a row's requests were answered"
            + ("; of fewer than 100 requests p99 is the slowest." if min(answered) < 100 else ".")
        )
        parts += [table(case), *_factors(case)]
    return "\n\n".join(parts)


def _factors(case: Mapping[str, Any]) -> list[str]:
    """What the compiled call is worth and what the cut is worth on top of it; no sentence where a row is lacking."""
    told = []
    for precision in ("float32", "bfloat16"):
        rows = [case["variants"].get(f"{what}, {precision}") for what in (DENSE, WHOLE, CUT)]
        if None not in rows:
            dense, whole, cut = (np.array(row["per_second"]["values"]) for row in rows)
            told.append(f"{np.median(whole / dense):.1f} and {np.median(cut / whole):.1f} in {precision}")
    if not told:
        return []
    return [
        "Two things multiply here, the compiled call and the cut. As factors of requests a second in the same round "
        f"(medians), they are {', '.join(told)}."
    ]


def _load(load: Mapping[str, Any]) -> str:
    if "rate" in load:
        return f"{load['rate']:g} requests a second, at random moments"
    return "One client" if load["clients"] == 1 else f"{load['clients']} clients at once"


def batches() -> str:
    """What padding costs who computes it, from the record of sentences of mixed lengths."""
    sentences = []
    for path in sorted(RESULTS.glob("bench-lengths-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        case = record["cases"][0]
        what, engines = case["what"], {engine["key"]: engine for engine in case["engines"]}
        lengths, number = what["lengths"], what["batch"]
        padded, rate = number * max(lengths), lambda key, n=number, of=engines: _per_second(of[key], n)
        ours = [key for key in engines if key.startswith("blockprune") and key.endswith("f32")]
        best = max(ours, key=lambda key: rate(key))
        sentences.append(
            f"Recorded on {record['hardware']['cpu']} ({CLASSES[path.stem.removeprefix('bench-lengths-')]}), one "
            f"thread: {number} sentences with {sum(lengths)} tokens, {padded} with padding, as one batch of "
            f"{what['model']}. PyTorch's dense float32 answers {rate('torch'):.0f} a second as they come, and "
            f"{rate('torch-sorted'):.0f} if they are sorted by length and run eight at a time; this library at rate "
            f"{what['rate']:g} ({best.split()[1]}, float32) answers {rate(best):.0f} as they come "
            f"(`book/results/{path.name}`)."
        )
    return "\n\n".join(sentences)


def _per_second(engine: Engine, sentences: int) -> float:
    return 1e3 * sentences / float(engine["ms"]["median"])
