"""Which runs are one setting, the seed apart, and which may be compared; what is not alike is refused, and said why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
Records = Iterable[Record]
#: What runs of one task and model must have in common: where it stands in a record, and what it is called.
_COMMON = ((("data", "fingerprint"), "rows"), (("model", "sha256"), "weights"))
#: Settings that decide no score: how often a run is kept, and whether its model is.
_DECIDES_NOTHING = ("checkpoint_every", "keep_model")


@dataclass(frozen=True, order=True)
class Setting:
    """What was run, whatever the seed; of a run that cut no group, `structure` is "" and `rate` 1.

    `model`: its name, or the last part of its folder's.
    """

    task: str
    model: str
    structure: str
    method: str
    rate: float

    @property
    def place(self) -> tuple[str, str]:
        """Task and model: what is compared lies in one place."""
        return self.task, self.model

    @property
    def what(self) -> str:
        """Structure and method: "block_column:4 gradual", or "dense, 2 layers"."""
        return f"{self.structure} {self.method}".strip()

    @property
    def told(self) -> str:
        """The same with the rate where groups were cut.

        >>> Setting("cola", "minilm", "block_column:4", "gradual", 5.0).told
        'block_column:4 gradual at 5'
        """
        return f"{self.what} at {self.rate:g}" if self.structure else self.what


def setting_of(record: Record) -> Setting:
    """The setting of a record."""
    run, cut = record["run"], bool(record.get("densities"))
    structure, rate = (run["structure"], run["rate"]) if cut else ("", 1.0)
    return Setting(run["task"], Path(record["model"]["name"]).name, structure, method_of(run), rate)


def method_of(run: Mapping[str, Any]) -> str:
    """The method's name, how many layers it began with where some were removed, and its variant where it has one."""
    layers, variant = run["options"].get("layers"), run["options"].get("variant")
    kept = f"{layers} layer{'s' * (layers != 1)}" if layers else ""
    return ", ".join(part for part in (run["method"], kept, variant) if part)


#: Names of scores as a reader knows them; others are words already.
_MEASURES = {"matthews": "Matthews correlation", "f1": "F1", "pearson": "Pearson", "spearman": "Spearman"}


def measure_of(record: Record) -> str:
    """The score to compare by, in words: GLUE's own for each task.

    >>> measure_of({"metric": "mean", "final": {"accuracy": 0.8, "f1": 0.9, "mean": 0.85}})
    'mean of accuracy and F1'
    """
    metric = str(record["metric"])
    if metric == "mean":
        return "mean of " + " and ".join(_MEASURES.get(name, name) for name in record["final"] if name != metric)
    return _MEASURES.get(metric, metric)


def steps_of(record: Record) -> int:
    """Training steps after the fine-tuning that all methods begin with: what methods must have alike."""
    return sum(stage["steps"] for stage in record["stages"][1:])


def digest_of(record: Record) -> str:
    """The preset and four digits: a checksum of all that decides a score but is no column of the table."""
    run, data = record["run"], record["data"]
    stages = {key: what_decides(stage) for key, stage in run["stages"].items()}
    decides = [stages, what_decides(run["options"]), data.get("fingerprint"), record["model"].get("sha256")]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return f"{run['options'].get('preset', 'own')} {digest[:4]}"


def by_setting(records: Records) -> dict[Setting, list[Record]]:
    """The records of each setting, by seed, in order of task, model, structure, method and rate.

    A record that is there twice counts once. Raises ValueError where two records are of one run and differ, where runs
    of one setting differ in more than the seed, and where runs of one task and model had other rows or other weights.
    """
    groups: dict[Setting, dict[int, Record]] = {}
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        setting = setting_of(record)
        known = first.setdefault(setting.place, record)
        refuse_unlike(known, record, [name for path, name in _COMMON if _at(known, path) != _at(record, path)])
        seeds = groups.setdefault(setting, {})
        add_seed(seeds, record)
        one = next(iter(seeds.values()))
        refuse_unlike(one, record, ["settings"] * (digest_of(one) != digest_of(record)))
    return {setting: [groups[setting][seed] for seed in sorted(groups[setting])] for setting in sorted(groups)}


def add_seed(seeds: dict[int, Record], record: Record) -> None:
    """Put a record under its seed; one that is there twice counts once, and two that differ raise ValueError."""
    if seeds.setdefault(record["run"]["seed"], record) != record:
        raise ValueError(f"two different records of {record['name']!r}; report their folders one by one")


def refuse_unlike(first: Record, second: Record, wrong: list[str]) -> None:
    """Raise ValueError where anything is `wrong` between two records."""
    if wrong:
        names = f"{first['name']!r} and {second['name']!r}"
        raise ValueError(f"{names} cannot be compared: their {', '.join(wrong)} differ")


def _at(record: Record, path: tuple[str, str]) -> Any:
    return record[path[0]].get(path[1])


def what_decides(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage, or of a run, that decide a score; how often it was saved is not among them."""
    return {key: value for key, value in settings.items() if key not in _DECIDES_NOTHING}
