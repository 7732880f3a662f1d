"""A stage that is killed goes on to the same result, and what is damaged on disk is told, not used."""

import copy
import json
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprune_lib.nn import load, sparsify
from blockprune_lib.training.stage_folder import (
    StageFolder,
    mark_whole,
)
from blockprune_lib.training.stages import fine_tune, prune, retrain
from blockprune_lib.training.trainer import PruningTrainer

from ..helpers.stages_by_name import DEATHS, STAGES
from ..helpers.tiny_training import DATA, ROWS, TOKENIZER, settings, tiny

ROOT = Path(__file__).resolve().parents[2]
VARYING = ("seconds", "cpu_seconds", "evaluation_seconds", "resumed", "settings")


def run_alone(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.helpers.stages_by_name", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)


# ---- killed, and taken up again


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    halves = [list(STAGES)[half::2] for half in (0, 1)]  # side by side, a core each
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda names: run_alone(*names, str(folder), "--kill"), halves))
    for names, done in zip(halves, found, strict=True):
        assert done.returncode == 0, done.stderr[-3000:]
        lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()[0] in STAGES}
        assert list(lines) == names
        for line in lines.values():  # undisturbed; killed by the system, each time; to the end
            assert line.endswith(f"[0, {', '.join(['-9'] * len(DEATHS))}, 0]"), done.stderr[-3000:]
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_that_is_killed_goes_on_to_the_same_result(stage: str, killed: Path) -> None:
    whole, resumed = (torch.load(killed / f"{stage}-{kind}.pt", weights_only=True) for kind in ("whole", "killed"))
    for part in ("weights", "masks"):
        assert set(whole[part]) == set(resumed[part])
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), f"{name} is another after a kill"
    assert resumed["report"]["resumed"] == len(DEATHS) - 1  # the last checkpoint but one died with its process
    assert without_times(whole["report"]) == without_times(resumed["report"])
    assert not list((killed / "killed" / stage).glob("*/checkpoints")), "a finished stage needs no checkpoints"


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in report.items() if key not in VARYING}
    plain["history"] = [
        {k: v for k, v in e.items() if "runtime" not in k and "second" not in k} for e in plain["history"]
    ]
    return plain


def test_a_finished_stage_is_read_and_not_trained_again(tmp_path: Path) -> None:
    chosen = settings(output_dir=tmp_path)
    first, model = tiny(), tiny()
    report = fine_tune(first, TOKENIZER, DATA, chosen)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = fine_tune(model, TOKENIZER, DATA, chosen)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert again.to_dict() == report.to_dict()
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])
    assert not model.training


@pytest.mark.filterwarnings("ignore:.*too dense to be faster:UserWarning")
def test_a_stage_of_a_packed_model_is_kept_read_and_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tiny()
    prune(start, ROWS, rate=3.0)
    sparsify(start, ROWS)
    first, again, cut_off = (copy.deepcopy(start) for _ in range(3))
    chosen = settings(output_dir=tmp_path / "run")
    report = fine_tune(first, TOKENIZER, DATA, chosen)
    folder = tmp_path / "run" / "fine-tune"
    assert fine_tune(again, TOKENIZER, DATA, chosen).to_dict() == report.to_dict()
    kept = load(folder).state_dict()
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        assert torch.equal(weight, kept[name])
    with pytest.raises(ValueError, match="block-sparse layers"):
        type(start).from_pretrained(folder)

    def die(trainer: PruningTrainer, *arguments: Any, **more: Any) -> Any:
        if trainer.state.global_step == 3:
            raise KeyboardInterrupt
        return own(trainer, *arguments, **more)

    own, elsewhere = PruningTrainer.compute_loss, settings(output_dir=tmp_path / "cut", checkpoint_every=2)
    with monkeypatch.context() as patch:
        patch.setattr(PruningTrainer, "compute_loss", die)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(copy.deepcopy(start), TOKENIZER, DATA, elsewhere)
    assert fine_tune(cut_off, TOKENIZER, DATA, elsewhere).resumed == 1
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, cut_off.state_dict()[name])


