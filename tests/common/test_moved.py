"""Old names of files that moved: every form of import finds today's module, and says its name."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import blockprune_lib as bp
from blockprune_lib._common import moved

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(moved.MOVED.items())


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    for old, _ in NAMES:
        package, _, name = f"blockprune_lib.{old}".rpartition(".")
        monkeypatch.delitem(sys.modules, f"blockprune_lib.{old}", raising=False)
        if package in sys.modules:
            monkeypatch.delitem(vars(sys.modules[package]), name, raising=False)


def floors():
    """{room: floor} of the contract in pyproject.toml, 0 at the bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == "Floors")
    return {room.strip(): floor for floor, rooms in enumerate(reversed(layers)) for room in rooms.split("|")}


FORMS = {
    "import": "import {old}\nfound = {old}",
    "from": "from {package} import {name} as found",
    "attribute": "import {package}\nfound = {package}.{name}",
    "from the file": "from {old} import __name__ as _\nimport {old} as found",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("old", "new"), NAMES)
def test_every_form_of_import_gives_todays_module_and_says_so_once(form, old, new):
    package, _, name = f"blockprune_lib.{old}".rpartition(".")
    code, scope = FORMS[form].format(old=f"blockprune_lib.{old}", package=package, name=name), {}
    script = compile(f"{code}\n{code}", "a script of someone else's", "exec")
    with pytest.warns(DeprecationWarning, match=old) as said:
        exec(script, scope)
    assert scope["found"] is importlib.import_module(f"blockprune_lib.{new}")
    assert [str(w.message) for w in said] == [
        f"blockprune_lib.{old} is blockprune_lib.{new} now; the old name goes with version {moved.UNTIL}"
    ]
    assert said[0].filename == "a script of someone else's"


def test_what_is_replaced_by_the_old_name_is_replaced_in_the_library(monkeypatch):
    with pytest.warns(DeprecationWarning, match="nn.block_sparse_linear"):
        from blockprune_lib.sparse_linear import BlockSparseLinear
    assert BlockSparseLinear is bp.BlockSparseLinear
    with pytest.warns(DeprecationWarning, match="kernels.functional"):
        from blockprune_lib.kernels import function
    counted = []
    real = function._product
    monkeypatch.setattr(function, "_product", lambda *given: (counted.append(1), real(*given))[1])
    import torch

    bp.linear(torch.ones(2, 8), bp.pack(torch.ones(4, 8), bp.BlockStructure.block_row(4)))
    assert counted == [1]


def test_an_attribute_by_its_old_name():
    rows = {"sentence": ["good", "bad"], "label": [1, 0]}
    task = bp.tasks.from_datasets({"train": rows, "validation": rows})
    with pytest.warns(
        DeprecationWarning, match=r"Task\.kind is metric_set now; the old name goes with version"
    ) as said:
        assert task.kind == task.metric_set == "accuracy"
    assert said[0].filename == __file__
    assert "kind" not in task.to_dict()


@pytest.mark.parametrize(("old", "new"), NAMES)
def test_no_old_name_is_a_file_and_none_leads_up(old, new):
    of = floors()
    folder = ROOT / "blockprune_lib"
    assert (folder / f"{new.replace('.', '/')}.py").is_file()
    assert not (folder / f"{old.replace('.', '/')}.py").exists()
    assert not (folder / old.replace(".", "/")).exists()
    room = old.partition(".")[0] if "." in old else None  # without one, the face of all, above every floor
    assert room is None or of[new.partition(".")[0]] <= of[room]


def test_the_register_is_in_order_and_ends_with_its_version():
    assert [*moved.MOVED] == sorted(moved.MOVED)
    version, until = (tuple(map(int, text.split(".")[:2])) for text in (bp.__version__, moved.UNTIL))
    assert version < until, "the old names were promised until this version: delete the register's entries"


def test_other_names_are_as_unknown_as_ever_and_asking_loads_nothing():
    assert importlib.util.find_spec("blockprune_lib.curved") is None
    with pytest.raises(AttributeError, match="has no attribute 'curved'"):
        _ = bp.curved
    assert not {*moved.MOVED} & {*dir(bp)}
    code = "import sys, blockprune_lib, blockprune_lib._common.moved as m; m.find_moved(); m.find_moved()\n"
    code += "assert 'blockprune_lib.kernels' not in sys.modules\n"
    code += "assert sum(type(finder) is m._Finder for finder in sys.meta_path) == 1\n"
    subprocess.run([sys.executable, "-c", code], check=True)
