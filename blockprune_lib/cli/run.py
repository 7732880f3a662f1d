"""`blockprune run`: a recipe through the four stages, to a record that anyone can check and run again."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from functools import partial
from typing import Any

from ..experiments.methods import METHODS

#: Hours of training that are said before they start.
_WORTH_SAYING = 0.05
HELP = "fine-tune, train reweighted, prune and retrain a model on a task, as a recipe says; resumes"
_METHODS = textwrap.fill(", ".join(METHODS) + " (default: the first)", 100, subsequent_indent=" " * 14)
DESCRIPTION = f"""Take a model and a task through the four stages, and leave a record of what came out.

  blockprune run recipe.yaml --folder runs/rte     killed at any moment, the same line goes on with the stage it was in
  blockprune run --set task=rte --set structure=block_row:64 --set rate=5 --folder runs/rte
  blockprune run study.yaml --folder runs/study --processes 2 --shard 1/4
  torchrun --nproc-per-node 2 -m blockprune_lib.cli run recipe.yaml --folder runs/rte

A recipe is a YAML file; every key may also be set by --set, deeper ones with a dot (--set retrain.epochs=10). Keys with
a list are swept over: every combination is a run, and runs share the stages they have in common.

  task        a GLUE task, or a description
  model       minilm (default), bert-base-uncased, a folder, ...
  structure   such as block_row:64
  rate        such as 5
  preset      best (default) or paper
  seed        42 by default
  method      {_METHODS}
  fine_tune, reweight, prune, retrain
              settings of one stage, such as {{epochs: 3, learning_rate: 2e-5}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a YAML file")
    as_yaml = "a key of the recipe, as YAML"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=as_yaml)
    parser.add_argument("--folder", metavar="FOLDER", help="where stages, models and records are kept; resumes there")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="do the I-th of N parts of the runs")
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="runs side by side on this machine")
    parser.add_argument("--extend", action="store_true", help="add the recipe's runs to a folder that holds others")
    parser.add_argument("--plan", action="store_true", help="print the runs and end")
    parser.add_argument("--hours", action="store_true", help="with --plan: measure a few steps, say how long it takes")
    parser.add_argument("--json", action="store_true", help="print the records")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> None:
    """Plan, then run, then print."""
    from .. import experiments
    from .._common.checks import whole_number
    from .._common.folders import check_place
    from ..experiments import estimate, report
    from ..experiments.sweep import part_of

    recipe = _recipe(options)
    runs = part_of(experiments.plan(recipe), options.shard)
    whole_number(options.processes, "processes", at_least=1)
    if options.plan:
        print("\n".join(one.name for one in runs))
        if options.hours:
            print(f"{len(runs)} runs, about {estimate.hours(runs):.1f} hours of training here")
        return
    if not options.folder:
        raise ValueError("--folder must say where the run is kept; got none: --folder runs/mine would do")
    how = {name: getattr(options, name) for name in ("shard", "processes", "extend")}
    if not options.quiet:
        how |= {"say": partial(print, file=sys.stderr, flush=True), "progress": sys.stderr.isatty()}
    place = check_place(options.folder, "--folder")
    new = not (place / "records").exists()  # to go on, nobody waits for it again
    if new and not options.quiet and (left := estimate.hours(runs)) > _WORTH_SAYING:
        print(f"about {left:.1f} hours of training here", file=sys.stderr, flush=True)
    done = experiments.run(recipe, place, **how)
    print(json.dumps(done, indent=1) if options.json else report.table(done))


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The file's keys, and over them those of --set."""
    from ..experiments import read_recipe, safe_yaml

    recipe = read_recipe(options.recipe) if options.recipe else {}
    for entry in options.settings:
        key, found, text = entry.partition("=")
        if not found or not key:
            raise ValueError(f"--set must be KEY=VALUE; got {entry!r}: --set rate=5 would do")
        value = safe_yaml.load(text, f"--set {key}")
        *outer, last = key.split(".")
        part = recipe
        for name in outer:
            inner = part.get(name, {})
            if not isinstance(inner, dict):
                raise ValueError(f"--set {key}: {name} must hold keys; got {inner!r}")
            part[name] = dict(inner)  # a copy: a YAML anchor may stand for it elsewhere too
            part = part[name]
        part[last] = value
    if not recipe:
        raise ValueError("RECIPE or --set must give task, structure and rate; got neither: recipes/rte.yaml would do")
    return recipe
