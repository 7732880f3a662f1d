"""Chapters run as Colab runs them: each in an empty folder, and without what an earlier one installed."""

import nbformat
import pytest

from tools import alone


@pytest.mark.parametrize(("before", "removed"), [(False, 2), (True, 0)])
def test_what_a_chapter_installs_is_gone_before_the_next(before, removed, monkeypatch, capsys):
    state, calls = {"installed": before}, []

    def run(path):
        assert state["installed"] == before
        state["installed"] = True  # as the set-up cell does
        return 1.5, ""

    def pip(command, check):
        calls.append(command[3:])
        state["installed"] = False

    monkeypatch.setattr(alone, "run", run)
    monkeypatch.setattr(alone, "installed", lambda: state["installed"])
    monkeypatch.setattr(alone.subprocess, "run", pip)
    assert alone.main(["blocks", "reweighting"]) == 0
    assert calls == [["uninstall", "-q", "-y", alone.LIBRARY]] * removed
    assert "2 chapters ran, 0 failed" in capsys.readouterr().out


def test_it_knows_that_this_python_has_the_library(monkeypatch):
    assert alone.installed()
    monkeypatch.setattr(alone, "LIBRARY", "no-such-library")
    assert not alone.installed()


@pytest.mark.parametrize("source", ["import os\nassert os.listdir() == []", "1 / 0"])
def test_a_notebook_runs_in_an_empty_folder_and_says_what_went_wrong(source, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "one.ipynb")
    _, wrong = alone.run(tmp_path / "one.ipynb", timeout=60)
    assert ("ZeroDivisionError" in wrong) == ("1 / 0" in source)
