"""Files appear whole or not at all, and are read by whom the umask lets."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blockprune_lib._common import files
from blockprune_lib._common.exchange import exchanged
from blockprune_lib._common.files import usual_modes, whole_folder, write_json, write_tensors, write_whole


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_way_to_write_gives_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"1")
    write_json(tmp_path / "b", {})
    write_tensors(tmp_path / "c", {"x": torch.arange(3)})
    assert {mode(path) for path in tmp_path.iterdir()} == {0o666 & ~umask}
    assert len(list(tmp_path.iterdir())) == 3
    assert torch.equal(load_file(tmp_path / "c")["x"], torch.arange(3))


@pytest.mark.parametrize("name", ["x" * 250, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 85, "a b\n#%?'"])
def test_every_name_that_the_system_takes_can_be_written(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / name, 1)
    (tmp_path / "folders").mkdir()
    for content in ("1", "2"):
        with whole_folder(tmp_path / "folders" / name) as scratch:
            (scratch / "a").write_text(content)
    assert (tmp_path / "folders" / name / "a").read_text() == "2"
    assert {path.name for path in tmp_path.rglob("*")} == {name, "folders", "a"}


def test_files_of_others_are_opened_and_never_closed(umask: int, tmp_path: Path) -> None:
    for name, given in {"private": 0o600, "program": 0o755, "read only": 0o400}.items():
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(given)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    usual_modes(tmp_path)
    usual = 0o666 & ~umask
    assert mode(tmp_path / "private") == 0o600 | usual
    assert mode(tmp_path / "program") == 0o755 | usual
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "private", "program", "read only"]


def test_tensors_that_cannot_be_written_leave_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tensors(tmp_path / "x", {"a": torch.ones(2)})

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_tensors(tmp_path / "x", {"a": torch.zeros(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert load_file(tmp_path / "x")["a"].tolist() == [1, 1]


def test_a_symbolic_link_stays_one_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "run-3").mkdir()
    for name, there in (("latest", "run-3"), ("next", "run-4")):
        (tmp_path / name).symlink_to(there)
        with whole_folder(tmp_path / name) as scratch:
            (scratch / "weights").write_text("new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / there / "weights").read_text() == "new"
    (tmp_path / "record.json").symlink_to(tmp_path / "run-3" / "kept.json")
    write_whole(tmp_path / "record.json", b"{}")
    assert (tmp_path / "record.json").is_symlink()
    assert (tmp_path / "run-3" / "kept.json").read_bytes() == b"{}"


@pytest.mark.parametrize("in_one_step", [True, False])
def test_folders_written_at_once_are_each_whole_and_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    wrong = list[BaseException]()
    if not in_one_step:
        monkeypatch.setattr(files, "exchanged", lambda *_: False)

    def write(name: str) -> None:
        try:
            for _ in range(30):
                with whole_folder(tmp_path / "model") as scratch:
                    for part in ("a", "b"):
                        (scratch / part).write_text(name)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
    assert (tmp_path / "model" / "a").read_text() == (tmp_path / "model" / "b").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_a_folder_that_is_replaced_is_there_at_every_moment(tmp_path: Path) -> None:
    missed, done = list[int](), threading.Event()
    with whole_folder(tmp_path / "model") as scratch:
        (scratch / "a").write_text("0")

    def watch() -> None:
        while not done.is_set():
            if not (tmp_path / "model").is_dir():
                missed.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(300):
        with whole_folder(tmp_path / "model") as scratch:
            (scratch / "a").write_text(str(number))
    done.set()
    watcher.join()
    assert not missed
    assert (tmp_path / "model" / "a").read_text() == "299"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_two_names_swap_or_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert not exchanged(tmp_path / "one", tmp_path / "none")
    assert not exchanged(tmp_path / "none", tmp_path / "one")
    swapped = exchanged(tmp_path / "one", tmp_path / "other")
    assert swapped == (tmp_path / "one" / "other").exists() == (tmp_path / "other" / "one").exists()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not exchanged(tmp_path / "one", tmp_path / "other")


def test_a_folder_that_cannot_take_the_place_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "exchanged", lambda *_: False)  # a system without the call
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("earlier")
    own = os.replace

    def full(source: Path, target: Path) -> None:
        if str(source).endswith(".tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")
        own(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"), whole_folder(tmp_path / "model") as scratch:
        (scratch / "a").write_text("later")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "earlier"
