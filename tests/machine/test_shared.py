"""One measurement for all processes of a job."""

import json
import os
import subprocess
import sys

import pytest

from blockprune_lib.machine import shared

FACTS = {"cpu": "a processor", "usable_cores": 2, "versions": {"torch": "2.13"}, "l1d_bytes": None}
RECORD = FACTS | {"peak_core_gflops": 100.0, "spread": {}, "date": "2026-01-02"}


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "hardware ü.json"
    monkeypatch.setenv(shared.VARIABLE, str(path))
    return path


def test_what_one_wrote_another_reads(path):
    assert shared.read(FACTS) is None
    shared.write(RECORD)
    assert shared.read(FACTS) == RECORD == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "changed", [{"cpu": "another"}, {"usable_cores": 1}, {"versions": {"torch": "2.12"}}, {"l1d_bytes": 1}, {"new": 0}]
)
def test_that_of_another_machine_or_other_versions_is_not_used(path, changed):
    shared.write(RECORD)
    assert shared.read(FACTS | changed) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"3", b'{"cpu": "a proc', b"\xff\xfe"])
def test_a_file_that_is_not_whole_is_not_used(path, content):
    path.write_bytes(content)
    assert shared.read(FACTS) is None


def test_without_the_variable_or_its_folder_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.delenv(shared.VARIABLE, raising=False)
    shared.write(RECORD)
    assert shared.read(FACTS) is None
    for place in (tmp_path / "not" / "there.json", tmp_path):  # the second is a folder
        monkeypatch.setenv(shared.VARIABLE, str(place))
        shared.write(RECORD)
        assert shared.read(FACTS) is None
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_gives_the_first_ones_measurement(path):
    code = "import json, blockprune_lib as bp; print(json.dumps(bp.hardware().to_dict()))"
    dates = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        dates.append(json.loads(done.stdout))
    assert dates[0] == dates[1] == json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(dates[0] | {"torch_threads": 999}))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(done.stdout)["torch_threads"] != 999
