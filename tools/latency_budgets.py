"""One rate for every matrix, or a choice for each, at the same measured latency: speed, and accuracy before and after.

    python -m tools.latency_budgets train --folder WORK     fine-tune the model once
    python -m tools.latency_budgets time --folder WORK      what each matrix costs, the choices, and how long they take
    python -m tools.latency_budgets score --folder WORK     score them, retrain each the same way, write the record

`time` measures: the machine must be quiet then. Every seed draws other calibration sentences, and shuffles retraining
in another way. Uniform models have the one rate at which they take as long as was asked, in each structure; their
groups are ranked by the same scores, so that what differs is where the weights are kept.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from blockprune_lib import TrainingSettings, apply_masks_, evaluate, fine_tune, models, retrain, sparsify, tasks
from blockprune_lib._common.files import read_json, write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib._common.tables import text_table
from blockprune_lib.machine.comparison import Timing
from blockprune_lib.machine.passport import hardware
from blockprune_lib.nn import Cut, LayerCosts, TooDenseWarning, layer_costs
from blockprune_lib.nn.latency_budget import calibrated, choose
from blockprune_lib.nn.trial import Ranking, candidates, linears_of, sparse_trial
from blockprune_lib.pruning.sensitivity import sensitivities
from blockprune_lib.pruning.structure import BlockStructure

FORMAT = "blockprune latency budgets, version 1"
RESULT = Path(__file__).resolve().parent.parent / "book" / "results" / "budget-sst2.json"
#: Of the dense model's time, as one compiled call.
SHARES = (0.65, 0.5, 0.35)
#: How near a uniform model must come to the time that was asked, and how often its rate is corrected.
NEAR, ROUNDS = 0.015, 4
CALIBRATION = 64
RATES = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def train(options: argparse.Namespace) -> None:
    """Fine-tune once, and keep the model."""
    task = _task(options)
    model, tokenizer = models.load(options.model, task=task, seed=1)
    report = fine_tune(model, tokenizer, task, _settings(options, options.steps, 2e-4, seed=1))
    model.save_pretrained(options.folder / "dense")
    tokenizer.save_pretrained(options.folder / "dense")
    write_json(options.folder / "dense.json", {"score": report.after, "steps": options.steps, "data": task.to_dict()})
    print(report)


def measure(options: argparse.Namespace) -> None:
    """The choices of each seed: budgets, uniform models, how long each takes; masks are kept beside."""
    model, tokenizer = models.load(options.folder / "dense")
    costs = _costs(model, options)
    costs = calibrated(model, costs, Ranking(linears_of(model)), options.threads)
    for seed in options.seed:
        begun, linears = time.perf_counter(), linears_of(model)
        ranking = Ranking(linears, sensitivities(model, linears, _calibration(options, tokenizer, seed), seed))
        losses = {name: [ranking.loss(name, ranking.mask(name, cut)) for cut in costs.cuts] for name in linears}
        arms = list[Arm]()
        for share in options.share:
            asked = share * costs.dense_ms
            found = choose(model, asked, costs, losses, ranking)
            assert found.measured is not None
            cuts = {name: one.cut for name, one in found.choices.items()}
            arms.append(Arm("mixed", asked, cuts, dict(found.masks), found.density, found.loss, found.measured))
            structures = dict.fromkeys(cut.structure for cut in costs.cuts if cut.structure is not None)
            arms += [uniform(model, asked, costs, structure, ranking) for structure in structures]
        kept = {f"{at}/{name}": mask for at, arm in enumerate(arms) for name, mask in arm.masks.items()}
        save_file(kept, options.folder / f"masks-{seed}.safetensors")
        write_json(options.folder / f"choices-{seed}.json", {
            "rows": [arm.row() for arm in arms], "hardware": hardware().to_dict(), "costs": _costs_as_json(costs),
        })  # fmt: skip
        print(f"seed {seed}: {time.perf_counter() - begun:.0f} s")
        print(text_table([["arm", "asked", "ms", "density", "loss"], *(arm.cells() for arm in arms)]), flush=True)


@dataclass(frozen=True)
class Arm:
    """One way to spend a budget: its masks, and how long the model then takes."""

    name: str
    asked_ms: float
    cuts: Mapping[str, Cut]
    masks: Mapping[str, Tensor]
    density: float
    loss: float
    timing: Timing

    def row(self) -> dict[str, Any]:
        """What a record keeps."""
        timing = {"median_ms": self.timing.median, "q1_ms": self.timing.q1, "q3_ms": self.timing.q3,
                  "samples_ms": list(self.timing.samples_ms)}  # fmt: skip
        cuts = {name: str(cut) for name, cut in self.cuts.items()}
        return {"arm": self.name, "asked_ms": self.asked_ms, "measured": timing, "density": self.density,
                "loss": self.loss, "cuts": cuts}  # fmt: skip

    def cells(self) -> list[str]:
        """A line of a table."""
        return [
            self.name,
            f"{self.asked_ms:.2f}",
            f"{self.timing.median:.2f}",
            f"{self.density:.1%}",
            f"{self.loss:.3f}",
        ]


def uniform(model: Any, asked: float, costs: LayerCosts, structure: BlockStructure, ranking: Ranking) -> Arm:
    """Every matrix at the one rate of `structure` at which a call takes as long as was asked, within `NEAR`."""
    known = sorted((cut.rate, at) for at, cut in enumerate(costs.cuts) if cut.structure in (structure, None))
    totals = [costs.total_ms(dict.fromkeys(costs.shapes, at)) for _, at in reversed(known)]
    densities, wanted, found = [1 / rate for rate, _ in reversed(known)], asked, list[Arm]()
    for _ in range(ROUNDS):
        cut = Cut(structure, 1 / float(np.interp(wanted, totals, densities)))
        cuts = dict.fromkeys(costs.shapes, cut)
        masks = {name: ranking.mask(name, cut) for name in cuts}
        timing = costs.time_call(sparse_trial(model, masks, cuts, costs.precision))
        loss = sum(ranking.loss(name, mask) for name, mask in masks.items())
        found.append(Arm(str(structure), asked, cuts, masks, 1 / cut.rate, loss, timing))
        if abs(timing.median - asked) <= NEAR * asked:
            break
        wanted -= timing.median - asked
    return min(found, key=lambda arm: abs(arm.timing.median - asked))


def score(options: argparse.Namespace) -> None:
    """Score every arm, the tightest budget first; retrain its mixed arm and the better uniform one the same way."""
    task, cases = _task(options), []
    rows = {seed: read_json(options.folder / f"choices-{seed}.json")["rows"] for seed in options.seed}
    budgets = sorted({row["asked_ms"] for some in rows.values() for row in some})
    for asked, seed in itertools.product(budgets, options.seed):
        kept, scored = load_file(options.folder / f"masks-{seed}.safetensors"), list[dict[str, Any]]()
        for at, row in enumerate(rows[seed]):
            if row["asked_ms"] == asked:
                masks = {name.partition("/")[2]: mask for name, mask in kept.items() if name.startswith(f"{at}/")}
                model, tokenizer = models.load(options.folder / "dense", task=task)
                apply_masks_(model, masks)
                before = _score(model, tokenizer, task, row["cuts"])
                scored.append(row | {"seed": seed, "before": before, "masks": masks})
        better = max(scored[1:], key=lambda case: case["before"], default=None)
        for case in scored:
            masks = case.pop("masks")
            if asked in budgets[: options.retrain] and (case["arm"] == "mixed" or case is better):
                model, tokenizer = models.load(options.folder / "dense", task=task)
                learning = _settings(options, options.retrain_steps, 2e-4, seed)
                report = retrain(model, tokenizer, (task.encode(tokenizer, 64)[0], None), masks, learning)
                after = _score(model, tokenizer, task, case["cuts"])
                case |= {"after": after, "cpu_seconds": report.cpu_seconds}
            cases.append(case)
            print(seed, case["arm"], f"{asked:.2f}", case["before"], case.get("after"), flush=True)
        _write(options, cases)


def _score(model: Any, tokenizer: Any, task: tasks.Task, cuts: Mapping[str, str]) -> float:
    """The score of a pruned model, run as block-sparse layers, which is quicker."""
    structures = {
        name: BlockStructure.parse(cut.partition(" at ")[0]) for name, cut in cuts.items() if cut != "dense"
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooDenseWarning)
        return evaluate(sparsify(copy.deepcopy(model), structures), tokenizer, task)[task.primary]


def _write(options: argparse.Namespace, cases: list[dict[str, Any]]) -> None:
    first = read_json(options.folder / f"choices-{options.seed[0]}.json")
    write_json(options.json, {
        "format": FORMAT,
        "settings": {"calibration": CALIBRATION, "fine_tune_steps": options.steps, "learning_rate": 2e-4,
                     "batch_size": 16, "retrain_steps": options.retrain_steps, "tokens": options.tokens,
                     "threads": options.threads, "clock": options.clock},
        "dense": read_json(options.folder / "dense.json"), "model": Path(options.model).name,
        "costs": first["costs"], "hardware": first["hardware"], "provenance": provenance(), "cases": cases,
    })  # fmt: skip


def _costs(model: Any, options: argparse.Namespace) -> LayerCosts:
    """Measured once for all seeds: times depend on how many weights are kept, not on which."""
    place = options.folder / "costs.json"
    words = model.config.vocab_size
    example = torch.randint(words // 2, words, (1, options.tokens), generator=torch.Generator().manual_seed(0))
    if not place.exists():
        write_json(place, _costs_as_json(layer_costs(
            model, candidates(rates=RATES), example={"input_ids": example}, threads=options.threads,
            clock=CLOCKS[options.clock],
        )))  # fmt: skip
    kept = read_json(place)
    ms: Any = {tuple(map(int, shape.split(" x "))): tuple(times) for shape, times in kept["ms"].items()}
    shapes: Any = {name: tuple(linear.weight.shape) for name, linear in linears_of(model).items()}
    found = LayerCosts(
        candidates(rates=RATES), ms, kept["rest_ms"], kept["plain_ms"], shapes, {"input_ids": example}, "float32",
        options.threads, kept["start"], CLOCKS[options.clock],
    )  # fmt: skip
    print(found, flush=True)
    return found


def _costs_as_json(costs: LayerCosts) -> dict[str, Any]:
    ms = {f"{M} x {N}": list(times) for (M, N), times in costs.ms.items()}
    return {"cuts": [str(cut) for cut in costs.cuts], "ms": ms, "rest_ms": costs.rest_ms, "plain_ms": costs.plain_ms,
            "least_ms": costs.least_ms, "dense_ms": costs.dense_ms, "threads": costs.threads,
            "start": costs.start}  # fmt: skip


def _calibration(options: argparse.Namespace, tokenizer: Any, seed: int) -> list[dict[str, Tensor]]:
    """Sentences of the training part, another draw for each seed, in batches padded to their longest."""
    texts = tasks.load(options.task, train=CALIBRATION, seed=seed, verbose=False).train["sentence"]
    return [
        dict(tokenizer(list(texts[at : at + 32]), padding=True, truncation=True, max_length=64, return_tensors="pt"))
        for at in range(0, CALIBRATION, 32)
    ]


def _task(options: argparse.Namespace) -> tasks.Task:
    return tasks.load(options.task, train=options.train, verbose=False)


def _settings(options: argparse.Namespace, steps: int, rate: float, seed: int) -> TrainingSettings:
    return TrainingSettings(
        max_steps=steps, learning_rate=rate, batch_size=16, warmup_ratio=0.1, seed=seed, max_length=64, dropout=0.0,
        evaluate_first=False, freeze_embeddings=True, optimizer="adamw_torch_fused",
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Do one of the three steps; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "time", "score"))
    parser.add_argument("--folder", type=Path, required=True, help="where the steps leave what the next one needs")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--train", type=int, default=6400, help="rows to train on")
    parser.add_argument("--steps", type=int, default=150, help="of fine-tuning")
    parser.add_argument("--retrain-steps", type=int, default=40)
    parser.add_argument("--retrain", type=int, default=1, help="so many of the tightest budgets are retrained")
    parser.add_argument("--share", type=float, nargs="+", default=SHARES, help="budgets: shares of the dense time")
    parser.add_argument("--seed", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall",
                        help="cpu: of one thread, where other programs run too; --threads 1")  # fmt: skip
    parser.add_argument("--training-threads", type=int, default=2)
    parser.add_argument("--json", default=str(RESULT), help="where the record goes")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads if options.step == "time" else options.training_threads)
    {"train": train, "time": measure, "score": score}[options.step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
