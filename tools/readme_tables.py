"""README tables from the records of `blockprune bench` (written by `tools.benchmarks`): nothing is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
STRUCTURE, TILED = "block_column:16", "tile:32x32"


def tables() -> str:
    """All of them, as Markdown."""
    rivals, peak = _record("bench-rivals"), _record("bench-kernels")
    model, training = _record("bench-model"), _record("bench-training")
    return "\n\n".join([_rivals(rivals), _whole(model, training), _shares(peak)])


def _record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _machine(record: dict[str, Any]) -> str:
    machine = record["hardware"]
    return f"{machine['cpu']} ({machine['isa']}), {record['provenance']['date'][:10]}"


def _cases(record: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [case for case in record["cases"] if all(case["what"][key] == value for key, value in wanted.items())]


def _engines(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["key"]: engine for engine in case["engines"]}


def _rivals(record: dict[str, Any]) -> str:
    """The same pruned matrix in every engine: milliseconds, and times as fast as dense."""
    plain, tiled = (_cases(record, structure=text, threads=1) for text in (STRUCTURE, TILED))
    shapes = ["{} x {}".format(*case["what"]["shape"]) for case in plain]
    tokens, rate = plain[0]["what"]["tokens"], plain[0]["what"]["rate"]
    head = (
        f"One matrix pruned at rate {rate:g}, {tokens} tokens, one thread, on {_machine(record)}: median ms, and times "
        "as fast as torch's dense float32 product. Rows marked * are for tiles of 32 x 32, which is what they can run."
    )
    lines = [head, "", f"| | {' | '.join(shapes)} |", "|---|" + "---|" * len(shapes)]
    for cases, mark, only in ((plain, "", None), (tiled, " *", ("torch-bsr", "torch-bsr-linear", "scipy-bsr"))):
        keys = list(dict.fromkeys(key for case in cases for key in _engines(case)))
        for key in keys:
            found = [_engines(case).get(key) for case in cases]
            if any(engine is None for engine in found) or (only and key not in only) or (not only and "bsr" in key):
                continue
            name = next(engine["name"] for engine in found if engine)
            bold = "**" if key == cases[0]["ours"] else ""
            cells = [f"{e['ms']['median']:.2f} ({e['ratio_to_baseline']['value']:.2f}x)" for e in found if e]
            lines.append(f"| {bold}{name}{bold}{mark} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _whole(record: dict[str, Any], training: dict[str, Any]) -> str:
    """A whole encoder, and a training step of it."""
    cases = {case["what"]["threads"]: case for case in record["cases"]}
    first = next(iter(cases.values()))
    what = first["what"]
    head = (
        f"A whole encoder of {what['model']}'s shapes (weights drawn at random), {what['structure']} at rate "
        f"{what['rate']:g}, batch {what['batch']} x {what['tokens']} tokens, on {_machine(record)}: median ms, and "
        "times as fast as PyTorch eager float32 (95 % interval)."
    )
    plural = {count: "thread" if count == 1 else "threads" for count in cases}
    lines = [head, "", "| | " + " | ".join(f"{n} {plural[n]}" for n in cases) + " |", "|---|" + "---|" * len(cases)]
    for key, engine in _engines(first).items():
        bold = "**" if key == first["ours"] else ""
        cells = [_cell(_engines(case)[key]) if key in _engines(case) else "" for case in cases.values()]
        lines.append(f"| {bold}{engine['name']}{bold} | {' | '.join(cells)} |")
    steps = {case["what"]["threads"]: _engines(case)[case["ours"]] for case in training["cases"]}
    what = training["cases"][0]["what"]
    said = ", ".join(f"{_ratio(engine)} times on {n} {plural.get(n, 'threads')}" for n, engine in steps.items())
    lines += [
        "",
        f"A step of masked retraining (batch {what['batch']} x {what['tokens']}) on the sparse support, against the "
        f"dense one with masks: {said} as fast, on {_machine(training)}.",
    ]
    return "\n".join(lines)


def _ratio(engine: dict[str, Any]) -> str:
    ratio = engine["ratio_to_baseline"]
    return f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _cell(engine: dict[str, Any]) -> str:
    return f"{engine['ms']['median']:,.0f} ms, {_ratio(engine)}"


def _shares(record: dict[str, Any]) -> str:
    """Useful operations as a share of the multiply-add peak measured in the same rounds."""
    densities = sorted({round(case["what"]["density"], 2) for case in record["cases"]})
    structures = list(dict.fromkeys(case["what"]["structure"] for case in record["cases"]))
    tokens = record["cases"][0]["what"]["tokens"]
    head = (
        f"Useful GFLOP/s as a share of the multiply-add peak measured in the same rounds, one thread, {tokens} tokens, "
        f"lowest to highest of three shapes, by density, on {_machine(record)}:"
    )
    lines = [head, "", "| | " + " | ".join(f"{d:g}" for d in densities) + " |", "|---|" + "---|" * len(densities)]
    for structure in structures:
        cells = []
        for density in densities:
            same = _cases(record, structure=structure)
            found = [case for case in same if round(case["what"]["density"], 2) == density]
            shares = [_engines(case)[case["ours"]]["share_of_peak"] for case in found]
            cells.append(f"{min(shares):.0%} to {max(shares):.0%}" if shares else "")
        lines.append(f"| {structure} | {' | '.join(cells)} |")
    return "\n".join(lines)
