"""Folders that belong to one thing: whose they are, and whether their files are whole."""

import errno
import os
from pathlib import Path

import pytest

from blockprune_lib._common.folders import (
    as_path,
    check_place,
    damage,
    explain_write_errors,
    inventory,
    refuse_another,
    refuse_foreign_files,
)


def test_scratch_files_of_a_killed_run_are_not_foreign(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".stage.json.1234.tmp").write_text("{")
    refuse_foreign_files(tmp_path)


def test_lists_of_files_tell_what_differs(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    files = inventory([tmp_path / "a"])
    assert damage(tmp_path, files) == ""
    (tmp_path / "a").write_bytes(b"13")
    assert "other content" in damage(tmp_path, files)
    assert "missing" in damage(tmp_path, {"b": [1, 1]})


def test_differences_are_named_by_key() -> None:
    refuse_another({"a": {"b": 1}, "c": [1]}, {"c": [1], "a": {"b": 1}}, "x")
    with pytest.raises(ValueError, match=r"x: a.b is 1 there, 2 here; d is None there, 3 here; name another"):
        refuse_another({"a": {"b": 1}}, {"a": {"b": 2}, "d": 3}, "x")


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "make room and run the same again"), (errno.EROFS, "another folder would do"),
     (errno.EACCES, "another folder would do")],
)  # fmt: skip
def test_a_failure_to_write_says_what_would_do(number: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=said) as told, explain_write_errors(tmp_path / "model"):
        raise OSError(number, os.strerror(number))
    assert ("MB free" in str(told.value)) == (number == errno.ENOSPC)


def test_a_link_to_nothing_yet_is_a_place_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("far/off")
    assert check_place(tmp_path / "link") == tmp_path / "far" / "off"
    (tmp_path / "far" / "off").mkdir(parents=True)
    assert check_place(tmp_path / "link") == tmp_path / "link"
    (tmp_path / "loop").symlink_to("loop")
    for place in ("loop", "loop/deeper"):
        with pytest.raises(ValueError, match=r"loop' cannot be made .*: runs/mine would do"):
            check_place(tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "link", "loop"]


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"folder must be a path without a null character; got 'a.*b': 'runs/mine'"):
        as_path("a\0b")
    with pytest.raises(ValueError, match=r"folder must be a path in UTF-8; got .*which has other bytes: 'runs/mine'"):
        as_path(os.fsdecode(b"runs/\xff"))
    assert as_path("ünï-\N{GRINNING FACE}").name == "ünï-\N{GRINNING FACE}"
