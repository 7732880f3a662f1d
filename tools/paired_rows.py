"""Keep how far other rows may be: the bootstrap intervals of the study's differences, which need the text of its tasks.

`BLOCKPRUNE_GLUE_DIR=FOLDER python -m tools.paired_rows` writes book/results/study-rows.json; run it after new
records. The pages read it, so that they need no text.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blockprune_lib import experiments
from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib.experiments.deciding import comparisons, read_rows
from blockprune_lib.experiments.standing import standings
from tools.readme_accuracy import STUDY


def rows_of(folder: Path, known: dict[str, tuple[float, float]]) -> tuple[dict[str, tuple[float, float]], int]:
    """{identity: interval} of every comparison of a folder of records, and how many could not be made."""
    found = [one for study in standings(experiments.read_all(folder)) for one in comparisons(study, recorded=known).all]
    return {one.identity: one.rows for one in found if one.rows}, sum(one.rows is None for one in found)


def main(arguments: list[str] | None = None) -> int:
    """Compute what is not there yet, and write the file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=STUDY, help="records of blockprune run")
    options = parser.parse_args(arguments)
    path = options.folder.with_name(f"{options.folder.name}-rows.json")
    rows, missing = rows_of(options.folder, read_rows(path))
    write_json(path, {"name": path.stem, "provenance": provenance(), "rows": rows})
    print(f"Recorded: {path.name}, {len(rows)} intervals; {missing} without text or predictions")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
