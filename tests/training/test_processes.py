"""Two processes that share the work come to what one comes to, and agree with each other to the last bit."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ..helpers.stages_by_name import STAGES

ROOT = Path(__file__).resolve().parents[2]


def run_alone(folder: Path, count: int) -> None:
    """Every stage without dropout in `count` processes."""
    command = [sys.executable, "-m"]
    if count > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(count), "--standalone", "-m"]
    command += ["tests.helpers.stages_by_name", *STAGES, str(folder), "--dropout", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    folder.mkdir()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    base = tmp_path_factory.mktemp("processes")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda count: run_alone(base / str(count), count), (1, 2)))
    return {count: base / str(count) for count in (1, 2)}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("stage", list(STAGES))
def test_two_processes_give_what_one_gives(stage: str, folders: dict[int, Path]) -> None:
    one = torch.load(folders[1] / f"{stage}-0.pt", weights_only=True)
    first, second = (torch.load(folders[2] / f"{stage}-{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), f"{name} differs between the ranks"
    for name, mask in first["masks"].items():
        assert torch.equal(mask, second["masks"][name]), f"{name}: the ranks chose other masks"
        assert torch.equal(mask, one["masks"][name]), f"{name}: two processes chose another mask than one"
    if stage == "taught-hidden":
        return  # each process divides by the variance of the teacher's states at the tokens that it sees
    for name, weight in one["weights"].items():
        torch.testing.assert_close(first["weights"][name], weight, rtol=2e-2, atol=2e-4, msg=f"{name} is another")


def test_only_one_process_writes_and_the_report_counts_both(folders: dict[int, Path]) -> None:
    import json

    for count, folder in folders.items():
        report = json.loads((folder / "fine-tune" / "fine-tune" / "report.json").read_text())["report"]
        assert report["processes"] == count
        assert report["settings"]["batch_size"] == 8
        assert report["steps"] == 30
