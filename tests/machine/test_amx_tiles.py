"""One product of tiles against NumPy in float64, on the unit itself; and what is said where there is none."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from blockprune_lib.machine import amx, amx_tiles
from blockprune_lib.machine.native import native
from blockprune_lib.machine.pairs import pairs_of

needs_tiles = pytest.mark.skipif(not amx_tiles.HAS_TILES, reason="no AMX here")


@native
def product(a, b, c, apart):
    amx_tiles.configure_tiles()
    amx_tiles.load_tile(0, c, apart)
    amx_tiles.load_tile(1, a, 64)
    amx_tiles.load_tile(2, b, 64)
    amx_tiles.multiply_tiles(0, 1, 2)
    amx_tiles.store_tile(0, c, apart)
    amx_tiles.release_tiles()


@native
def zeroed(c):
    amx_tiles.configure_tiles()
    amx_tiles.load_tile(7, c, 64)
    amx_tiles.zero_tile(7)
    amx_tiles.store_tile(7, c, 64)
    amx_tiles.release_tiles()


def exact(*shape):
    numbers = np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(numbers).bfloat16().float().numpy()


def check() -> bool:
    w, x = exact(16, 32), exact(32, 16)
    a, b = pairs_of(w[:, ::2], w[:, 1::2]), pairs_of(x[::2], x[1::2])
    c = np.full((16, 24), 3.0, np.float32)  # rows further apart than they are long
    product(a.ctypes.data, b.ctypes.data, c.ctypes.data, c.strides[0])
    wanted = 3 + w.astype(float) @ x
    return bool(np.allclose(c[:, :16], wanted, atol=1e-4) and (c[:, 16:] == 3).all())


@needs_tiles
def test_a_product_of_tiles():
    assert check()


@needs_tiles
def test_every_thread_may_multiply():
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(check())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3


@needs_tiles
def test_zero():
    c = np.ones((16, 16), np.float32)
    zeroed(c.ctypes.data)
    assert not c.any()


def test_the_system_is_asked_once_more_without_harm():
    assert amx.request_tiles() in (True, False)
    if amx_tiles.HAS_TILES:
        assert amx.request_tiles()


def test_elsewhere_there_are_none(monkeypatch):
    monkeypatch.setattr(amx.sys, "platform", "darwin")
    assert not amx.request_tiles()


def test_the_shapes_are_laid_out_as_the_instruction_reads_them():
    shapes = amx_tiles._SHAPES
    assert len(shapes) == 64
    assert shapes[0] == 1
    assert np.frombuffer(shapes[16:32], np.uint16).tolist() == [64] * 8
    assert list(shapes[48:56]) == [16] * 8
    assert not any(shapes[1:16] + shapes[32:48] + shapes[56:])
