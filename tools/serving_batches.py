"""Tables of sentences of mixed lengths for book/serve-it.md, from the records of `tools.benchmarks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockprune_lib import bench
from blockprune_lib.bench.case import Case
from tools import markdown
from tools.readme_short import CLASSES, Engine
from tools.serving_engines import STRUCTURE

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
#: Names of engines by their packages.
PROGRAMS = {"torch": "PyTorch", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "nncf": "NNCF",
            "transformers": "transformers", "blockprune-lib": "blockprune"}  # fmt: skip


def versions(record: Mapping[str, Any], *only: str) -> str:
    """The engines of a record, or `only` some, with their versions, and its date; what was not installed is left out.

    >>> versions({"provenance": {"date": "2026-01-02T03:04", "versions": {"torch": "2.0+cpu", "nncf": None}}})
    'PyTorch 2.0; 2026-01-02'
    """
    told, have = record["provenance"], record["provenance"]["versions"]
    engines = [
        f"{name} {have[key].partition('+')[0]}"
        for key, name in PROGRAMS.items()
        if have.get(key) and key in (only or PROGRAMS)
    ]
    return f"{', '.join(engines)}; {told['date'][:10]}"


def _read_out(path: Path) -> tuple[str, dict[str, str]]:
    """Of a record on one thread: whether other work disturbed it, and {cut, rival: ratio} beside dense engines."""
    read = next(case for case in bench.read(path).cases if case.what.threads == 1)
    return _disturbed(read), _beside_dense(read)


def batches() -> str:
    """Padding, engines and the cut in one batch of sentences of mixed lengths: a table for each record."""
    parts, notes, shares, columns = list[str](), list[str](), list[str](), ["as they come", "sorted", "rounding, %"]
    ratios, sizes = dict[str, dict[str, str]](), list[str]()
    for path in sorted(RESULTS.glob("bench-lengths-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        case = next(case for case in record["cases"] if case["what"]["threads"] == 1)
        disturbed, beside_dense = _read_out(path)
        what, engines = case["what"], {engine["key"]: engine for engine in case["engines"]}
        lengths, number = what["lengths"], what["batch"]
        padded, tokens = number * max(lengths), sum(lengths)
        dense = [engine for key, engine in engines.items() if not key.startswith("blockprune")]
        ours = [engine for key, engine in engines.items() if key.startswith(f"blockprune {STRUCTURE} ")]
        rows = dict[str, list[str]]()
        for engine in [engines["torch"], *_best(dense, number), *_best(ours, number)]:
            ahead = engines.get(f"{engine['key'].removesuffix('-sorted')}-sorted")
            plain = engines[engine["key"].removesuffix("-sorted")]
            name = plain["name"] if plain in dense else plain["name"].replace("blockprune ", "*cut*, ")
            rows[name] = [rate(plain, number), rate(ahead, number), _percent(engine["error"])]
        machine = f"{record['hardware']['cpu']} ({CLASSES[path.stem.removeprefix('bench-lengths-')]})"
        ratios[machine] = beside_dense
        shares.append(f"{padded / tokens:.1f}")
        sizes.append(f"{what['model']}, {number} sentences as one batch, one thread; cut at rate {what['rate']:g}")
        parts += [
            f"**{machine}**: {number} sentences with {tokens} tokens, {padded} with padding.",
            "\n".join(markdown.table(columns, rows, names="sentences a second", cells="---:")),
        ]
        notes.append(f"- {machine}: {versions(record)}. From the record `book/results/{path.name}`.{disturbed}")
    told = (
        f"{'; '.join(dict.fromkeys(sizes))}. How many times as fast the cut in bfloat16 is, with 95 % intervals; "
        "*level* where an interval holds 1. `tile:32x32` is a coarser cut, which leaves less choice of what to keep "
        "({doc}`Blocks <blocks>`)."
    )
    shown = [told, _compared(ratios)]
    return "\n\n".join([*shown, _part_of_it(shares), _notes(parts, notes)])


def _compared(ratios: Mapping[str, Mapping[str, str]]) -> str:
    """What the cut is worth beside dense engines: a column for each machine."""
    names = dict.fromkeys(name for found in ratios.values() for name in found)
    rows = {name: [found.get(name, "") for found in ratios.values()] for name in names}
    return "\n".join(markdown.table([*ratios], rows, names="times as fast", cells="---:"))


def _part_of_it(shares: list[str]) -> str:
    """How much of the lead of the cut the padding alone may be."""
    return (
        "A part of this is not the cut: the compiled encoder leaves out the padding, which alone could be worth up to "
        f"{' and '.join(shares)} times here. These records have no compiled model without a cut, to tell the rest "
        "apart; [the service below](serve-measured) has."
    )


def _notes(tables: list[str], of_records: list[str]) -> str:
    """All engines of each record, and how the tables are to be read, in a fold."""
    said = [
        "- Dense are PyTorch, and of each precision the fastest other engine. *sorted*: by length, eight at a "
        "time: less padding, but smaller calls. The ratios above are to the better of the two.",
        "- *rounding*: the largest difference from the same weights in float32, in % of the largest output. It is "
        "not a loss of accuracy: the weights are drawn at random, which changes no time.",
        *of_records,
        "```",
    ]
    return "\n\n".join(["```{admonition} Every engine\n:class: dropdown", *tables, "\n".join(said)])


def _disturbed(case: Case) -> str:
    """A warning where an interval is wide, as the page "The whole model" has it; else nothing."""
    apart = max(one.ratio_to_baseline.high / one.ratio_to_baseline.low for one in case.engines)
    if apart <= 1.2:
        return ""
    return (
        f" Other work disturbed this run: the widest interval of the record's ratios spans a factor of {apart:.1f}. "
        "Its order holds only where intervals do not overlap."
    )


def _beside_dense(case: Case) -> dict[str, str]:
    """Two cuts in bfloat16 beside the fastest dense engine in bfloat16 and in int8: ratios and their intervals."""
    found, rivals = dict[str, str](), case.fastest_rivals()
    for mine in (STRUCTURE, "tile:32x32"):
        for precision in ("bfloat16", "int8"):
            rival = rivals[precision]
            ratio = case.ratio(f"blockprune {mine} bf16", rival.key)
            level = ", level" if ratio.low <= 1 <= ratio.high else ""
            found[f"`{mine}` beside {rival.name.removesuffix(', sorted')}"] = f"{ratio}{level}"
    return found


def _best(engines: list[Engine], sentences: int) -> list[Engine]:
    """Of each precision the engine that answers most, sorted or not, in the order of precisions."""
    found: dict[str, Engine] = {}
    for engine in engines:
        other = found.get(engine["precision"])
        if other is None or per_second(engine, sentences) > per_second(other, sentences):
            found[engine["precision"]] = engine
    return list(found.values())


def _percent(error: float) -> str:
    """An error in %; what is below a hundredth, and not 0, as that.

    >>> _percent(4.5e-7), _percent(0.008), _percent(0.0)
    ('< 0.01', '0.8', '0')
    """
    return "< 0.01" if 0 < 100 * error < 0.01 else f"{100 * error:.2g}"


def rate(engine: Engine | None, sentences: int) -> str:
    """Sentences a second, to be shown; nothing where an engine was not run."""
    return "" if engine is None else f"{per_second(engine, sentences):.0f}"


def per_second(engine: Engine, sentences: int) -> float:
    """Sentences a second, by the median."""
    return 1e3 * sentences / float(engine["ms"]["median"])
