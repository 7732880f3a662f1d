"""README's first table: how many times as fast as PyTorch, in one row each, from the record of every class of machine.

What other engines reach is the best of them in each precision, sorted by length or not, whichever is faster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tools.markdown import table

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
#: As tools.benchmarks names them -> as a reader does.
CLASSES = {
    "sse2": "SSE2", "avx2": "AVX2", "avx512": "AVX-512", "avx512bf16": "AVX-512 with bfloat16", "amx": "AMX",
    "neon": "NEON",
}  # fmt: skip
#: Ours: the finest group and the fastest.
STRUCTURES = {"block_column:4": "groups of 4 outputs x 1 input", "tile:32x32": "tiles of 32 x 32"}
PRECISIONS = ("float32", "bfloat16", "int8")
Engine = dict[str, Any]


def speeds() -> str:
    """The table as Markdown, with what it was measured on; real sentences first."""
    columns = [
        (f"{title}, {CLASSES[path.stem.removeprefix(f'{name}-')]}", path)
        for name, title in (("bench-lengths", "32 sentences of SST-2"), ("bench-model", "128 tokens"))
        for path in sorted(RESULTS.glob(f"{name}-*.json"), reverse=True)
    ]
    records = [json.loads(path.read_text(encoding="utf-8")) for _, path in columns]
    cases = [next(case for case in record["cases"] if case["what"]["threads"] == 1) for record in records]
    cells = {name: [choose(case["engines"]) for case in cases] for name, choose in rows().items()}
    lines = table([title for title, _ in columns], {name: told for name, told in cells.items() if any(told)})
    what = cases[0]["what"]
    machines = sorted({record["hardware"]["cpu"] for record in records})
    dates = sorted({record["provenance"]["date"][:10] for record in records})
    files = ", ".join(f"`{path.name}`" for _, path in columns)
    foot = (
        f"{what['model']}'s shapes, rate {what['rate']:g} (one group in five stays), one thread; times as fast as "
        f"PyTorch eager in float32 on the same machine, 95 % interval in brackets. {' and '.join(machines)}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; AVX2 is the same processor held to those instructions. "
        f"Records under `book/results/`: {files}."
    )
    return "\n".join([*lines, "", foot])


def rows() -> Mapping[str, Callable[[list[Engine]], str]]:
    """{what a row is called: its cell, of the engines of a case}."""
    found: dict[str, Callable[[list[Engine]], str]] = {"PyTorch, dense, float32": _time}
    for precision in PRECISIONS:
        found[f"the best dense engine, {precision}"] = partial(_best, precision)
    for structure, words in STRUCTURES.items():
        for short, precision in (("f32", "float32"), ("bf16", "bfloat16")):
            found[f"**{words}, {precision}**"] = partial(_ours, f"blockprune {structure} {short}")
    return found


def _time(engines: list[Engine]) -> str:
    first = engines[0]
    return f"1 ({first['ms']['median']:,.0f} ms)" if first["key"] == "torch" else ""


def _best(precision: str, engines: list[Engine]) -> str:
    known = [e for e in engines if not e["key"].startswith("blockprune") and precision_of(e["key"]) == precision]
    rivals = [engine for engine in known if engine["key"] != "torch"]
    if not rivals:
        return ""
    best = max(rivals, key=lambda engine: engine["ratio_to_baseline"]["value"])
    return f"{_ratio(best)}, {_name(best)}"


def precision_of(key: str) -> str:
    """The precision of a dense engine, by its key in a record.

    >>> precision_of("onnxruntime-int8-sorted"), precision_of("torch-max-bf16"), precision_of("openvino")
    ('int8', 'bfloat16', 'float32')
    """
    return "int8" if "int8" in key else "bfloat16" if "bf16" in key else "float32"


def _ours(key: str, engines: list[Engine]) -> str:
    found = next((engine for engine in engines if engine["key"] == key), None)
    return f"**{_ratio(found)}**" if found else ""


def _ratio(engine: Engine) -> str:
    ratio = engine["ratio_to_baseline"]
    return f"{ratio['value']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})"


def _name(engine: Engine) -> str:
    words = engine["name"]
    for word in (" dense", " f32", " bf16", " dynamic", " int8", " by NNCF"):
        words = words.replace(word, "")
    return str(words)
