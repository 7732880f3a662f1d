"""README tables from the records of `blockprune bench` (written by `tools.benchmarks`): nothing is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.markdown import table

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
STRUCTURE, TILED = "block_column:16", "tile:32x32"


def tables() -> str:
    """All of them, as Markdown."""
    shown = {
        "bench-model": _whole, "bench-lengths": _lengths, "bench-batches": _batches, "bench-memory": _memory,
        "bench-rivals": _rivals, "bench-training": _training, "bench-products": _products, "bench-kernels": _shares,
    }  # fmt: skip
    return "\n\n".join(show(record) for name, show in shown.items() for record in _of_machines(name))


def _of_machines(name: str) -> list[dict[str, Any]]:
    """A record of every class of machine that has one."""
    return [_record(path.stem) for path in sorted(RESULTS.glob(f"{name}-*.json"))]


def _record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _machine(record: dict[str, Any]) -> str:
    machine = record["hardware"]
    if held := record["provenance"]["environment"].get("NUMBA_CPU_NAME"):
        machine = machine | {"isa": f"held to the instructions of {held}: AVX2"}
    return f"{machine['cpu']} ({machine['isa']}), {record['provenance']['date'][:10]}"


def _obeyed_in_part(record: dict[str, Any]) -> str:
    """Which engine did not do as a record held to older instructions asked."""
    if "NUMBA_CPU_NAME" not in record["provenance"]["environment"]:
        return ""
    return (
        " OpenVINO obeys the switch only in part: most of its float32 products come from a library that does not read "
        "it, so its float32 is faster here than on a processor with no more than AVX2."
    )


def _cases(record: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [case for case in record["cases"] if all(case["what"][key] == value for key, value in wanted.items())]


def _engines(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["key"]: engine for engine in case["engines"]}


def _bold(name: str, ours: bool) -> str:
    """What an engine's row is called: ours in bold."""
    return f"**{name}**" if ours else name


def _under(head: str, lines: list[str]) -> str:
    """A table under the sentence that says what it is."""
    return "\n".join([head, "", *lines])


def _rivals(record: dict[str, Any]) -> str:
    """The same pruned matrix in every engine: milliseconds, and times as fast as dense."""
    plain, tiled = (_cases(record, structure=text, threads=1) for text in (STRUCTURE, TILED))
    shapes = ["{} x {}".format(*case["what"]["shape"]) for case in plain]
    tokens, rate = plain[0]["what"]["tokens"], plain[0]["what"]["rate"]
    head = (
        f"One matrix pruned at rate {rate:g}, {tokens} tokens, one thread, on {_machine(record)}: median ms, and times "
        "as fast as torch's dense float32 product. Rows marked * are for tiles of 32 x 32, which is what they can run."
    )
    rows = dict[str, list[str]]()
    for cases, mark, only in ((plain, "", None), (tiled, " *", ("torch-bsr", "torch-bsr-linear", "scipy-bsr"))):
        keys = list(dict.fromkeys(key for case in cases for key in _engines(case)))
        for key in keys:
            found = [_engines(case).get(key) for case in cases]
            if any(engine is None for engine in found) or (only and key not in only) or (not only and "bsr" in key):
                continue
            name = next(_bold(engine["name"], key == cases[0]["ours"]) for engine in found if engine)
            cells = [f"{e['ms']['median']:.2f} ({e['ratio_to_baseline']['value']:.2f}x)" for e in found if e]
            rows[name + mark] = cells
    return _under(head, table(shapes, rows))


def _whole(record: dict[str, Any]) -> str:
    """A whole encoder: every engine, by threads."""
    first = record["cases"][0]
    what = first["what"]
    head = (
        f"A whole encoder of {what['model']}'s shapes (weights drawn at random), {_structures(first)}at rate "
        f"{what['rate']:g}, batch {what['batch']} x {what['tokens']} tokens, on {_machine(record)}: median ms, times "
        "as fast as PyTorch eager float32 (95 % interval), and the largest error, relative to the largest number."
        f"{_obeyed_in_part(record)}"
    )
    return _under(head, _by_threads(record, lambda engine: f"{engine['ms']['median']:,.0f} ms"))


def _lengths(record: dict[str, Any]) -> str:
    """A batch of mixed lengths: sequences a second, by threads."""
    what = record["cases"][0]["what"]
    batch, lengths = what["batch"], what["lengths"]
    head = (
        f"{batch} sentences of {what['text']}, {min(lengths)} to {max(lengths)} tokens long ({sum(lengths)} in all), "
        f"as one batch of {what['model']} on {_machine(record)}: sentences a second. Dense engines compute the "
        "padding; *sorted* ones run the sentences by length, eight at a time."
    )
    rate = lambda engine: f"{1e3 * batch / engine['ms']['median']:,.0f}"  # noqa: E731
    return _under(head, _by_threads(record, rate))


