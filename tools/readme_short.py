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
from tools.readme_accuracy import TASKS

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
    paths = [
        path
        for name in ("bench-lengths", "bench-model")
        for path in sorted(RESULTS.glob(f"{name}-*.json"), reverse=True)
    ]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    cases = [next(case for case in record["cases"] if case["what"]["threads"] == 1) for record in records]
    titles = [_title(path, case["what"]) for path, case in zip(paths, cases, strict=True)]
    cells = {name: [choose(case["engines"]) for case in cases] for name, choose in rows().items()}
    lines = table(titles, {name: told for name, told in cells.items() if any(told)})
    what = cases[0]["what"]
    machines = sorted({record["hardware"]["cpu"] for record in records})
    dates = sorted({record["provenance"]["date"][:10] for record in records})
    files = ", ".join(f"`{path.name}`" for path in paths)
    held = [CLASSES[_class(path)] for path, record in zip(paths, records, strict=True) if _held(record)]
    foot = (
        f"{what['model']}'s shapes, rate {what['rate']:g} (one group in {what['rate']:g} stays), one thread; times as "
        f"fast as PyTorch eager in float32 on the same machine, 95 % interval in brackets. {' and '.join(machines)}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}"
        + "".join(
            f"; {name} is the same processor held to those instructions (OpenVINO's float32 obeys only in part, and "
            f"would be slower on a processor that has no newer ones)"
            for name in held
        )
        + ". The weights were drawn at random, so these rows have no accuracy: every accuracy below is MiniLM's"
        + f". Records under `book/results/`: {files}."
    )
    return "\n".join([*lines, "", foot])


def _class(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _held(record: Mapping[str, Any]) -> bool:
    """Whether a record was made by a processor that could do more."""
    return "NUMBA_CPU_NAME" in record["provenance"].get("environment", {})


def _title(path: Path, what: Mapping[str, Any]) -> str:
    """What a record ran, and on which class of machine."""
    text = f"{what['batch']} sentences of {TASKS[what['text']]}" if what.get("text") else f"{what['tokens']} tokens"
    return f"{text}, {CLASSES[_class(path)]}"


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
