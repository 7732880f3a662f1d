"""`blockprune data`: which text a task would be trained on here, where it comes from, and what it looks like."""

from __future__ import annotations

import argparse
import json

HELP = "show the text of the GLUE tasks: where it comes from, rows, labels, an example"
DESCRIPTION = """Load tasks as `blockprune run` would, and show what was found.

  blockprune data               all nine: where from, rows, metric, majority score
  blockprune data rte mrpc      an example of each, and the SHA-256 of its rows

The text comes from the folder that BLOCKPRUNE_GLUE_DIR names, else from the Hub (nyu-mll/glue), else from a built-in
generator of sentences that needs no network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("task", nargs="*", metavar="TASK", help="cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli")
    parser.add_argument("--source", default="auto", help="folder, hub, built-in, or auto (default): the first there is")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(options: argparse.Namespace) -> None:
    """Load and print."""
    from .._common.tables import text_table
    from ..data import tasks

    found = [tasks.load(name, source=options.source, verbose=False) for name in options.task or tasks.NAMES]
    if options.json:
        print(json.dumps([task.to_dict() for task in found], indent=1))
    elif options.task:
        print("\n\n".join(repr(task) for task in found))
    else:
        cells = [["task", "from", "train", "validation", "labels", "metric", "majority"]]
        for task in found:
            rows = (f"{len(task.train):,}", f"{len(task.validation):,}")
            labels = str(len(task.label_names)) if task.label_names else "numbers"
            cells.append([task.name, task.source, *rows, labels, task.primary, f"{task.majority[task.primary]:.3f}"])
        print(text_table(cells))
