"""The ways of the first chapter to train on, each at several learning rates and seeds: which rate suits which.

`OMP_NUM_THREADS=1 python -m tools.story_rates` (half an hour or more) runs the chapter's own cells and writes
book/results/whole-story-rates.json. The rates of the chapter are the best of this record.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch

import blockprune_lib as bp
from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib.machine.passport import hardware
from blockprune_lib.teaching import chapter

FORMAT = "blockprune story rates, version 1"
BOOK = Path(__file__).resolve().parent.parent / "book"
RESULT = BOOK / "results" / "whole-story-rates.json"
#: The chapter's cells that load the model and the text, that fine-tune, and that say what each way does.
CELLS = ("4dc7638d", "9cfd7006", "wstrain")
RATES = (1e-4, 2e-4, 5e-4, 1e-3)
SEEDS = (0, 1, 2)


def story(seed: int, chapter_file: Path = BOOK / "whole-story.ipynb") -> str:
    """The chapter's code up to its ways, with another seed. Raises ValueError where a cell or the seed is not there."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(chapter_file.read_text("utf-8"))["cells"]}
    if missing := [name for name in CELLS if name not in cells]:
        raise ValueError(f"{chapter_file.name} must have the cells {', '.join(CELLS)}; got none named {missing[0]}")
    code = "\n\n".join(cells[name] for name in CELLS)
    if code.count("SEED = 0") != 1:
        raise ValueError(f"{chapter_file.name} must set SEED once; got {code.count('SEED = 0')} lines 'SEED = 0'")
    return code.replace("SEED = 0", f"SEED = {seed}")


def scores(seed: int, rates: tuple[float, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the dense model scores, and each way at each rate; and what was run, as the chapter has it."""
    names: dict[str, Any] = {"bp": bp, "chapter": chapter, "copy": copy, "torch": torch}
    chapter.begin(seed=seed)
    exec(story(seed), names)
    found: dict[str, Any] = {"dense": names["dense"]}
    for way in names["LEARNING_RATES"]:
        for rate in rates:
            network = names["trained"](way, rate)
            score = bp.evaluate(network, names["tokenizer"], names["task"])["accuracy"]
            found.setdefault("ways", {}).setdefault(way, {})[f"{rate:g}"] = score
            print(f"seed {seed}, {way}, {rate:g}: {score:.4f}", flush=True)
    task = names["task"]
    what = {
        "rate": names["RATE"], "structure": str(names["STRUCTURE"]), "steps": list(names["STEPS"]),
        "text": task.source, "fingerprint": task.fingerprint, "sentences": [len(task.train), len(task.validation)],
    }  # fmt: skip
    return found, what


def main(arguments: list[str] | None = None) -> int:
    """Train, print the scores, write the record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; default: 0, 1 and 2")
    parser.add_argument("--learning-rate", type=float, action="append", help="may be repeated")
    parser.add_argument("--json", default=str(RESULT), help="where the record goes")
    options = parser.parse_args(arguments)
    seeds: dict[str, Any] = {}
    for seed in options.seed or SEEDS:
        seeds[str(seed)], what = scores(seed, tuple(options.learning_rate or RATES))
        record = {"format": FORMAT, "settings": what, "provenance": provenance(), "hardware": hardware().to_dict(),
                  "seeds": seeds}  # fmt: skip
        write_json(options.json, record)  # after each seed: what was trained is kept
    print(f"Recorded: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
