"""What the rate explorer takes from records: models with scores and bytes, and times by machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from ..data.glue import title_of
from ..experiments.alike import measure_of, method_of
from ..experiments.latency import BASELINE
from ..experiments.pooled import SEEN

#: Kind, precision and engine of the rows, from top to bottom. "baseline": what all times are compared with; "fastest":
#: any other. "any" precision: the fastest that was scored, for each number of layers.
ROWS = (
    ("dense", "float32", "baseline"), ("dense", "float32", "fastest"), ("dense", "bfloat16", "fastest"),
    ("dense", "int8", "fastest"), ("layers", "any", "fastest"), ("blocks", "float32", "fastest"),
    ("blocks", "bfloat16", "fastest"),
)  # fmt: skip
#: Engines of the study: whose they are.
_ENGINES = {BASELINE: "PyTorch", "float32": "PyTorch", "bfloat16": "PyTorch", "int8": "PyTorch, dynamic",
            "compiled": "one compiled call", "compiled bfloat16": "one compiled call"}  # fmt: skip
#: Processors whose instructions a record may have been held to, by what those are called.
_HELD = {"haswell": "AVX2"}
#: Models by short names, as the chapters have them.
_MODELS = {"minilm": "MiniLM", "bert-base": "BERT-base", "sentence-transformers/all-mpnet-base-v2": "MPNet"}
Entry = dict[str, Any]


def models_of(records: Sequence[Mapping[str, Any]]) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """(tasks, models, times) of the records of runs: one entry for each setting, its seeds together."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        run, options = record["run"], record["run"]["options"]
        blocks, layers = bool(record["densities"]), options.get("layers") or 0
        method = method_of(run)
        # Blocks on top of kept layers, other baselines, and settings with a name of their own are for the chapters.
        other = options.get("variant") or options.get("held_out")
        if other or (blocks and layers) or (not blocks and run["method"] != "dense"):
            continue
        kind = "blocks" if blocks else "layers" if layers else "dense"
        cut = f"{run['structure']}, {method}" if blocks else ""
        key = (record["model"]["name"], run["task"], kind, layers, run["rate"] if blocks else 1.0, cut)
        groups.setdefault(key, []).append(record)
    tasks, models, times = _tasks(groups), [], []
    known = {task["name"] for task in tasks}
    for (model, task, kind, layers, rate, cut), group in groups.items():
        entry = {"task": f"{model}, {task}", "kind": kind, "layers": layers, "rate": rate, "cut": cut}
        if entry["task"] in known:
            models += [entry | found for found in _scored(group)]
            times += [entry | found for found in _timed(group, kind)]
    return tasks, models, times


