"""`blockprune report`: a folder of records as a table, mean and interval over seeds, and as a picture."""

from __future__ import annotations

import argparse
import json
import sys

HELP = "turn the records of `blockprune run` into tables and plots"
DESCRIPTION = """Read every record under the folders, and print one line for each task, structure, method and rate.

  blockprune report runs/study
  blockprune report runs/a runs/b --plot study.svg --json

The score is the mean over seeds; its 95 % interval is Student's and needs two seeds. "sampling" says how far the score
may be off because only so many examples were scored."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("folder", nargs="*", metavar="FOLDER", help="folders, or files, that blockprune run wrote")
    parser.add_argument("--plot", metavar="FILE", help="draw score against rate: .svg or .png")
    parser.add_argument("--json", action="store_true", help="print the lines as JSON")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of a record and end")


def run(options: argparse.Namespace) -> None:
    """Read, draw, print."""
    from .. import experiments
    from ..experiments import plots, report

    if options.schema:
        print(json.dumps(experiments.SCHEMA, indent=1))
        return
    if not options.folder:
        raise ValueError("FOLDER must be one that blockprune run wrote; got none: runs/rte would do")
    found = [record for folder in options.folder for record in experiments.read_all(folder)]
    if options.plot:
        plots.save_plot(found, options.plot)
        print(f"drawn: {options.plot}", file=sys.stderr)
    if options.json:
        print(json.dumps([line.to_dict() for line in report.lines(found)], indent=1))
    else:
        print(report.table(found))
