"""Build the book: run every chapter, write _build/html, and hold the chapters to the time they promise.

Jupyter Book's own cache sees a chapter's cells only. This command keys it on everything else that the numbers on a page
depend on as well: the library, the lock, recorded results, the text used, the interpreter and the processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
KEY_FILE = BUILD / ".key"
HARDWARE = BUILD / "hardware.json"


def cache_key(root: Path, environment: dict[str, str]) -> str:
    """Return the SHA-256 of all that a page's numbers depend on beside the chapter itself."""
    digest = hashlib.sha256()
    digest.update(f"{sys.version}|{platform.machine()}|{processor()}".encode())
    for path in _sources(root):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    folder = environment.get("BLOCKPRUNE_GLUE_DIR", "")
    digest.update(f"text|{folder}|{environment.get('HF_HUB_OFFLINE', '')}".encode())
    if folder and Path(folder).is_dir():
        for path in sorted(Path(folder).rglob("*.jsonl.gz")):
            digest.update(f"{path}|{path.stat().st_size}|{path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def execution_environment(environment: dict[str, str], start: Path) -> dict[str, str]:
    """Return the environment in which the chapters run: paths made absolute, this interpreter's own kernel first."""
    result = dict(environment)
    folder = result.get("BLOCKPRUNE_GLUE_DIR")
    if folder:
        # Chapters run inside book/, so a path relative to where `make` was called would point elsewhere.
        result["BLOCKPRUNE_GLUE_DIR"] = str((start / folder).resolve())
    result["JUPYTER_PREFER_ENV_PATH"] = "1"
    result.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    result.setdefault("TOKENIZERS_PARALLELISM", "false")
    result["BLOCKPRUNE_STATIC"] = "1"  # pages have no kernel: explorers are written out as HTML
    result["BLOCKPRUNE_HARDWARE"] = str(HARDWARE)  # chapters of one build give one measurement of its machine
    return result


def clear_stale(build: Path, key: str) -> bool:
    """Remove what an earlier build left where it no longer holds; return whether anything had to go."""
    stored = (build / ".key").read_text() if (build / ".key").exists() else ""
    if stored == key:
        return False
    # Without the finished build's key the chapters that did run are kept, and every page is read again.
    names = [".doctrees", "html", "jupyter_execute"]
    if stored or not (build / ".started").exists() or (build / ".started").read_text() != key:
        names.append(".jupyter_cache")
    for name in names:
        shutil.rmtree(build / name, ignore_errors=True)
    return True


def chapter_budgets(book: Path) -> dict[str, float]:
    """Return the seconds that each chapter promises for a laptop, from its notebook's metadata."""
    budgets = {}
    for path in sorted(book.glob("*.ipynb")):
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("blockprune", {})
        if "laptop_seconds" in metadata:
            budgets[path.name] = float(metadata["laptop_seconds"])
    return budgets


def chapter_seconds(cache: Path) -> dict[str, float]:
    """Return the seconds that each cached chapter took when it was last run."""
    from jupyter_cache import get_cache

    records = get_cache(str(cache)).list_cache_records() if cache.exists() else []
    latest = sorted(records, key=lambda record: record.created)
    return {Path(record.uri).name: float(record.data.get("execution_seconds", 0.0)) for record in latest}


def over_budget(budgets: dict[str, float], seconds: dict[str, float]) -> list[str]:
    """Return a sentence for each chapter that has not run, or that took well over what it promises.

    Half as long again is let pass: a build machine has neighbours, and the promise is for a quiet one.
    """
    problems = []
    for name, budget in budgets.items():
        if name not in seconds:
            problems.append(f"{name} promises {budget:.0f} s and was not run")
        elif seconds[name] > 1.5 * budget:
            problems.append(f"{name} took {seconds[name]:.0f} s; it promises at most {budget:.0f} s")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Build, check, and say how to open the book; return the exit status."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)  # takes none: what is mistyped builds nothing
    began = time.monotonic()
    environment = execution_environment(dict(os.environ), Path.cwd())
    key = cache_key(ROOT, environment)
    BUILD.mkdir(exist_ok=True)
    if clear_stale(BUILD, key):
        print("Running every chapter: the first build, or the library, the lock or the data have changed.", flush=True)
    KEY_FILE.unlink(missing_ok=True)
    HARDWARE.unlink(missing_ok=True)
    (BUILD / ".started").write_text(key)

    command = [
        str(Path(sys.executable).parent / "jupyter-book"),
        "build",
        "book",
        "--config",
        str(ROOT / "_config.yml"),
    ]
    command += ["--toc", str(ROOT / "_toc.yml"), "--path-output", ".", "-n", "-W", "--keep-going"]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    seconds, budgets = chapter_seconds(CACHE), chapter_budgets(ROOT / "book")
    for name, budget in budgets.items():
        if name in seconds:
            print(f"{name:32} ran in {seconds[name]:6.1f} s of the {budget:.0f} s it promises")
    problems = [] if status else over_budget(budgets, seconds)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if status or problems:
        print("The book did not build; see the messages above and _build/html/reports.", file=sys.stderr)
        return 1
    KEY_FILE.write_text(key)
    page = BUILD / "html" / "index.html"
    print(f"The book is built ({time.monotonic() - began:.0f} s). Open {page} or run 'make serve'.")
    return 0


def _sources(root: Path) -> Iterable[Path]:
    yield root / "requirements.lock"
    for folder, patterns in (("blockprune_lib", ("*.py", "*.pyi", "*.js")), ("book/results", ("*.json",))):
        for pattern in patterns:
            yield from sorted((root / folder).rglob(pattern))


if __name__ == "__main__":
    sys.exit(main())
