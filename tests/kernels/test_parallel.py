"""The kernels in the process they live in: threads, forks, start-up, the cache, and other processors."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from blockprune_lib import BlockStructure, pack
from blockprune_lib.kernels import linear, linear_reference, parallel

from ..helpers.references import structure_texts

TEXTS = (*structure_texts((16, 32)), "tile:32x32", "block_column:5")

# Run in a process of its own; prints the lanes and the largest error over the structures, forwards and back.
COMPARE = """
import json, sys, torch
from blockprune_lib import BlockStructure, pack
from blockprune_lib.kernels import linear, linear_reference
torch.manual_seed(0)
error = 0.0
for text in TEXTS:
    weight = torch.randn(70, 96)
    s = BlockStructure.parse(text)
    weight *= (torch.rand(s.grid(weight.shape)) < 0.4).repeat_interleave(s.group_shape(weight.shape)[0], 0)[:70] \\
        .repeat_interleave(s.group_shape(weight.shape)[1], 1)[:, :96]
    packed, bias = pack(weight, s), torch.randn(70)
    for tokens in (1, 7, 40):
        x = torch.randn(tokens, 96, requires_grad=True)
        y = linear(x, packed, bias)
        want = linear_reference(x.detach(), packed.values, packed.columns, packed.offsets, packed.shape, bias)
        error = max(error, float((y.detach().double() - torch.from_numpy(want)).abs().max()))
        y.sum().backward()
        error = max(error, float((x.grad - weight.sum(0)).abs().max()))
from blockprune_lib.machine.simd import LANES, WIDTH
print(json.dumps({"lanes": LANES, "width": WIDTH, "error": error}))
""".replace("TEXTS", repr(TEXTS))


def in_process(code: str, **variables: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=os.environ | variables, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The comparison compiled for an AVX2 machine and for the least x86-64 (or Arm) machine there is, side by side."""

    def report(processor: str) -> str:
        features = {} if processor == "haswell" else {"NUMBA_CPU_FEATURES": ""}
        folder = str(tmp_path_factory.mktemp(processor))
        return in_process(COMPARE, NUMBA_CPU_NAME=processor, NUMBA_CACHE_DIR=folder, **features)

    processors = ["generic", *(["haswell"] if "avx2" in _features() else [])]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(processors, pool.map(report, processors), strict=True))


@pytest.mark.parametrize("processor", ["haswell", "generic"])
def test_other_processors(processor: str, reports: dict[str, str]) -> None:
    if processor not in reports:
        pytest.skip("this machine cannot run code for haswell")
    report = json.loads(reports[processor])
    assert report["lanes"] == {"haswell": 8, "generic": 4}[processor]
    assert report["error"] < 1e-4


def _features() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text() if cpuinfo.exists() else ""


def test_kernels_come_from_the_cache_in_the_next_process(tmp_path: Path) -> None:
    code = """
from blockprune_lib.kernels import parallel, layer_product
print(parallel.compile_worker(layer_product.product_worker)[2].cache_hits)
"""
    runs = [in_process(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert runs == ["0", "1"]
    assert len(list(tmp_path.rglob("*.nbc"))) == 1  # a second process adds nothing


def _problem(text: str = "block_column:16", seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    packed = pack(torch.randn(64, 96, generator=generator), BlockStructure.parse(text))
    x = torch.randn(50, 96, generator=generator)
    want = linear_reference(x, packed.values, packed.columns, packed.offsets, packed.shape)
    return x, packed, want


@pytest.fixture
def _restore_threads():  # type: ignore[no-untyped-def]
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_restore_threads")
@pytest.mark.parametrize("text", TEXTS)
def test_the_number_of_threads_changes_no_bit(text: str) -> None:
    x, packed, want = _problem(text)
    results = []
    for count in (1, 2, 5, 1, 3):
        torch.set_num_threads(count)
        results.append(linear(x, packed))
    assert all(torch.equal(result, results[0]) for result in results)
    assert np.abs(results[0].numpy() - want).max() < 1e-4


@pytest.mark.usefixtures("_restore_threads")
@pytest.mark.parametrize("team", [True, False])
def test_calls_from_many_python_threads(team: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not team:
        monkeypatch.setattr(parallel, "_torch_team", lambda: None)
    torch.set_num_threads(2)
    problems = [_problem(text, seed) for seed, text in enumerate(TEXTS)]
    wrong: list[float] = []

    def work(number: int) -> None:
        torch.set_num_threads(2)
        x, packed, want = problems[number]
        for _ in range(30):
            error = np.abs(linear(x, packed).numpy() - want).max()
            if error > 1e-4:
                wrong.append(error)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(len(problems))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def _in_child(queue: "multiprocessing.Queue[tuple[bool, float]]", count: int, problem: tuple) -> None:
    # Nothing of torch's own may run on two threads here: its OpenMP team is gone, and it waits for it for ever.
    torch.set_num_threads(count)
    x, packed, want = problem
    queue.put((parallel._forked, float(np.abs(linear(x, packed).numpy() - want).max())))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("count", [1, 2])
def test_a_forked_child_computes(count: int) -> None:
    """After the parent used torch's team, as DataLoader workers are: their OpenMP threads are gone."""
    x, packed, want = _problem()
    linear(x, packed)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, count, (x, packed, want)))
    child.start()
    forked, error = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert forked, "then Python threads do the work"
    assert error < 1e-4


def test_what_multiplies_nothing_loads_no_compiler() -> None:
    code = """
import sys, blockprune_lib as bp
from blockprune_lib.kernels import linear_reference
bp.kernels, bp.machine, bp.pack, bp.select_model, bp.ReweightedGroupLasso, bp.compare, bp.hardware
print('numba' in sys.modules)
"""
    assert in_process(code) == "False"
    assert in_process("import sys, blockprune_lib as bp; bp.linear; print('numba' in sys.modules)") == "True"
