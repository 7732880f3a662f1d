"""The rate explorer: accuracy, time and bytes of recorded models at a rate, and of the rivals that need no blocks.

Everything it shows is a record: scores of `blockprune run`, times of the same models or of `blockprune bench`. What no
record holds is shown as not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

import traitlets

from .host import Explorer, source
from .pictures import bars
from .recorded import ROWS, fits, models_of, offers_of, rates_of, times_of, verdict_of


class RateExplorer(Explorer):
    """What recorded models score, take and weigh as the rate changes, beside dense models and models of fewer layers.

    `runs`: records of `blockprune run`, whose scores and times are shown. `benches`: records of `blockprune bench` for
    a whole encoder; their machines join the menu, and their times are those of another model's shapes. Settings:
    `task`, `machine` and `cut` by name, `rate` 1 or one at which blocks were recorded; what is left out is the first
    that the records hold beside the others, a rate the highest. Raises ValueError where `runs` holds nothing to show.
    """

    module = "rate_explorer"
    _esm = source("rate_explorer")

    task = traitlets.Unicode(help="model and task, by name").tag(sync=True)
    machine = traitlets.Unicode(help="one of the machines, by name").tag(sync=True)
    cut = traitlets.Unicode(help="structure and method, by name").tag(sync=True)
    rate = traitlets.Float(1.0, help="all groups ÷ kept groups").tag(sync=True)

    def __init__(
        self, runs: Iterable[Mapping[str, Any]], benches: Iterable[Mapping[str, Any]] = (), **settings: Any
    ) -> None:
        tasks, models, times = models_of(list(runs))
        if not tasks:
            raise ValueError("runs must hold records of blockprune run, a dense model's among them; got none")
        times += [time for bench in benches for time in times_of(bench)]
        # Where this very model was timed comes first.
        machines = list(dict.fromkeys(time["machine"] for time in sorted(times, key=lambda time: time["task"] == "")))
        # What was run at most rates, tasks and seeds comes first, and so is shown first.
        runs_of = Counter(model["cut"] for model in models for _ in model["scores"] if model["cut"])
        cuts = [name for name, _ in runs_of.most_common()]
        named = [{"name": name, "model": _shapes(times, name), "words": _short(times, name)} for name in machines]
        self._rates = rates_of(models)
        data = {"rates": self._rates, "rows": [list(row) for row in ROWS], "tasks": tasks, "machines": named,
                "cuts": cuts, "models": models, "times": times}  # fmt: skip
        self._names = {"task": [task["name"] for task in tasks], "machine": machines, "cut": cuts}
        super().__init__(data=data, **_completed(data, settings))

    @traitlets.validate("task", "machine", "cut")
    def _check_name(self, proposal: Any) -> str:
        name, known = proposal["trait"].name, self._names[proposal["trait"].name]
        if proposal["value"] not in known and known:
            raise traitlets.TraitError(f"{name} must be one of {', '.join(known)}; got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("rate")
    def _check_rate(self, proposal: Any) -> float:
        if proposal["value"] not in self._rates:
            known = ", ".join(f"{rate:g}" for rate in self._rates)
            raise traitlets.TraitError(f"rate must be one of {known}; got {proposal['value']!r}")
        return float(proposal["value"])

    def offers(self) -> dict[str, list[Any]]:
        """What the menus offer beside the present task, cut and rate: cuts, rates and machines that were recorded."""
        return offers_of(self.data, self.task, self.cut, self.rate)

    def figures(self) -> dict[str, Any]:
        """What the page shows: for each row its scores, one a seed, times as fast with ends, ms, and bytes.

        And the verdict: which rows stand against the fastest one of blocks. Where another model was timed there are
        neither scores nor bytes, which would be this one's, and no verdict.
        """
        rows = []
        for kind, precision, engine in ROWS:
            if kind == "layers":
                rows += [self._row(kind, precision, engine, layers) for layers in self._about()["fewer"]]
            elif kind == "dense" or self.rate > 1:
                rows.append(self._row(kind, precision, engine, 0))
        other = next(one["model"] for one in self.data["machines"] if one["name"] == self.machine)
        if other:
            return {"rows": [row | {"scores": [], "bytes": None} for row in rows], "verdict": None}
        return {"rows": rows, "verdict": verdict_of(rows)}

    def _about(self) -> dict[str, Any]:
        return next(task for task in self.data["tasks"] if task["name"] == self.task)

    def _title(self) -> str:
        return f"{self._about()['words']} at rate {self.rate:g}"

    def _row(self, kind: str, precision: str, engine: str, layers: int) -> dict[str, Any]:
        blocks = {"rate": self.rate, "cut": self.cut} if kind == "blocks" else {"rate": 1.0, "cut": ""}
        wanted = {"kind": kind, "layers": layers} | blocks
        models = [m for m in self.data["models"] if m["task"] == self.task and fits(m, wanted)]
        times = [t for t in self.data["times"] if t["machine"] == self.machine and t["task"] in ("", self.task)]
        times = [t for t in times if fits(t, wanted) and (t["precision"] == precision or precision == "any")]
        if precision == "any":  # a score goes with every time
            times = [t for t in times if any(m["precision"] == t["precision"] for m in models)]
        times = [t for t in times if t["baseline"] == (engine == "baseline")]
        fast = max(times, key=lambda time: time["times"], default=None)
        of = fast["precision"] if fast else ("float32" if precision == "any" else precision)
        model = next((m for m in models if m["precision"] == of), None)
        keys = ("times", "low", "high", "ms", "engine")
        scores = model["scores"] if model else []
        return {"kind": kind, "layers": layers, "precision": of, "scores": scores,
                "bytes": model["bytes"] if model else None,
                **{key: fast[key] if fast else None for key in keys}}  # fmt: skip

    def describe(self) -> str:
        """What the explorer shows, in a sentence."""
        told = []
        for row in self.figures()["rows"]:
            score = f"{sum(row['scores']) / len(row['scores']):.3f}" if row["scores"] else "not measured"
            speed = f"{row['times']:.2f} times" if row["times"] else "not measured"
            told.append(f"{_words(row)} {score}, {speed}")
        return f"Rate explorer: {self._title()}, score and times as fast: {'; '.join(told)}."

    def picture(self) -> bytes | None:
        """A PNG of scores, times and bytes at the present settings."""
        rows = self.figures()["rows"]
        columns = {
            "score": [median(row["scores"]) if row["scores"] else None for row in rows],
            "times as fast as dense": [row["times"] for row in rows],
            "MB": [row["bytes"] / 1e6 if row["bytes"] else None for row in rows],
        }
        return bars(
            [_words(row) for row in rows], columns, f"{self._about()['words']} at rate {self.rate:g}; {self.machine}"
        )


def _completed(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what was left out: of the task with most runs of blocks, what is recorded there."""
    runs_of = Counter(model["task"] for model in data["models"] for _ in model["scores"] if model["kind"] == "blocks")
    names = [task["name"] for task in data["tasks"]]
    task = settings.get("task") or max(names, key=lambda name: runs_of[name])
    cuts = offers_of(data, task, "", 1.0)["cuts"] or data["cuts"]
    having = [cut for cut in cuts if settings.get("rate", 1.0) in offers_of(data, task, cut, 1.0)["rates"]]
    cut = settings.get("cut") or next(iter(having or cuts), "")
    rate = settings.get("rate", offers_of(data, task, cut, 1.0)["rates"][-1])
    machines = offers_of(data, task, cut, rate)["machines"] or [one["name"] for one in data["machines"]]
    machine = next(iter(machines), "")
    return {"task": task, "cut": cut, "rate": rate, "machine": machine} | dict(settings)


def _shapes(times: Iterable[Mapping[str, Any]], machine: str) -> str:
    """The model whose shapes were timed on a machine; empty where it is the task's own."""
    return next((str(time["model"]) for time in times if time["machine"] == machine and not time["task"]), "")


def _short(times: Iterable[Mapping[str, Any]], machine: str) -> str:
    """A machine's name as short as a phone's menu is wide; the whole name where another machine has the same."""
    words = {str(time["machine"]): str(time["words"]) for time in times}
    return machine if list(words.values()).count(words[machine]) > 1 else words[machine]


def _words(row: Mapping[str, Any]) -> str:
    """A row's name. Dense float32 has two rows, told apart by their engines."""
    kept = f"{row['layers']} layers" if row["kind"] == "layers" else row["kind"]
    twice = row["kind"] == "dense" and row["precision"] == "float32" and row["engine"]
    return f"{kept}, {row['precision']}" + (f" ({row['engine']})" if twice else "")
