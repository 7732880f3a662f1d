"""What is said of the matrix unit, on machines made up here and on this one."""

from __future__ import annotations

import pytest

from blockprune_lib.machine import amx
from blockprune_lib.machine.cpu import host_features


@pytest.mark.parametrize(
    ("features", "bits", "said"),
    [
        ({}, 1 << 18, "not there"),
        ({"amx-tile": False}, 1 << 18, "not there"),
        ({"amx-tile": True}, 1 << 18 | 0x2E7, "granted by the system"),
        ({"amx-tile": True}, 0x2E7, "there, but refused by the system"),
        ({"amx-tile": True}, None, "there, but refused by the system"),
    ],
)
def test_there_and_granted_are_two_things(features, bits, said):
    assert amx.amx_state(features, lambda: bits) == said


def test_this_machine_is_asked_without_harm():
    bits = amx._supported()
    assert bits is None or bits >= 0
    assert amx.amx_state(host_features()) in ("not there", "granted by the system", "there, but refused by the system")


def test_another_system_cannot_be_asked(monkeypatch):
    monkeypatch.setattr(amx.sys, "platform", "darwin")
    assert amx._supported() is None
