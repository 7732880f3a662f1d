"""Run chapters as Colab does: each alone in an empty folder, top to bottom, on whatever Python runs this.

Where the library is not installed, each chapter's set-up cell fetches and installs it, as on a machine of its own.
`python -m tools.alone` runs all; names run those; `--since REF` runs the ones that differ from a commit.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
LIBRARY = "blockprune-lib"


def changed(since: str, root: Path = ROOT) -> list[str]:
    """The chapters that differ from a commit."""
    command = ["git", "diff", "--name-only", "--diff-filter=d", since, "--", "book/*.ipynb"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    return [Path(name).stem for name in names]


def run(path: Path, timeout: int = 600) -> tuple[float, str]:
    """Run one notebook in an empty folder; returns its seconds and what went wrong, empty where nothing did."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    notebook = nbformat.read(path, as_version=4)
    began, wrong = time.monotonic(), ""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError) as error:
            wrong = str(error)
    return time.monotonic() - began, wrong


def installed() -> bool:
    """Whether this Python has the library."""
    importlib.invalidate_caches()
    return any(found.name == LIBRARY for found in importlib.metadata.distributions())


def main(arguments: list[str] | None = None) -> int:
    """Run chapters; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="chapters, such as whole-story; all where none is named")
    parser.add_argument("--since", metavar="REF", help="only the chapters that differ from this commit")
    options = parser.parse_args(arguments)
    known = sorted(path.stem for path in BOOK.glob("*.ipynb"))
    names = changed(options.since) if options.since else options.names or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"names must be chapters; got {', '.join(unknown)}: there are {', '.join(known)}")
    failed, bare = 0, not installed()
    for name in names:
        seconds, wrong = run(BOOK / f"{name}.ipynb")
        if bare and installed():
            subprocess.run([sys.executable, "-m", "pip", "uninstall", "-q", "-y", LIBRARY], check=True)
        print(f"{name:32} {seconds:6.1f} s {'failed' if wrong else 'ran'}", flush=True)
        if wrong:
            print(wrong, file=sys.stderr)
            failed += 1
    print(f"{len(names) - failed} chapters ran, {failed} failed, each alone in an empty folder.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
