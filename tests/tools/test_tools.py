import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tools import build_book, notebooks, repository

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that carry the repository's address."""
    for path in repository.carriers(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_every_file_agrees_on_the_address():
    assert repository.disagreements(ROOT) == []


def test_repointing_changes_every_place_and_nothing_else(copy):
    old = repository.current_slug(copy)
    changed = repository.repoint(copy, "Ada-L/engine.py")
    assert copy / "README.md" in changed
    assert repository.current_slug(copy) == "Ada-L/engine.py"
    assert repository.disagreements(copy) == []
    for path in repository.carriers(copy):
        assert old not in path.read_text(), path
    repository.repoint(copy, old)
    for path in repository.carriers(copy):
        assert path.read_text() == (ROOT / path.relative_to(copy)).read_text()


@pytest.mark.parametrize("slug", ["", "name", "a/b/c", "-a/b", "a b/c", "a/b;rm", "$(x)/y", "a/..", "a/b.git"])
def test_a_bad_slug_changes_nothing(copy, slug):
    before = {path: path.read_text() for path in repository.carriers(copy)}
    with pytest.raises(ValueError, match="owner/name"):
        repository.repoint(copy, slug)
    assert before == {path: path.read_text() for path in repository.carriers(copy)}


#: What conda-forge calls packages that have another name on PyPI.
CONDA = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}


def test_environment_yml_is_pyproject_plus_the_book_under_condas_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    by_conda = [entry for entry in environment if isinstance(entry, str) and not re.match(r"python|pip$", entry)]
    by_conda = [re.sub(r"^[\w-]+", lambda name: CONDA.get(name[0], name[0]), entry) for entry in by_conda]
    assert sorted(by_conda + by_pip) == sorted(project["dependencies"] + project["optional-dependencies"]["book"])
    assert by_pip == ["sphinx-mathjax-offline>=0.0.2"], "conda-forge has the others"
    assert f"python{project['requires-python']}" in environment


def test_binder_takes_what_a_chapter_needs_to_run_and_nothing_that_builds_the_book():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    builds = re.compile(r"jupyter-book|sphinx")
    wanted = [entry for entry in project["optional-dependencies"]["book"] if not builds.match(entry)]
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line[0] not in "#-"] == project["dependencies"] + wanted
    assert project["optional-dependencies"]["offline"][0] in (ROOT / "binder" / "postBuild").read_text()
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


def test_the_changelog_tells_of_this_version_and_of_what_comes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text
    assert re.search(rf"^## {re.escape(project['version'])} - \d{{4}}-\d\d-\d\d$", text, re.M)


def test_the_lock_pins_every_requirement_and_leaves_cuda_to_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {re.split(r"==", line)[0] for line in lines if not line.startswith("#")}
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["book"], *extras["dev"]]:
        assert re.split(r"[<>=]", requirement)[0].lower() in pinned, requirement
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]
    assert all("==" in line for line in lines if not line.startswith("#"))


def test_the_version_stands_in_step():
    import blockprune_lib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert blockprune_lib.__version__ == project["version"] == citation["version"]


def test_notebooks_are_in_their_one_form():
    for path in (ROOT / "book").glob("*.ipynb"):
        text = path.read_text()
        expected = notebooks.normalised(json.loads(text), repository.current_slug(ROOT))
        assert text == json.dumps(expected, indent=1, ensure_ascii=False) + "\n", (
            f"run python -m tools.notebooks: {path}"
        )


def test_normalising_strips_outputs_and_widget_state():
    cell = {"cell_type": "code", "metadata": {"tags": ["setup"], "x": 1}, "source": "# set-up", "outputs": [1]}
    dirty = {"cells": [cell], "metadata": {"widgets": {}, "blockprune": {"laptop_seconds": 3}}}
    clean = notebooks.normalised(dirty, "ada/engine")
    assert clean["cells"][0]["outputs"] == []
    assert clean["cells"][0]["metadata"] == {"tags": ["setup"]}
    assert 'book = "https://github.com/ada/engine"' in "".join(clean["cells"][0]["source"])
    assert "widgets" not in clean["metadata"]
    assert notebooks.normalised(clean, "ada/engine") == clean


