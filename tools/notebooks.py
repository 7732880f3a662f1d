"""Keep the chapters' notebooks in one form: the same set-up cell, no outputs, stable ids and layout.

`python -m tools.notebooks` writes them; `--check` only says what differs, and fails. `--new NAME` makes book/NAME.ipynb
with every part that a chapter owes, and TODO where its author writes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from blockprune_lib._common.files import write_whole
from tools import new_chapter
from tools.repository import ROOT, current_slug

SETUP = """\
# Where the library is missing, as in Colab, this fetches the book with
# its recorded runs and installs; what is there is not upgraded.
import importlib.util
import os
import shutil
import subprocess
import sys

def lacking(module):  # what was removed may leave a folder of caches
    found = importlib.util.find_spec(module)
    return found is None or found.origin is None

if lacking("blockprune_lib"):
    if not os.path.isdir("the-book"):
        book = "https://github.com/{slug}"
        subprocess.run(["git", "clone", "-q", "--depth", "1", book,
                        "the-book"], check=True)
    needed = ["accelerate", "anywidget", "datasets", "lazy_loader",
              "numba", "pydantic", "safetensors", "seaborn", "scipy",
              "transformers"]
    needed = [module for module in needed if lacking(module)]
    needed += ["scikit-learn"] if lacking("sklearn") else []
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    for wanted in (["--no-deps", "./the-book"], needed):
        if wanted:
            subprocess.run([*pip, *wanted], check=True)
    shutil.copytree("the-book/book/results", "results",
                    dirs_exist_ok=True)

# Waiting threads give up the core: on a busy machine two spinning
# threads can be slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import matplotlib.pyplot as plt
import numpy as np
import torch
import blockprune_lib as bp
from blockprune_lib import chapter, check, plots
from blockprune_lib.teaching import glue
chapter.begin(seed=0)
"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def normalised(notebook: dict[str, Any], slug: str) -> dict[str, Any]:
    """Return *notebook* with the set-up cell of the day, without outputs, widget state or run counts."""
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"]) if isinstance(cell["source"], list) else cell["source"]
        metadata = {key: value for key, value in cell.get("metadata", {}).items() if key in ("tags", "mystnb")}
        if "setup" in metadata.get("tags", []):
            source = SETUP.format(slug=slug)
        source = source.strip("\n")
        identity = cell.get("id") or hashlib.sha256(f"{number}{source}".encode()).hexdigest()[:8]
        entry = {"cell_type": cell["cell_type"], "id": identity, "metadata": metadata}
        if cell["cell_type"] == "code":
            entry |= {"execution_count": None, "outputs": []}
        cells.append(entry | {"source": source.splitlines(keepends=True)})
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if "blockprune" in notebook["metadata"]:
        metadata["blockprune"] = notebook["metadata"]["blockprune"]
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def text_of(notebook: dict[str, Any], slug: str) -> str:
    """The file of a notebook in its one form."""
    return json.dumps(normalised(notebook, slug), indent=1, ensure_ascii=False) + "\n"


def begin(name: str) -> Path:
    """Make book/NAME.ipynb and return it; raises ValueError for what is no name, and for a page that is there."""
    notebook, book = new_chapter.skeleton(name), ROOT / "book"
    for path in (book / f"{name}.ipynb", book / f"{name}.md"):
        if path.exists():
            raise ValueError(f"NAME must be new; got {name!r}: book/{path.name} is there")
    path = book / f"{name}.ipynb"
    write_whole(path, text_of(notebook, current_slug(ROOT)).encode())
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write or check every chapter, or begin one; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a chapter differs")
    parser.add_argument("--new", metavar="NAME", help="begin a chapter, such as my-chapter")
    options = parser.parse_args(arguments)
    if options.new is not None:
        try:
            print(f"Written: book/{begin(options.new).name}\n{new_chapter.left_to_do(options.new)}")
        except ValueError as error:
            parser.error(str(error))
        return 0
    differing = []
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = text_of(json.loads(before), current_slug(ROOT))
        if before != after:
            differing.append(path.name)
            if not options.check:
                write_whole(path, after.encode())
    if differing:
        print(f"{'Differ: run python -m tools.notebooks:' if options.check else 'Written:'} {', '.join(differing)}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
