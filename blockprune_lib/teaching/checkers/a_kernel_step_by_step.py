"""Checkers of the chapter "a kernel, step by step": what a tile costs, which one fits, a kernel for rows, a model."""

from __future__ import annotations

import numpy as np

from ..answers import several
from ..exercises import Function, Wrong, exercise


@exercise("tile-cost", "cost(rows, vectors)")
def tile_cost(cost: Function) -> str:
    """The sums stay in registers; so do the vectors of a step, and the broadcast of the moment."""
    names = "multiply-adds", "loads", "registers"
    for rows, vectors in ((1, 1), (6, 1), (6, 2), (4, 3), (8, 4)):
        where = f"for a {rows} x {vectors} tile"
        found = several(cost(rows, vectors), 3, where, "three numbers: multiply-adds, loads, registers")
        want = rows * vectors, rows + vectors, rows * vectors + vectors + 1
        for name, got, expected in zip(names, found, want, strict=True):
            if got != expected:
                raise Wrong(f"a {rows} x {vectors} tile has {expected} {name}, not {got}")
    return "6 x 2 does 12 multiply-adds for 8 loads in 15 registers, 8 x 4 does 32 for 12 and needs 37"


def _best(registers: int, panel: int, sums: int) -> tuple[int, int] | None:
    tiles = [
        ((rows + vectors) / (rows * vectors), rows * vectors + vectors + 1, rows, vectors)
        for vectors in range(1, panel + 1)
        for rows in range(1, registers)
        if panel % vectors == 0 and rows * vectors >= sums and rows * vectors + vectors + 1 <= registers
    ]
    return min(tiles)[2:] if tiles else None


@exercise("choose-tile", "choose(registers, panel, sums)")
def choose_tile(choose: Function) -> str:
    """Two loops over vectors and rows; skip what does not fit; keep the tile with the fewest loads per multiply-add."""
    for registers, panel, sums in ((16, 2, 8), (16, 4, 8), (32, 2, 8), (32, 4, 8), (32, 8, 16), (16, 3, 8), (16, 1, 1)):
        where = f"for {registers} registers, a panel of {panel} vectors and {sums} sums"
        want = _best(registers, panel, sums)
        assert want is not None
        rows, vectors = several(choose(registers, panel, sums), 2, where, "(rows, vectors)")
        if vectors < 1 or rows < 1 or panel % vectors:
            raise Wrong(f"{where} {rows} x {vectors} does not divide the panel into whole tiles")
        if rows * vectors + vectors + 1 > registers:
            raise Wrong(f"{where} {rows} x {vectors} needs {rows * vectors + vectors + 1} registers")
        if rows * vectors < sums:
            raise Wrong(f"{where} {rows} x {vectors} has only {rows * vectors} sums; they would wait")
        if (rows, vectors) != want:
            raise Wrong(f"{where} {want[0]} x {want[1]} loads less for each multiply-add than {rows} x {vectors}")
    if choose(8, 1, 12) is not None:
        raise Wrong("8 registers cannot hold 12 sums: return None where no tile will do")
    return "6 x 2 for 16 registers and panels of two vectors, 6 x 4 for 32 registers and panels of four"


@exercise("row-groups", "row_product(xt, values, columns, offsets)")
def row_groups(product: Function) -> str:
    """`xt[first + i]` is a row of tokens: one weight times that row, added to one row of y."""
    generator = np.random.default_rng(0)
    for outputs, inputs, width, tokens in ((4, 8, 2, 3), (7, 12, 4, 5), (5, 6, 1, 2), (3, 8, 8, 4)):
        keep = generator.random((outputs, inputs // width)) < 0.5
        keep[0], keep[-1] = True, False
        weight = generator.normal(size=(outputs, inputs)).astype(np.float32)
        weight *= np.repeat(keep, width, axis=1)
        rows, columns = keep.nonzero()
        values = weight.reshape(outputs, inputs // width, width)[rows, columns]
        offsets = np.concatenate([[0], keep.sum(1).cumsum()])
        xt = generator.normal(size=(inputs, tokens)).astype(np.float32)
        before = xt.copy()
        y = product(xt, values, columns, offsets)
        case = f"{outputs} x {inputs}, groups of {width}, {tokens} tokens"
        if y is None:
            raise Wrong("the function returned nothing; return y, (outputs, tokens)")
        if np.shape(y) != (outputs, tokens):
            raise Wrong(f"{case}: y has shape {np.shape(y)}, expected {(outputs, tokens)}")
        if not np.array_equal(xt, before):
            raise Wrong("the function changes its input xt; it should leave it as it was")
        if np.any(np.asarray(y)[-1] != 0):
            raise Wrong(f"{case}: the last output has no group left, so its row of y should be zero")
        if not np.allclose(y, weight @ xt, atol=1e-4):
            raise Wrong(f"{case}: y differs from the dense product by up to {np.abs(y - weight @ xt).max():.3g}")
    return "the products agree with the dense one, and rows of which nothing is left are zero"


@exercise("share-of-peak", "share(rows, vectors, latency, ports, load_ports)")
def share_of_peak(share: Function) -> str:
    """A step takes the longest of three times: multiply-adds over ports, loads over load ports, latency."""
    machines = ((4, 2, 2), (5, 2, 2), (4, 4, 3), (4, 1, 1))  # latency, multiply-add ports, load ports
    for latency, ports, load_ports in machines:
        for rows, vectors in ((1, 1), (6, 1), (6, 2), (2, 4), (4, 4)):
            ideal = rows * vectors / ports
            want = ideal / max(ideal, (rows + vectors) / load_ports, latency)
            got = share(rows, vectors, latency, ports, load_ports)
            case = f"{rows} x {vectors}, latency {latency}, {ports} multiply-add and {load_ports} load ports"
            if got is None:
                raise Wrong("the function returned nothing; return a share between 0 and 1")
            if not 0 < float(got) <= 1 + 1e-9:
                raise Wrong(f"{case}: {got} is no share between 0 and 1")
            if not np.isclose(float(got), want):
                bound = max((ideal, "ports"), ((rows + vectors) / load_ports, "loads"), (float(latency), "latency"))[1]
                raise Wrong(f"{case}: the {bound} decide, and the share is {want:.3f}, not {float(got):.3f}")
    return "the model agrees for four made-up machines; now see how near it comes to yours"