@pytest.mark.parametrize("missing", [True, False])
def test_the_setup_cell_fetches_the_recorded_runs_where_the_library_is_missing(missing, tmp_path, monkeypatch):
    asked = []

    def run(command, check):
        asked.append(command)
        if command[0] == "git":
            (tmp_path / command[-1] / "book" / "results").mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", run)
    there, left = SimpleNamespace(origin="/a/place/__init__.py"), SimpleNamespace(origin=None)
    found = {"blockprune_lib": left, "numba": None} if missing else {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found.get(name, there))
    monkeypatch.chdir(tmp_path)
    cell = notebooks.SETUP.format(slug="ada/engine").partition("\n\n# Waiting")[0]
    for _ in range(2):  # as where a reader runs the cell again, or restarts: the library is there
        exec(cell, {})
        assert (tmp_path / "results").is_dir() == missing
        found.clear()
    wanted = [["./the-book"], ["numba"]] if missing else []
    assert [command[-1:] for command in asked[1:]] == wanted


def project(tmp_path):
    for name, text in {"requirements.lock": "a==1", "blockprune_lib/x.py": "1", "book/results/r.json": "{}"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", ["requirements.lock", "blockprune_lib/x.py", "book/results/r.json"])
def test_the_cache_key_sees_library_lock_and_results(tmp_path, name):
    root = project(tmp_path)
    before = build_book.cache_key(root, {})
    assert before == build_book.cache_key(root, {})
    (root / name).write_text("changed")
    assert before != build_book.cache_key(root, {})


def test_the_cache_key_sees_the_data_source(tmp_path):
    root = project(tmp_path)
    folder = tmp_path / "glue" / "rte"
    folder.mkdir(parents=True)
    environment = {"BLOCKPRUNE_GLUE_DIR": str(folder.parent)}
    keys = {build_book.cache_key(root, {}), build_book.cache_key(root, environment)}
    (folder / "train.jsonl.gz").write_bytes(b"x")
    keys.add(build_book.cache_key(root, environment))
    assert len(keys) == 3


def test_a_relative_text_folder_is_resolved_from_where_make_was_called(tmp_path):
    environment = build_book.execution_environment({"BLOCKPRUNE_GLUE_DIR": "../glue"}, tmp_path / "project")
    assert environment["BLOCKPRUNE_GLUE_DIR"] == str(tmp_path / "glue")
    assert "BLOCKPRUNE_GLUE_DIR" not in build_book.execution_environment({}, tmp_path)


def test_a_changed_key_clears_what_was_built(tmp_path):
    for name in (".jupyter_cache", ".doctrees", "html"):
        (tmp_path / name).mkdir()
    (tmp_path / ".key").write_text("old")
    assert build_book.clear_stale(tmp_path, "new")
    assert not (tmp_path / ".jupyter_cache").exists()
    (tmp_path / ".key").write_text("new")
    assert not build_book.clear_stale(tmp_path, "new")


def test_an_interrupted_build_keeps_its_chapters_and_reads_every_page_again(tmp_path):
    for name in (".jupyter_cache", ".doctrees"):
        (tmp_path / name).mkdir()
    (tmp_path / ".started").write_text("same")
    assert build_book.clear_stale(tmp_path, "same")
    assert (tmp_path / ".jupyter_cache").exists()
    assert not (tmp_path / ".doctrees").exists()


def test_a_chapter_over_its_time_is_a_problem():
    assert build_book.over_budget({"a.ipynb": 60.0}, {"a.ipynb": 89.0}) == []
    assert "took 91 s" in build_book.over_budget({"a.ipynb": 60.0}, {"a.ipynb": 91.0})[0]
    assert "was not run" in build_book.over_budget({"a.ipynb": 60.0}, {})[0]
