"""The register of rivals: every entry can be made, says what it lacks, and int8 fits the processor."""

import importlib
import sys

import pytest

from blockprune_lib.bench import with_onnxruntime
from blockprune_lib.bench.engine import UnavailableError, engine_of, imported
from blockprune_lib.bench.rivals import RIVALS, SHORT, rivals_of


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.key)
def test_every_entry_names_a_function_and_a_precision(rival):
    file, _, function = rival.make.partition(":")
    assert callable(getattr(importlib.import_module(f"blockprune_lib.bench.{file}"), function))
    assert rival.precision in SHORT
    assert set(rival.runs) <= {"matrix", "model"}


def test_keys_are_no_ones_else():
    keys = [rival.key for rival in RIVALS]
    assert len(set(keys)) == len(keys)
    assert not any(key.startswith("blockprune") for key in keys)
    assert next(iter(rivals_of("matrix"))) == next(iter(rivals_of("model"))) == "torch"


@pytest.mark.parametrize("rival", [rival for rival in RIVALS if rival.needs], ids=lambda rival: rival.key)
def test_what_is_missing_is_said(rival, monkeypatch):
    for module in rival.needs[1:]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match="is not installed") as told:
        engine_of(rival, None)
    assert told.value.install.startswith("pip install")


def test_a_package_beyond_the_extra_has_its_own_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UnavailableError, match="nncf is not installed") as told:
        imported("nncf")
    assert told.value.install == "pip install nncf"


@pytest.mark.parametrize(
    ("features", "wanted"),
    [
        ({"sse2": True, "avx2": True}, True),
        ({"sse2": True, "avx512vnni": True}, False),
        ({"sse2": True, "avxvnni": True}, False),
        ({"neon": True}, False),
    ],
)
def test_seven_bits_only_where_sums_would_saturate(features, wanted, monkeypatch):
    monkeypatch.setattr(with_onnxruntime, "host_features", lambda: features)
    assert with_onnxruntime.saturates() is wanted