def _batches(record: dict[str, Any]) -> str:
    """Batches of equal length: sequences a second, by the batch."""
    what = record["cases"][0]["what"]
    head = (
        f"A whole encoder of {what['model']}'s shapes at rate {what['rate']:g}, sequences of {what['tokens']} tokens "
        f"in batches, {what['threads']} threads, on {_machine(record)}: sequences a second, and times as fast as "
        "PyTorch eager float32."
    )
    cases = {case["what"]["batch"]: case for case in record["cases"]}
    rows = {}
    for key, engine in _engines(record["cases"][0]).items():
        found = {n: _engines(case).get(key) for n, case in cases.items()}
        rows[_bold(engine["name"], key.startswith("blockprune"))] = [
            f"{1e3 * n / e['ms']['median']:,.0f}, {e['ratio_to_baseline']['value']:.2f}" for n, e in found.items() if e
        ]
    return _under(head, table([f"batch of {n}" for n in cases], rows))


def _memory(record: dict[str, Any]) -> str:
    """Bytes of a whole encoder while it runs."""
    case = record["cases"][0]
    what = case["what"]
    head = (
        f"Memory of an encoder of {what['model']}'s shapes, embeddings included, at rate {what['rate']:g}, batch "
        f"{what['batch']} x {what['tokens']} tokens, on {_machine(record)}, in MB: parameters and buffers, the most "
        "while it runs, and how many dense matrices of a pruned weight's shape are alive. In bfloat16 the compiled "
        "call has values of its own beside the packed float32 ones, which training reads."
    )
    rows = {}
    for name, found in case["memory"].items():
        megabytes = [f"{found[key] / 1e6:,.0f}" for key in ("bytes_tensors", "bytes_peak")]
        rows[_bold(name, name.startswith("blockprune"))] = [*megabytes, str(found["dense_copies"])]
    return _under(head, table(["parameters and buffers", "at most while it runs", "dense copies"], rows))


def _by_threads(record: dict[str, Any], value: Callable[[dict[str, Any]], str]) -> list[str]:
    """A table of engines, a column for each number of threads."""
    cases = {case["what"]["threads"]: case for case in record["cases"]}
    first = next(iter(cases.values()))
    columns = [f"{n} {'thread' if n == 1 else 'threads'}" for n in cases]
    rows = {}
    for key, engine in _engines(first).items():
        found = [_engines(case).get(key) for case in cases.values()]
        error = max(each["error"] for each in found if each)
        rows[_bold(engine["name"], key.startswith("blockprune"))] = [
            *(f"{value(each)}, {_ratio(each)}" if each else "" for each in found),
            f"{error:.1%}" if error >= 1e-4 else f"{error:.0e}",
        ]
    return table([*columns, "error"], rows)


def _structures(case: dict[str, Any]) -> str:
    """The structure, where there is only one."""
    text = case["what"]["structure"]
    return "" if "," in text else f"{text} "


def _training(record: dict[str, Any]) -> str:
    """A training step of a whole encoder."""
    steps = {case["what"]["threads"]: _engines(case)[case["ours"]] for case in record["cases"]}
    what = record["cases"][0]["what"]
    said = ", ".join(
        f"{_ratio(engine)} times on {n} {'thread' if n == 1 else 'threads'}" for n, engine in steps.items()
    )
    return (
        f"A step of masked retraining (batch {what['batch']} x {what['tokens']}) on the sparse support, against the "
        f"dense one with masks: {said} as fast, on {_machine(record)}."
    )


def _products(record: dict[str, Any]) -> str:
    """The encoder's products alone: share of the peak, hot and in turns, by shape."""
    shapes = list(dict.fromkeys("{} x {}".format(*case["what"]["shape"]) for case in record["cases"]))
    what = record["cases"][0]["what"]
    head = (
        "The products of the compiled encoder alone: useful GFLOP/s as a share of the multiply-add peak measured in "
        f"the same rounds, one thread, {what['tokens']} tokens, rate {what['rate']:g}, on {_machine(record)}; the same "
        "matrix again and again, and in turns with others that weigh 64 MB together:"
    )
    rows = {}
    for structure in dict.fromkeys(case["what"]["structure"] for case in record["cases"]):
        rows[structure] = list[str]()
        for case in _cases(record, structure=structure):
            shares = [f"{engine['share_of_peak']:.0%}" for engine in case["engines"]]
            pairs = [f"{hot}, {turns}" for hot, turns in zip(shares[::2], shares[1::2], strict=True)]
            rows[structure].append("; ".join(pairs))
    return _under(head, table(shapes, rows))


def _ratio(engine: dict[str, Any]) -> str:
    ratio = engine["ratio_to_baseline"]
    return f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _shares(record: dict[str, Any]) -> str:
    """Useful operations as a share of the multiply-add peak measured in the same rounds."""
    densities = sorted({round(case["what"]["density"], 2) for case in record["cases"]})
    structures = list(dict.fromkeys(case["what"]["structure"] for case in record["cases"]))
    tokens = record["cases"][0]["what"]["tokens"]
    head = (
        f"Useful GFLOP/s as a share of the multiply-add peak measured in the same rounds, one thread, {tokens} tokens, "
        f"lowest to highest of three shapes, by density, on {_machine(record)}:"
    )
    rows = {}
    for structure in structures:
        rows[structure] = list[str]()
        for density in densities:
            same = _cases(record, structure=structure)
            found = [case for case in same if round(case["what"]["density"], 2) == density]
            shares = [_engines(case)[case["ours"]]["share_of_peak"] for case in found]
            rows[structure].append(f"{min(shares):.0%} to {max(shares):.0%}" if shares else "")
    return _under(head, table([f"{d:g}" for d in densities], rows))
