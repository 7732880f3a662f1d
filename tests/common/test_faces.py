"""Packages whose names load when they are first used."""

import subprocess
import sys

import pytest

import blockprune_lib as bp
from blockprune_lib._common.faces import face


def test_a_name_loads_its_file_and_no_other():
    code = (
        "import sys, blockprune_lib.machine as machine\n"
        "assert 'blockprune_lib.machine.timing' not in sys.modules\n"
        "machine.measure\n"
        "assert 'blockprune_lib.machine.timing' in sys.modules\n"
        "assert 'blockprune_lib.machine.gather' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_face_needs_its_stub(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="stub"):
        face("nowhere", str(tmp_path / "__init__.py"))


def test_what_is_not_there_is_told_what_is():
    with pytest.raises(AttributeError, match=r"'blockprune_lib\.pruning' has no attribute 'paks'; it has .*pack"):
        _ = bp.pruning.paks
    assert dir(bp.pruning) == bp.pruning.__all__
