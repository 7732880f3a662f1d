"""Run a chapter and keep what it measured under book/results, with its provenance.

`python -m tools.record whole-story` writes book/results/whole-story.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "book" / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the chapter in a kernel of this interpreter; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapter", help="a chapter's page name, for example whole-story")
    options = parser.parse_args(arguments)
    path = ROOT / "book" / f"{options.chapter}.ipynb"
    if not path.exists():
        print(f"there is no chapter {options.chapter!r} in book/", file=sys.stderr)
        return 2
    import nbformat
    from nbclient import NotebookClient

    os.environ["BLOCKPRUNE_RECORD"] = str(RESULTS)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    RESULTS.mkdir(exist_ok=True)
    NotebookClient(nbformat.read(path, as_version=4), timeout=900, kernel_name="python3").execute(cwd=str(path.parent))
    print(f"Recorded: {RESULTS / (options.chapter + '.json')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
