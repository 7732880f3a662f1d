"""Machine code on disk: found again by the next process, never stale, done without where no folder can be written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import config
from numba.core import caching

import blockprune_lib
from blockprune_lib.machine import native as native_module
from blockprune_lib.machine.native import cache_folder, inner, native

NEIGHBOUR = """
from blockprune_lib.machine.native import inner

@inner
def more(x):
    return x + 1
"""
LOOPS = """
import numpy as np
from numba import carray
from blockprune_lib.kernels import parallel
from blockprune_lib.machine.native import native
from blockprune_lib.machine.simd import LANES, broadcast, store
from neighbour import more

@native
def fill(out):
    store(out, 0, broadcast(more(1)))

def worker(job):
    fields = carray(job, (3,))
    fields[2] = more(fields[2])

out = np.zeros(LANES, "f")
fill(out)
job, address = parallel.workspace().record(np.array([0, 0, 1]))
parallel.run(worker, address, 1)
assert (out == 2).all() and job[2] == 2
print(sum(fill.stats.cache_hits.values()), parallel.compile_worker(worker)[2].cache_hits)
"""


def a_library(folder: Path) -> Path:
    """A folder with a copy of the library that nothing was compiled for, and two files that use it."""
    source = Path(blockprune_lib.__file__).parent
    shutil.copytree(source, folder / "blockprune_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "neighbour.py").write_text(NEIGHBOUR)
    (folder / "loops.py").write_text(LOOPS)
    return folder


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[None]]]:
    """What happens over several processes, each in a library of its own; side by side, since each takes seconds."""
    with ThreadPoolExecutor(2) as pool:
        found = {}
        for story in (the_next_process, no_folder_to_write_to, the_compiler_switched_off):
            found[story.__name__] = pool.submit(story, a_library(tmp_path_factory.mktemp(story.__name__)))
        yield found


def test_the_next_process_finds_it_until_a_source_changes(stories: dict[str, Future[None]]) -> None:
    stories["the_next_process"].result()


def test_where_no_folder_can_be_written_every_process_compiles(stories: dict[str, Future[None]]) -> None:
    stories["no_folder_to_write_to"].result()


def test_a_user_who_switches_the_compiler_off_still_gets_results(stories: dict[str, Future[None]]) -> None:
    stories["the_compiler_switched_off"].result()


def run(library: Path, code: str = "import loops", **variables: str) -> str:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=plain | {"PYTHONPATH": str(library)} | variables, cwd=library,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def the_next_process(library: Path) -> None:
    simd, neighbour = library / "blockprune_lib/machine/simd.py", library / "neighbour.py"
    assert run(library) == "0 0"
    os.utime(simd)  # a fresh checkout of the same text
    assert run(library) == "1 1"
    neighbour.write_text(NEIGHBOUR.replace("x + 1", "1 + x"))
    assert run(library) == "0 0"
    before = simd.stat()
    simd.write_text(simd.read_text().replace("one vector register", "one vector Register"))
    os.utime(simd, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(library) == "0 0"
    assert run(library) == "1 1"


def no_folder_to_write_to(library: Path) -> None:
    for folder in (".", *(f"blockprune_lib/{name}" for name in ("machine", "kernels", "kernels/ladder"))):
        (library / folder / "__pycache__").write_text("")  # root may write anywhere, but not into a file
    before = sorted(library.rglob("*"))
    everything = """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from blockprune_lib.kernels.ladder import rungs
    from blockprune_lib.machine import gather
    assert not said  # nothing is compiled yet
    import loops
(one,) = (str(warning.message) for warning in said if warning.category is RuntimeWarning)
assert "no folder for it can be written" in one and "NUMBA_CACHE_DIR may name a folder" in one, one
"""
    assert [run(library, everything, HOME="/proc/none") for _ in range(2)] == ["0 0", "0 0"]
    assert sorted(library.rglob("*")) == before


def the_compiler_switched_off(library: Path) -> None:
    code = """
import numpy as np, torch, loops, blockprune_lib as bp
from blockprune_lib.kernels import CsrMatrix, ladder
from blockprune_lib.machine.peak import MultiplyAdds
assert CsrMatrix([2.0], [0], [0, 1], inputs=1).product(np.ones((1, 20))).tolist() == [[2.0] * 20]
packed = bp.pack(torch.eye(64), bp.BlockStructure.block_column(16))
assert torch.equal(bp.linear(torch.ones(3, 64), packed), torch.ones(3, 64))
assert ladder.RUNGS[0].source.startswith("def one_output")
assert MultiplyAdds(1).rates()[0] > 0
"""
    run(library, code, NUMBA_DISABLE_JIT="1")


def twice(x: np.ndarray) -> None:
    """Double in place."""
    for i in range(len(x)):
        x[i] *= 2


def test_options_are_passed_on_and_python_can_still_be_read() -> None:
    compiled = native(fastmath={"contract"})(twice)
    assert compiled.targetoptions["fastmath"] == {"contract"}
    assert compiled.targetoptions["nogil"]
    assert compiled.py_func is twice
    assert not inner(inline="always")(twice).targetoptions.get("nogil")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for machine code, and nothing said yet."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(native_module, "_said", [])
    return tmp_path


def loaded() -> int:
    """Compile or load `twice` as a new process would, and use it: 1 if it was loaded."""
    compiled, x = native(twice), np.ones(3)
    compiled(x)
    assert x.tolist() == [2.0] * 3
    return sum(compiled.stats.cache_hits.values())


def test_what_lies_in_a_folder_that_cannot_be_written_is_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [loaded(), loaded()] == [0, 1]
    assert (folder := cache_folder(twice)) is not None
    assert folder.parent == kept

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr("os.replace", read_only)
    assert cache_folder(twice) == folder
    assert loaded() == 1


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc", "*"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_file_is_passed_over_and_made_again(kept: Path, pattern: str, share: float) -> None:
    assert loaded() == 0
    for path in kept.rglob(pattern):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert [loaded(), loaded()] == [0, 1]


def test_a_full_disk_is_said_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    with pytest.warns(RuntimeWarning, match=r"No space left on device.*NUMBA_CACHE_DIR may name") as said:
        assert [loaded(), loaded()] == [0, 0]
    assert len(said) == 1


def test_the_date_of_a_file_does_not_matter(kept: Path) -> None:
    """As after COPY into an image: the same text with other dates."""
    compiled = native(twice)
    stamp = compiled._cache._cache_file._source_stamp
    assert all(isinstance(part, str) and len(part) == 64 for part in stamp)


def test_a_numba_that_hides_its_stamp_keeps_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(_: object) -> None:
        raise AttributeError("_source_stamp")

    monkeypatch.setattr(native_module, "_kernel_cache", lambda: hidden)
    with pytest.warns(RuntimeWarning, match="this version of Numba keeps it in another way"):
        assert [loaded(), loaded()] == [0, 0]
    assert cache_folder(twice) is None