def fits(entry: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a model or a time is the one wanted; of a bench only the structure is known, not the method."""
    cut = wanted["cut"] if entry.get("task") else wanted["cut"].partition(", ")[0]
    return all(entry[key] == wanted[key] for key in ("kind", "layers", "rate")) and entry["cut"] == cut


def offers_of(data: Mapping[str, Any], task: str, cut: str, rate: float) -> dict[str, list[Any]]:
    """What is recorded of a task: its cuts, the rates of a cut, and the machines on which cut and rate were timed.

    At rate 1, or where no machine timed the blocks, the machines that timed the task at all.
    """
    models = [model for model in data["models"] if model["task"] == task and model["kind"] == "blocks"]
    timed = [time for time in data["times"] if time["task"] in ("", task)]
    wanted = {"kind": "blocks", "layers": 0, "rate": rate, "cut": cut}
    there = {time["machine"] for time in timed if fits(time, wanted)} or {time["machine"] for time in timed}
    return {
        "cuts": [name for name in data["cuts"] if any(model["cut"] == name for model in models)],
        "rates": [1.0, *sorted({float(model["rate"]) for model in models if model["cut"] == cut} - {1.0})],
        "machines": [one["name"] for one in data["machines"] if one["name"] in there],
    }


def rates_of(models: Sequence[Entry]) -> list[float]:
    """Positions of the slider: 1, where nothing is cut, and every rate at which blocks were recorded."""
    return [1.0, *sorted({float(model["rate"]) for model in models if model["kind"] == "blocks"} - {1.0})]


def verdict_of(rows: Sequence[Entry]) -> dict[str, int | None] | None:
    """Positions of the fastest row of blocks, and of what stands against it; None where no such row was measured.

    `as_good`: the fastest of the others that score no less; `as_fast`: the best of those that are no slower; `both`:
    the fastest of those that are both. Scores are means over seeds. Slower is what lies below the blocks with its whole
    interval: a lead that both intervals cover is none.
    """
    score = {at: sum(row["scores"]) / len(row["scores"]) for at, row in enumerate(rows) if row["scores"]}
    times = {at: row["times"] for at, row in enumerate(rows) if row["times"] is not None and at in score}
    blocks = max((at for at in times if rows[at]["kind"] == "blocks"), key=times.__getitem__, default=None)
    if blocks is None:
        return None
    others = [at for at in times if rows[at]["kind"] != "blocks"]
    good = [at for at in others if score[at] >= score[blocks]]
    fast = [at for at in others if rows[at]["high"] >= rows[blocks]["low"]]
    return {
        "blocks": blocks, "as_good": max(good, key=times.__getitem__, default=None),
        "as_fast": max(fast, key=score.__getitem__, default=None),
        "both": max((at for at in good if at in fast), key=times.__getitem__, default=None),
    }  # fmt: skip


def _tasks(groups: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]]) -> list[Entry]:
    """The tasks of which there is a dense model, to compare with."""
    found = []
    for (model, task, kind, *_), group in groups.items():
        if kind == "dense":
            first, size = group[0], group[0]["compression"]
            # An encoder's layer has six matrices.
            layers = (size["sparse_layers"] + size["dense_layers"]) // 6
            found.append({
                "name": f"{model}, {task}", "words": f"{title_of(task)}, {_called(model)}",
                "model": _called(model), "metric": measure_of(first), "examples": first["examples"],
                "majority": first["majority"][first["metric"]], "layers": layers,
                "fewer": sorted({key[3] for key in groups if key[:3] == (model, task, "layers")}, reverse=True),
                "seen": task in SEEN,
            })  # fmt: skip
    return found


def _scored(group: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Scores, one a seed, and bytes, in each precision that was scored."""
    metric, found = group[0]["metric"], []
    for precision in ("float32", "bfloat16", "int8"):
        kept = [r["final"] if precision == "float32" else r["precisions"].get(precision) for r in group]
        scores = [score[metric] for score in kept if score is not None]
        if scores:
            weighs = median(_bytes(record["compression"], precision) for record in group)
            found.append({"precision": precision, "scores": scores, "bytes": weighs})
    return found


def _bytes(size: Mapping[str, Any], precision: str) -> float:
    """Bytes of the model, indices included, by one rule for dense models and blocks.

    What is left of the encoder's matrices counts in the precision, two bytes a weight in bfloat16 and one in int8; all
    else, above all the embeddings, in float32.
    """
    saved = {"float32": 0, "bfloat16": 2, "int8": 3}[precision]
    return float(size["bytes_total"]) - saved * float(size["pruned"][1])


def _timed(group: Sequence[Mapping[str, Any]], kind: str) -> list[Entry]:
    """Times in each engine: medians over the seeds, with the widest ends."""
    timed = [record["latency"] for record in group if record.get("latency")]
    found = []
    for name in dict.fromkeys(engine for latency in timed for engine in latency["engines"]):
        if name == BASELINE and kind != "dense":
            continue  # beside a smaller model the baseline is another
        times = [latency["engines"][name] for latency in timed if name in latency["engines"]]
        ratios, machine = [time["ratio"] for time in times], timed[0]
        precision = name.split()[-1] if name.split()[-1] in ("bfloat16", "int8") else "float32"
        found.append({
            "machine": f"{machine['cpu']}, {machine['isa']}: the task's sentences, {_threads(machine['threads'])}",
            "words": f"{machine['isa']}, {_threads(machine['threads'])}: task's sentences",
            "precision": precision, "engine": _ENGINES.get(name, name), "baseline": name == BASELINE,
            "times": median(r["value"] for r in ratios), "low": min(r["low"] for r in ratios),
            "high": max(r["high"] for r in ratios), "ms": median(time["median_ms"] for time in times),
        })  # fmt: skip
    return found


def times_of(bench: Mapping[str, Any]) -> list[Entry]:
    """Times of a whole encoder in `blockprune bench`, by machine and threads."""
    found, held = [], bench["provenance"].get("environment", {}).get("NUMBA_CPU_NAME")
    for case in bench["cases"]:
        what = case["what"]
        newest = bench["hardware"]["isa"] + (" and AMX" if bench["hardware"].get("tiles_core_gflops") else "")
        isa = f"held to {_HELD.get(held, held)}" if held else newest
        short = _HELD.get(held, held) if held else newest.rpartition(" and ")[2]  # a menu is narrow on a phone
        where = f"{bench['hardware']['cpu']}, {isa}: {what['model']}'s shapes, {what['tokens']} tokens"
        for engine in case["engines"]:
            blocks = engine["key"].startswith("blockprune")
            ratio = engine["ratio_to_baseline"]
            found.append({
                "machine": f"{where}, {_threads(what['threads'])}", "task": "", "model": what["model"],
                "words": f"{short}, {_threads(what['threads'])}: {what['model']} shapes",
                "kind": "blocks" if blocks else "dense", "layers": 0, "rate": what["rate"] if blocks else 1.0,
                "cut": (engine.get("structure") or what["structure"]) if blocks else "",
                "precision": engine["precision"], "engine": "one compiled call" if blocks else engine["name"],
                "baseline": engine["key"] == case["baseline"],
                "times": ratio["value"], "low": ratio["low"], "high": ratio["high"], "ms": engine["ms"]["median"],
            })  # fmt: skip
    return found


def _called(model: str) -> str:
    """A model's short name; of one from the Hub the part after its owner."""
    return _MODELS.get(model, model.rpartition("/")[2])


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
