"""Build the wheel and the sdist from a clean copy of the tracked files, and hold them to what they should carry."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "blockprune_lib"
#: No file of the distribution may be larger, nor either of them twice as large.
MOST_BYTES = 1_000_000
_BUILD = "import sys, setuptools.build_meta as b; to = sys.argv[1]; b.build_wheel(to); b.build_sdist(to)"


def build(target: Path, root: Path = ROOT) -> tuple[Path, Path]:
    """Build both into `target`, from the files that git tracks or would; returns (wheel, sdist)."""
    target.mkdir(parents=True, exist_ok=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    with tempfile.TemporaryDirectory() as copy:
        for name in listed:
            if (root / name).is_file():
                (Path(copy) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, Path(copy) / name)
        command = [sys.executable, "-c", _BUILD, str(target.resolve())]
        done = subprocess.run(command, cwd=copy, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the distributions cannot be built: {done.stderr[-2000:]}")
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


def faults(wheel: Path, sdist: Path, root: Path = ROOT) -> list[str]:
    """A sentence for each file that is missing from a distribution, or that has no business there."""
    wanted = {
        path.relative_to(root).as_posix()
        for pattern in ("*.py", "*.pyi", "*.js", "py.typed")
        for path in (root / LIBRARY).rglob(pattern)
    }
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {entry.filename: entry.file_size for entry in archive.infolist()}
    with tarfile.open(sdist) as archive:
        in_sdist = {entry.name.partition("/")[2]: entry.size for entry in archive.getmembers() if entry.isfile()}
    found = [f"the wheel lacks {name}" for name in sorted(wanted - set(in_wheel))]
    found += [f"the sdist lacks {name}" for name in sorted({*wanted, "README.md", "LICENSE"} - set(in_sdist))]
    extra = [name for name in in_wheel if not name.startswith(LIBRARY)]
    found += [f"the wheel holds {name}" for name in extra]
    bulk = [name for name in in_sdist if name.startswith(("book/", "recipes/", "_build/", "binder/"))]
    found += [f"the sdist holds {name}" for name in bulk]
    for what, files in (("wheel", in_wheel), ("sdist", in_sdist)):
        found += [f"{name} in the {what} weighs {size:,} bytes" for name, size in files.items() if size > MOST_BYTES]
    both = ((wheel, wheel.stat().st_size), (sdist, sdist.stat().st_size))
    return found + [f"{path.name} weighs {size:,} bytes" for path, size in both if size > 2 * MOST_BYTES]


def main() -> int:
    """Build into dist/ and check; return the exit status."""
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    wheel, sdist = build(target)
    wrong = faults(wheel, sdist)
    print("\n".join(wrong) or f"{wheel.name} and {sdist.name} hold what they should, in {target}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
