"""A benchmark's record: every sample with its provenance, as one JSON file that is written whole or not at all.

`SCHEMA` is the format's description and what a file is checked against. What can be computed from the samples (medians,
ratios, rates) is written for readers in other languages and computed anew when a record is read. Left out: how a record
is printed (`tables`) and drawn (`pictures`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._common.files import write_json
from .._common.provenance import provenance
from .._common.schema import check_schema
from ..machine.comparison import Comparison, Timing
from .measuring import Case, Measured, Skipped

FORMAT = "blockprune bench, version 1"

_SPREAD = {
    "median": "number",
    "q1": "number: a quarter of the samples is lower",
    "q3": "number: a quarter of the samples is higher",
    "samples": "[number]: one a round, in the order of the rounds",
}
_RATIO = {"value": "number", "low": "number: the 95 % interval's lower end", "high": "number: its upper end"}
#: What a record holds: a key's type, then what it means. `[...]` is a list; `or null` may be missing knowledge.
SCHEMA: Mapping[str, Any] = {
    "format": f"text: {FORMAT!r}",
    "kind": "text: 'matrix', 'model' or 'training'",
    "settings": "object: every setting of the run, by the names that the Python functions take; of a folder its name",
    "provenance": "object: date (UTC), commit (or null), changed (uncommitted edits, or null), versions, environment",
    "hardware": "object: what blockprune info --json prints",
    "cases": [
        {
            "what": {
                "structure": "text: as --structure takes it",
                "rate": "number: all groups ÷ kept groups that was asked for",
                "kept": "int: weights kept, of the pruned matrices",
                "density": "number: kept weights ÷ all weights of the pruned matrices",
                "tokens": "int: a sequence, or the rows of X",
                "threads": "int: that were asked of every engine",
                # and "shape": [outputs, inputs] of a matrix, or "model": text and "batch": int
            },
            "operations": "number: useful floating-point operations of one call, the same for every engine",
            "baseline": "text: key of the engine that ratio_to_baseline divides by",
            "ours": "text: key of this library's engine",
            "rounds": "int: samples of each engine",
            "warmup": "int: untimed calls before them",
            "seed": "int: of the order of turns and of the intervals",
            "threads_in_force": "object: threads that torch and Numba were set to",
            "peak_gflops": _SPREAD,
            "engines": [
                {
                    "key": "text",
                    "name": "text",
                    "precision": "text: of its arithmetic",
                    "threads": "int",
                    "error": "number: largest difference from the reference ÷ largest number of the reference",
                    "tolerance": "number: the error that was allowed",
                    "inner": "int: calls in a row that a sample is the mean of",
                    "ms": _SPREAD,
                    "ratio_to_baseline": _RATIO | {"value": "number: times as fast as the baseline"},
                    "ours_ratio_to_it": _RATIO | {"value": "number: times as fast as this engine ours is"},
                    "useful_gflops": "number: operations ÷ median",
                    "share_of_peak": "number: useful_gflops ÷ median of peak_gflops",
                }
            ],
            "skipped": [
                {"engine": "text: its key", "why": "text", "install": "text: the pip line that would help, or empty"}
            ],
            "memory": "object or null: bytes of the dense and of the sparse model, where asked for",
        }
    ],
}


@dataclass(frozen=True, repr=False)
class Record:
    """What a benchmark measured and how; prints as tables. `bench_matrices` and `bench_model` return one."""

    kind: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    hardware: Mapping[str, Any]
    cases: tuple[Case, ...]

    @classmethod
    def made(cls, kind: str, settings: Mapping[str, Any], cases: Sequence[Case]) -> Record:
        """A record of cases that were measured now, on this machine."""
        from ..machine.passport import hardware

        return cls(kind, settings, provenance(), hardware().to_dict(), tuple(cases))

    def to_dict(self) -> dict[str, Any]:
        """The record as `SCHEMA` describes it."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "settings": dict(self.settings),
            "provenance": dict(self.provenance),
            "hardware": dict(self.hardware),
            "cases": [_case_to_dict(case) for case in self.cases],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON; the file appears whole or not at all. Raises ValueError where the folder is not."""
        write_json(path, self.to_dict())

    def __repr__(self) -> str:
        from .tables import text

        return text(self)

    def _repr_html_(self) -> str:
        from .tables import html

        return html(self)


def read(path: str | os.PathLike[str]) -> Record:
    """The record in a file that `save` wrote; raises ValueError saying what is missing or of another type."""
    source = Path(path)
    try:
        plain = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{str(source)!r}: there is no such file; blockprune bench --json FILE writes one") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(source)!r} cannot be read: {error}") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if found != FORMAT:
        raise ValueError(f"{str(source)!r}: format must be {FORMAT!r}; got {found!r}")
    try:
        check_schema(plain, SCHEMA)
        if not plain["cases"]:
            raise ValueError("cases is empty")
        cases = tuple(_case_from_dict(case) for case in plain["cases"])
    except ValueError as error:
        raise ValueError(f"{str(source)!r} is no whole record: {error}") from None
    return Record(plain["kind"], plain["settings"], plain["provenance"], plain["hardware"], cases)


def _case_to_dict(case: Case) -> dict[str, Any]:
    compared = case.comparison
    engines = []
    for key, measured in case.engines.items():
        timing = compared.timings[key]
        derived = {
            "inner": timing.inner,
            "ms": _spread(timing.samples_ms),
            "ratio_to_baseline": vars(case.over(key)),
            "ours_ratio_to_it": vars(case.ours_over(key)),
            "useful_gflops": case.gflops(key),
            "share_of_peak": case.share(key),
        }
        engines.append(dataclasses.asdict(measured) | derived)
    return {
        "what": dict(case.what),
        "operations": case.operations,
        "baseline": case.baseline,
        "ours": case.ours,
        "rounds": compared.rounds,
        "warmup": compared.warmup,
        "seed": compared.seed,
        "threads_in_force": dict(compared.threads),
        "peak_gflops": _spread(case.peak),
        "engines": engines,
        "skipped": [dataclasses.asdict(skipped) for skipped in case.skipped],
        "memory": None if case.memory is None else dict(case.memory),
    }


def _case_from_dict(plain: dict[str, Any]) -> Case:
    fields = [field.name for field in dataclasses.fields(Measured)]
    engines = {entry["key"]: Measured(**{name: entry[name] for name in fields}) for entry in plain["engines"]}
    for role in ("baseline", "ours"):
        if plain[role] not in engines:
            raise ValueError(f"{role} {plain[role]!r} is not among the engines {', '.join(engines)}")
    peak = tuple(plain["peak_gflops"]["samples"])
    timings = {e["key"]: Timing(e["key"], tuple(e["ms"]["samples"]), e["inner"]) for e in plain["engines"]}
    if len({len(timing.samples_ms) for timing in timings.values()}) != 1:
        raise ValueError("the engines differ in how many samples they have")
    if not min(min(timing.samples_ms) for timing in timings.values()) > 0 or not min(peak) > 0:
        raise ValueError("every sample must be positive")
    if not {"shape", "model"} & set(plain["what"]):
        raise ValueError("what must have a shape or a model")
    compared = Comparison(timings, plain["baseline"], plain["threads_in_force"], plain["warmup"], plain["seed"])
    skipped = tuple(Skipped(entry["engine"], entry["why"], entry["install"]) for entry in plain["skipped"])
    roles = (plain["baseline"], plain["ours"])
    return Case(plain["what"], plain["operations"], *roles, engines, compared, peak, skipped, plain["memory"])


def _spread(samples: Sequence[float]) -> dict[str, Any]:
    timing = Timing("", tuple(samples), 1)
    return {"median": timing.median, "q1": timing.q1, "q3": timing.q3, "samples": list(samples)}
