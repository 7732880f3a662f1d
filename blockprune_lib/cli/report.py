"""`blockprune report`: a folder of records as a table, mean and interval over seeds, and as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial

HELP = "turn the records of `blockprune run` into tables and plots"
DESCRIPTION = """Read every record under the folders, and print one line for each task, structure, method and rate.

  blockprune report runs/study
  blockprune report runs/study --time             time the models that are kept and have no time yet, then report
  blockprune report runs/study --against gradual  each method less that one, with intervals and a verdict
  blockprune report runs/study --against "dense, 2 layers"
  blockprune report runs/study --frontier         score against measured latency, the best ones starred
  blockprune report runs/a runs/b --plot study.svg --json

The score is the mean over seeds; its 95 % interval is Student's and needs two seeds. "sampling" says how far the score
may be off because only so many examples were scored."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("folder", nargs="*", metavar="FOLDER", help="folders, or files, that blockprune run wrote")
    parser.add_argument("--plot", metavar="FILE", help="draw score against rate, or the frontier: .svg or .png")
    parser.add_argument("--frontier", action="store_true", help="score against measured latency, of records with one")
    parser.add_argument("--against", metavar="METHOD", help="each other method less this one, seed by seed, row by row")
    parser.add_argument("--time", action="store_true", help="first time the models of records without a latency")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of --time")
    parser.add_argument("--json", action="store_true", help="print the lines as JSON")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of a record and end")


def run(options: argparse.Namespace) -> None:
    """Read, draw, print."""
    from .. import experiments
    from .._common.folders import as_path
    from ..experiments import frontier, frontier_plot, latency, paired, plots, report

    if options.schema:
        print(json.dumps(experiments.SCHEMA, indent=1))
        return
    if not options.folder:
        raise ValueError("FOLDER must be one that blockprune run wrote; got none: runs/rte would do")
    for folder in options.folder if options.time else ():
        latency.add_latencies(as_path(folder), threads=options.threads, say=partial(print, file=sys.stderr, flush=True))
    found = [record for folder in options.folder for record in experiments.read_all(folder)]
    if options.plot:
        (frontier_plot.save_frontier if options.frontier else plots.save_plot)(found, options.plot)
        print(f"drawn: {options.plot}", file=sys.stderr)
    if options.frontier:
        shown = [asdict(point) | {"mean": point.mean} for point in frontier.points(found)]
        print(json.dumps(shown, indent=1) if options.json else frontier.table(found))
    elif options.against:
        pairs = paired.differences(found, options.against)
        told = [asdict(pair) | {"mean": pair.mean, "verdict": pair.verdict} for pair in pairs]
        print(json.dumps(told, indent=1) if options.json else paired.table(pairs))
    elif options.json:
        print(json.dumps([line.to_dict() for line in report.lines(found)], indent=1))
    else:
        print(report.table(found))
