"""One rate for every matrix, or a choice for each, at the same latency: speed, and scores before and after retraining.

    python -m tools.latency_budgets train --folder WORK     fine-tune a model; not needed with --model FOLDER ...
    python -m tools.latency_budgets search --folder WORK    what each matrix costs, and what the losses' factors are
    python -m tools.latency_budgets time --folder WORK      the choices, and how long each of them takes
    python -m tools.latency_budgets score --folder WORK     score them, retrain each the same way, write the record

`search`, if no costs are in WORK, and `time` measure: the machine must be quiet then. Every seed draws other
calibration texts, and shuffles retraining in another way; with several models, each seed has its own. Four arms:

    added                  a choice by the sum of the matrices' losses, as they are estimated
    tried                  the same with the losses' factors at which the whole model moved least, `choice_search`
    one rate, STRUCTURE    every matrix at the one rate at which the model takes as long as was asked

In all of them groups are ranked by the same scores, so that what differs is where weights are kept. `moved` is how far
the outputs move on the texts that the choice was made with, `held_out` on others; which structure of one rate is
retrained is decided by `moved`, as the factors are.
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
from blockprune_lib.nn import Cut, LayerCosts, TooDenseWarning
from blockprune_lib.nn.latency_budget import TRIALS, calibrated, choose, searched
from blockprune_lib.nn.trial import Ranking, linears_of, sparse_trial
from blockprune_lib.pruning.sensitivity import OutputChange, sensitivities
from blockprune_lib.pruning.structure import BlockStructure
from tools import kept_costs

FORMAT = "blockprune latency budgets, version 2"
RESULT = Path(__file__).resolve().parent.parent / "book" / "results" / "budget-cola.json"
#: Of the dense model's time, as one compiled call.
SHARES = (0.5, 0.35)
#: How near a uniform model must come to the time that was asked, and how often its rate is corrected.
NEAR, ROUNDS = 0.015, 4
CALIBRATION, HELD_OUT = 96, 192
#: Of fine-tuning and of retraining; LONGEST is the number of tokens at which a text is cut.
LEARNING_RATE, BATCH, LONGEST = 2e-4, 32, 64


def train(options: argparse.Namespace) -> None:
    """Fine-tune once, and keep the model."""
    task = _task(options)
    model, tokenizer = models.load(options.model[0], task=task, seed=1)
    report = fine_tune(model, tokenizer, task, _settings(options.steps, seed=1))
    model.save_pretrained(options.folder / "dense")
    tokenizer.save_pretrained(options.folder / "dense")
    print(report)


def search(options: argparse.Namespace) -> None:
    """For each seed and budget, the losses as they are and scaled to the whole."""
    for seed in options.seed:
        model, tokenizer = _dense(options, seed)
        costs, ranking, texts = _material(options, model, tokenizer, seed)
        change = OutputChange(model, texts)
        losses = {name: [ranking.loss(name, ranking.mask(name, cut)) for cut in costs.cuts] for name in costs.shapes}
        found = {"added": losses}
        for share in options.share:
            begun = time.perf_counter()
            found[f"{share:g}"] = searched(share * costs.dense_ms, costs, losses, ranking, change, options.trials, seed)
            print(f"seed {seed}, {share:g}: {time.perf_counter() - begun:.0f} s", flush=True)
            write_json(options.folder / f"losses-{seed}.json", found)


def measure(options: argparse.Namespace) -> None:
    """The choices of each seed and how long each takes; masks are kept beside, and scores of older choices go."""
    for seed in options.seed:
        model, tokenizer = _dense(options, seed)
        costs, ranking, _ = _material(options, model, tokenizer, seed)
        costs = calibrated(model, costs, ranking, options.threads)
        known = read_json(options.folder / f"losses-{seed}.json")
        structures = dict.fromkeys(cut.structure for cut in costs.cuts if cut.structure is not None)
        for share in options.share:
            asked, arms = share * costs.dense_ms, list[Arm]()
            for name, losses in (("added", known["added"]), ("tried", known[f"{share:g}"])):
                found = choose(model, asked, costs, known["added"], losses, ranking)
                assert found.measured is not None
                cuts = {name: one.cut for name, one in found.choices.items()}
                arms.append(Arm(name, share, asked, cuts, dict(found.masks), found.density, found.measured))
            arms += [uniform(model, share, asked, costs, structure, ranking) for structure in structures]
            kept = {f"{at}/{name}": mask for at, arm in enumerate(arms) for name, mask in arm.masks.items()}
            (options.folder / f"scored-{seed}-{share:g}.json").unlink(missing_ok=True)
            save_file(kept, options.folder / f"masks-{seed}-{share:g}.safetensors")
            rows = [arm.row() | {"loss": sum(ranking.loss(n, m) for n, m in arm.masks.items())} for arm in arms]
            write_json(options.folder / f"choices-{seed}-{share:g}.json", {
                "rows": rows, "hardware": hardware().to_dict(), "costs": kept_costs.as_json(costs),
            })  # fmt: skip
            print(text_table([["arm", "asked", "ms", "density"], *(arm.cells() for arm in arms)]), flush=True)


@dataclass(frozen=True)
class Arm:
    """One way to spend a budget: its masks, and how long the model then takes."""

    name: str
    share: float
    asked_ms: float
    cuts: Mapping[str, Cut]
    masks: Mapping[str, Tensor]
    density: float
    timing: Timing

    def row(self) -> dict[str, Any]:
        """What a record keeps."""
        timing = {"median_ms": self.timing.median, "q1_ms": self.timing.q1, "q3_ms": self.timing.q3,
                  "samples_ms": list(self.timing.samples_ms)}  # fmt: skip
        cuts = {name: str(cut) for name, cut in self.cuts.items()}
        return {"arm": self.name, "share": self.share, "asked_ms": self.asked_ms, "measured": timing,
                "density": self.density, "cuts": cuts}  # fmt: skip

    def cells(self) -> list[str]:
        """A line of a table."""
        return [self.name, f"{self.asked_ms:.2f}", f"{self.timing.median:.2f}", f"{self.density:.1%}"]


def uniform(
    model: Any, share: float, asked: float, costs: LayerCosts, structure: BlockStructure, ranking: Ranking
) -> Arm:
    """Every matrix at the one rate of `structure` at which a call takes as long as was asked, within `NEAR`."""
    known = sorted((cut.rate, at) for at, cut in enumerate(costs.cuts) if cut.structure in (structure, None))
    totals = [costs.total_ms(dict.fromkeys(costs.shapes, at)) for _, at in reversed(known)]
    densities, wanted, found = [1 / rate for rate, _ in reversed(known)], asked, list[Arm]()
    for _ in range(ROUNDS):
        cut = Cut(structure, 1 / float(np.interp(wanted, totals, densities)))
        cuts = dict.fromkeys(costs.shapes, cut)
        masks = {name: ranking.mask(name, cut) for name in cuts}
        timing = costs.time_call(sparse_trial(model, masks, cuts, costs.precision))
        found.append(Arm(f"one rate, {structure}", share, asked, cuts, masks, 1 / cut.rate, timing))
        if abs(timing.median - asked) <= NEAR * asked:
            break
        wanted -= timing.median - asked
    return min(found, key=lambda arm: abs(arm.timing.median - asked))


def score(options: argparse.Namespace) -> None:
    """Score every arm and write the record; what another call has scored in the same folder is read."""
    task, cases, dense = _task(options), list[dict[str, Any]](), dict[str, Any]()
    for share, seed in itertools.product(sorted(options.share), options.seed):
        place = options.folder / f"scored-{seed}-{share:g}.json"
        if not place.exists():
            write_json(place, _scored(options, task, seed, share))
        found = read_json(place)
        dense[str(seed)] = found["dense"]
        cases += found["cases"]
    _write(options, task, dense, cases)


def _scored(options: argparse.Namespace, task: tasks.Task, seed: int, share: float) -> dict[str, Any]:
    """The arms of one seed and budget; the choice that was tried and the better of one rate are retrained alike."""
    model, tokenizer = _dense(options, seed, task)
    change, held = (OutputChange(model, _texts(options, tokenizer, seed, part)) for part in (0, 1))
    kept = load_file(options.folder / f"masks-{seed}-{share:g}.safetensors")
    cases = list[dict[str, Any]]()
    for at, row in enumerate(read_json(options.folder / f"choices-{seed}-{share:g}.json")["rows"]):
        masks = {name.partition("/")[2]: mask for name, mask in kept.items() if name.startswith(f"{at}/")}
        pruned = copy.deepcopy(model)
        apply_masks_(pruned, masks)
        before = _score(pruned, tokenizer, task, row["cuts"])
        far = {"moved": change(masks), "held_out": held(masks)}
        cases.append(row | far | {"seed": seed, "before": before, "masks": masks})
    better = min((c for c in cases if c["arm"].startswith("one")), key=lambda case: case["moved"])
    rows = task.encode(tokenizer, LONGEST)[0]
    for case in cases:
        masks = case.pop("masks")
        if case["arm"] == "tried" or case is better:
            pruned = copy.deepcopy(model)
            apply_masks_(pruned, masks)
            retrain(pruned, tokenizer, (rows, None), masks, _settings(options.retrain_steps, seed))
            case["after"] = _score(pruned, tokenizer, task, case["cuts"])
        told = (f"{case.get(key, float('nan')):.3f}" for key in ("moved", "held_out", "before", "after"))
        print(seed, case["arm"], share, *told, flush=True)
    return {"dense": evaluate(model, tokenizer, task), "cases": cases}


def _score(model: Any, tokenizer: Any, task: tasks.Task, cuts: Mapping[str, str]) -> float:
    """The score of a pruned model, run as block-sparse layers, which is quicker."""
    structures = {
        name: BlockStructure.parse(cut.partition(" at ")[0]) for name, cut in cuts.items() if cut != "dense"
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooDenseWarning)
        return evaluate(sparsify(copy.deepcopy(model), structures), tokenizer, task)[task.primary]


def _write(options: argparse.Namespace, task: tasks.Task, dense: dict[str, Any], cases: list[dict[str, Any]]) -> None:
    first = read_json(options.folder / f"choices-{options.seed[0]}-{options.share[0]:g}.json")
    write_json(options.json, {
        "format": FORMAT,
        "settings": {"calibration": CALIBRATION, "held_out": HELD_OUT, "trials": options.trials,
                     "learning_rate": LEARNING_RATE, "batch_size": BATCH, "retrain_steps": options.retrain_steps,
                     "tokens": options.tokens, "threads": options.threads, "clock": options.clock},
        "task": task.to_dict(), "metric": task.primary, "dense": dense, "models": [Path(m).name for m in options.model],
        "costs": first["costs"], "hardware": first["hardware"], "provenance": provenance(), "cases": cases,
    })  # fmt: skip


def _dense(options: argparse.Namespace, seed: int, task: tasks.Task | None = None) -> Any:
    """The dense model of a seed, and its tokenizer."""
    trained = options.folder / "dense"
    given = trained if trained.exists() else options.model[options.seed.index(seed) % len(options.model)]
    model, tokenizer = models.load(given, task=_task(options) if task is None else task)
    return model.eval(), tokenizer


def _material(
    options: argparse.Namespace, model: Any, tokenizer: Any, seed: int
) -> tuple[LayerCosts, Ranking, list[dict[str, Tensor]]]:
    """What a choice is made from: costs, the ranking of groups, and the texts that it was ranked on."""
    costs = kept_costs.measured_once(
        options.folder / "costs.json", model, options.tokens, options.threads, options.clock
    )
    linears, texts = linears_of(model), _texts(options, tokenizer, seed)
    return costs, Ranking(linears, sensitivities(model, linears, texts, seed)), texts


def _texts(options: argparse.Namespace, tokenizer: Any, seed: int, part: int = 0) -> list[dict[str, Tensor]]:
    """Texts to train on, another draw for each seed: part 0 to choose with, part 1 held out; like lengths together."""
    task = tasks.load(options.task, train=CALIBRATION + HELD_OUT, seed=seed, verbose=False)
    texts = list(zip(*(task.train[column] for column in task.text), strict=True))
    some = sorted(texts[CALIBRATION:] if part else texts[:CALIBRATION], key=lambda text: sum(map(len, text)))
    return [
        dict(tokenizer(*map(list, zip(*some[at : at + BATCH], strict=True)), padding=True, truncation=True,
                       max_length=LONGEST, return_tensors="pt"))
        for at in range(0, len(some), BATCH)
    ]  # fmt: skip


def _task(options: argparse.Namespace) -> tasks.Task:
    return tasks.load(options.task, train=options.train, verbose=False)


def _settings(steps: int, seed: int) -> TrainingSettings:
    return TrainingSettings(
        max_steps=steps, learning_rate=LEARNING_RATE, batch_size=BATCH, warmup_ratio=0.1, seed=seed, max_length=LONGEST,
        dropout=0.0, evaluate_first=False, freeze_embeddings=True, optimizer="adamw_torch_fused",
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Do one of the four steps; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "search", "time", "score"))
    parser.add_argument("--folder", type=Path, required=True, help="where the steps leave what the next one needs")
    parser.add_argument("--model", nargs="+", default=["minilm"], help="fine-tuned ones, one for each seed")
    parser.add_argument("--task", default="cola")
    parser.add_argument("--train", type=int, help="rows to train on; default all")
    parser.add_argument("--trials", type=int, default=TRIALS, help="choices tried on the whole model")
    parser.add_argument("--steps", type=int, default=150, help="of fine-tuning")
    parser.add_argument("--retrain-steps", type=int, default=40)
    parser.add_argument("--share", type=float, nargs="+", default=SHARES, help="budgets: shares of the dense time")
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=tuple(kept_costs.CLOCKS), default="wall",
                        help="cpu: of one thread, where other programs run too; --threads 1")  # fmt: skip
    parser.add_argument("--training-threads", type=int, default=2)
    parser.add_argument("--json", default=str(RESULT), help="where the record goes")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads if options.step in ("search", "time") else options.training_threads)
    {"train": train, "search": search, "time": measure, "score": score}[options.step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
