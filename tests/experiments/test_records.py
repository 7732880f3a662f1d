"""Records: checked when written and when read, whole or not at all; a damaged one is named, never passed over."""

import copy
import errno
import json
import os
from pathlib import Path

import pytest

from blockprune_lib.experiments import records

from ..helpers.record_of import record_of


def test_what_is_saved_is_read(tmp_path):
    record = record_of()
    records.save(record, tmp_path / "one.json")
    assert records.read(tmp_path / "one.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.parametrize("key", [key for key in records.SCHEMA["required"] if key != "format"])
def test_a_record_that_lacks_a_key_is_neither_written_nor_read(key, tmp_path):
    record = record_of()
    del record[key]
    path = tmp_path / "one.json"
    with pytest.raises(ValueError, match=key):
        records.save(record, path)
    assert not path.exists()
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"one\.json' is not a whole record: .*{key}.*; delete it"):
        records.read(path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("run", "rate"), "five"),
        (("run", "seed"), 1.5),
        (("run", "structure"), None),
        (("examples",), "100"),
        (("stages", 0, "steps"), None),
        (("stages", 0, "near_zero"), 0.5),
        (("final",), [0.5]),
    ],
)
def test_a_value_of_another_type_is_named(where, value, tmp_path):
    record = copy.deepcopy(record_of())
    part = record
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    with pytest.raises((TypeError, ValueError), match=str(where[-1])):
        records.save(record, tmp_path / "one.json")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is damaged"),
        ('{"format": "blockprune run, version 1", "na', "is damaged"),
        ("[1, 2]", "format must be 'blockprune run, version 1'; got None"),
        ('{"format": "blockprune run, version 2"}', "format must be .*; got 'blockprune run, version 2'"),
    ],
)
def test_a_damaged_record_is_named(content, says, tmp_path):
    (tmp_path / "records").mkdir()
    path = tmp_path / "records" / "one.json"
    path.write_text(content)
    for read in (lambda: records.read(path), lambda: records.read_all(tmp_path)):
        with pytest.raises(ValueError, match=rf"one\.json'.*{says}"):
            read()


def test_a_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    path = tmp_path / "one.json"
    records.save(record_of(seed=1), path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        records.save(record_of(seed=2), path)
    assert records.read(path)["run"]["seed"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["one.json"]


def test_all_records_under_a_folder_in_the_order_of_their_names(tmp_path):
    for number in (2, 1):
        (tmp_path / f"study{number}").mkdir()
        records.save(record_of(seed=number), tmp_path / f"study{number}" / "one.json")
    (tmp_path / "study1" / "other.json").write_text('{"format": "something else"}')
    (tmp_path / "notes.txt").write_text(records.FORMAT)
    assert [record["run"]["seed"] for record in records.read_all(tmp_path)] == [1, 2]
    assert [record["run"]["seed"] for record in records.read_all(tmp_path / "study2" / "one.json")] == [2]


def test_what_a_run_deletes_while_a_folder_is_read_is_passed_over(tmp_path, monkeypatch):
    """As a stage deletes its checkpoints; a record that is lost meanwhile is said all the same."""
    records.save(record_of(), tmp_path / "one.json")
    gone = tmp_path / "checkpoints" / "checkpoint-2" / "whole.json"
    monkeypatch.setattr(records, "files_under", lambda folder: [gone, folder / "one.json"])
    assert len(records.read_all(tmp_path)) == 1
    monkeypatch.setattr(records, "files_under", lambda folder: [folder / "records" / "two.json"])
    with pytest.raises(ValueError, match=r"two.json' cannot be read"):
        records.read_all(tmp_path)


def test_a_folder_below_home_and_what_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    records.save(record_of(), tmp_path / "mine" / "one.json")
    assert len(records.read_all("~/mine")) == 1
    with pytest.raises(TypeError, match="folder must be a path; got None"):
        records.read_all(None)


def test_folders_without_a_record(tmp_path):
    with pytest.raises(ValueError, match="holds no record of blockprune run"):
        records.read_all(tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        records.read_all(tmp_path / "none")
    with pytest.raises(ValueError, match="cannot be read"):
        records.read(tmp_path / "none.json")


@pytest.mark.parametrize("study", ["first-study", "study", "study-cpu"])
def test_every_record_of_a_study_is_read_as_it_stands(study):
    paths = sorted((Path(__file__).resolve().parents[2] / "book" / "results" / study).glob("*.json"))
    assert paths
    for path in paths:
        assert records.read(path) == json.loads(path.read_text(encoding="utf-8"))
