"""Write requirements.lock: every package of the book's environment, resolved from pyproject.toml by `uv pip compile`.

What is locked stays as it is where it still fits; `--upgrade` takes the newest of everything.

torch's CUDA libraries are left out on purpose: they are torch's own dependencies, so pip adds the ones that the
wheel it picks needs, and none for a CPU build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
LEFT_TO_TORCH = ("cuda-", "nvidia-", "triton")
TORCH = "torch==2.13.0"
HEADER = "# Written by `python -m tools.lock` (needs uv): the book's environment. The library has lower bounds only.\n"


def main(arguments: list[str] | None = None) -> int:
    """Resolve and write the lock; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything, not what is locked")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        constraint, found = Path(folder) / "constraint.txt", Path(folder) / "requirements.txt"
        constraint.write_text(TORCH + "\n")
        if not options.upgrade:
            shutil.copy(LOCK, found)  # uv keeps the versions that stand where it writes
        command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "pyproject.toml"]
        command += ["--extra", "book", "--extra", "peers", "--extra", "serve", "--extra", "dev"]
        command += ["--constraint", str(constraint)]
        command += ["--no-annotate", "--no-header", "--quiet", "--output-file", str(found)]
        subprocess.run(command, cwd=ROOT, check=True)
        text = found.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith((*LEFT_TO_TORCH, "#"))]
    temporary = LOCK.with_name("requirements.lock.new")
    temporary.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, LOCK)
    print(f"requirements.lock: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