def test_a_folder_written_before_hooks_had_their_name_is_read(tmp_path: Path) -> None:
    model = tiny()
    masks = prune(model, ROWS, rate=3.0)
    report = retrain(model, TOKENIZER, DATA, masks, settings(output_dir=tmp_path, epochs=3))
    folder = tmp_path / "retrain"
    stage = json.loads((folder / "stage.json").read_text())
    assert list(stage) == ["stage", "settings", "data", "weights", "rules", "teacher"]
    assert list(stage["rules"]) == ["masks"]
    assert stage["settings"]["epochs"] == 3
    assert {path.name for path in folder.iterdir()} >= {"rules.json", "rules.safetensors"}
    again = tiny()
    prune(again, ROWS, rate=3.0)
    assert retrain(again, TOKENIZER, DATA, masks, settings(output_dir=tmp_path, epochs=3.0)) == report


# ---- a disk that fails


def test_a_checkpoint_that_cannot_be_written_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    model = tiny()
    size = 4 * sum(weight.numel() for weight in model.parameters())
    # The weights fit, the optimiser's state, twice as large, does not.
    failed = run_alone("fine-tune", str(tmp_path), "--limit", str(int(1.5 * size)))
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "checkpoint-3' could not be written" in last
    assert "make room and run the same again" in last
    assert run_alone("fine-tune", str(tmp_path)).returncode == 0
    report = json.loads(next(tmp_path.glob("fine-tune/*/report.json")).read_text())["report"]
    assert report["steps"] == 30


# ---- what lies on disk


def checkpoint(folder: Path, step: int) -> Path:
    place = folder / "checkpoints" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"weights" * 10)
    (place / "trainer_state.json").write_text("{}")
    mark_whole(place)
    return place


def cut_file(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"weights")


def flip_byte(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"Weights" + b"weights" * 9)


def lose_file(place: Path) -> None:
    (place / "trainer_state.json").unlink()


def lose_list(place: Path) -> None:
    (place / "whole.json").unlink()


def cut_list(place: Path) -> None:
    (place / "whole.json").write_text((place / "whole.json").read_text()[:20])


@pytest.mark.parametrize("damage", [cut_file, flip_byte, lose_file, lose_list, cut_list])
def test_the_newest_whole_checkpoint_counts(damage: Any, tmp_path: Path) -> None:
    stage = StageFolder(tmp_path, {"stage": "fine-tune"})
    stage.begin()
    assert stage.newest_checkpoint() is None
    old, new = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    (tmp_path / "checkpoints" / "checkpoint-x").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stage.newest_checkpoint() == new
    damage(new)
    with pytest.warns(UserWarning, match="checkpoint-10, which was cut short"):
        assert stage.newest_checkpoint() == old
    damage(old)
    with pytest.warns(UserWarning, match="checkpoint-9"):
        assert stage.newest_checkpoint() is None


def test_a_folder_of_another_stage_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
    with pytest.raises(ValueError, match=r"another stage: settings.learning_rate is 0.001 there, 0.002 here"):
        fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path, learning_rate=2e-3))
    with pytest.raises(ValueError, match=r"another stage: data is 'crc32"):
        fine_tune(tiny(), TOKENIZER, (DATA[0][:-1], DATA[1]), settings(output_dir=tmp_path))
    other = tiny()
    other.classifier.bias.data += 1
    with pytest.raises(ValueError, match=r"another stage: weights is"):
        fine_tune(other, TOKENIZER, DATA, settings(output_dir=tmp_path))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fine-tune").mkdir()
    (tmp_path / "fine-tune" / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"files of something else \(thesis.tex\)"):
        fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
    assert (tmp_path / "fine-tune" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_finished_stage_that_is_damaged_is_told(name: str, tmp_path: Path) -> None:
    fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
    place = tmp_path / "fine-tune" / name
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"is damaged: {name} has .* bytes; delete this folder"):
        fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
    shutil.rmtree(tmp_path / "fine-tune")
    fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))


def test_a_stage_or_report_file_that_is_cut_is_told(tmp_path: Path) -> None:
    fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
    for name in ("report.json", "stage.json"):
        place = tmp_path / "fine-tune" / name
        place.write_text(place.read_text()[:40])
        with pytest.raises(ValueError, match=rf"{name}' is damaged"):
            fine_tune(tiny(), TOKENIZER, DATA, settings(output_dir=tmp_path))
