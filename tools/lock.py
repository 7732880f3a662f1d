"""Write requirements.lock: every package of the book's environment, resolved from pyproject.toml by `uv pip compile`.

torch's CUDA libraries are left out on purpose: they are torch's own dependencies, so pip adds the ones that the
wheel it picks needs, and none for a CPU build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_TO_TORCH = ("cuda-", "nvidia-", "triton")
TORCH = "torch==2.13.0"
HEADER = "# Written by `python -m tools.lock` (needs uv): the book's environment. The library has lower bounds only.\n"


def main() -> int:
    """Resolve and write the lock; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder) / "constraint.txt"
        constraint.write_text(TORCH + "\n")
        command = [
            "uv",
            "pip",
            "compile",
            "--universal",
            "--python-version",
            "3.11",
            "pyproject.toml",
            "--extra",
            "book",
        ]
        command += [
            "--extra",
            "peers",
            "--extra",
            "dev",
            "--constraint",
            str(constraint),
            "--no-annotate",
            "--no-header",
            "--quiet",
        ]
        result = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    lines = [line for line in result.stdout.splitlines() if line and not line.startswith((*LEFT_TO_TORCH, "#"))]
    temporary = ROOT / "requirements.lock.new"
    temporary.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, ROOT / "requirements.lock")
    print(f"requirements.lock: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
