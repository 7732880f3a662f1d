"""Checkers of *a-kernel-step-by-step*: what a tile costs, which one fits, how small a group, rows, a model."""

from __future__ import annotations

import math

import numpy as np

from ..exercises import Function, array, attempt, exercise, expect, is_number, number, same, several


@exercise("tile-cost", "cost(rows, vectors)")
def tile_cost(cost: Function) -> str:
    """The sums stay in registers; so do the vectors of a step, and the broadcast of the moment."""
    names = "multiply-adds", "loads", "registers"
    for rows, vectors in ((1, 1), (6, 1), (6, 2), (4, 3), (2, 4), (8, 4)):
        where = f"for a {rows} x {vectors} tile"
        found = several(attempt(where, cost, rows, vectors), 3, where, "three numbers: multiply-adds, loads, registers")
        want = rows * vectors, rows + vectors, rows * vectors + vectors + 1
        slips = {
            "a vector and a number are loaded once each for the step, and used several times": rows * vectors,
            "the number that is broadcast takes a register as well": rows * vectors + vectors,
            "numbers are broadcast one after the other: one register is enough for them": want[2] + rows - 1,
        }
        for name, got, right in zip(names, found, want, strict=True):
            reason = next((why for why, slip in slips.items() if got == slip and name != names[0]), "")
            expect(got == right, f"{where} it gives {got!r:.40} {name}, not {right}", reason)
    return "6 x 2 does 12 multiply-adds for 8 loads in 15 registers, 8 x 4 does 32 for 12 and needs 37"


@exercise("choose-tile", "choose(registers, panel, sums)")
def choose_tile(choose: Function) -> str:
    """Two loops over vectors and rows; skip what does not fit; keep the tile with the fewest loads per multiply-add."""
    # In the last but one 4 x 6 loads as little as 6 x 4, and needs more registers; in the last the sums just do.
    cases = (
        (16, 2, 8), (16, 4, 8), (32, 2, 8), (32, 4, 8), (32, 8, 16), (16, 3, 8), (16, 1, 1), (32, 12, 8), (16, 1, 14)
    )  # fmt: skip
    for registers, panel, sums in cases:
        where = f"for {registers} registers, a panel of {panel} vectors and {sums} sums"
        found = attempt(where, choose, registers, panel, sums)
        expect(found is not None, f"{where} it gives None, and there is a tile that will do")
        rows, vectors = several(found, 2, where, "(rows, vectors)")
        expect(is_number(rows) and is_number(vectors), f"{where} it gives {found!r:.80}, expected two numbers")
        tile, held = f"{where} {rows} x {vectors}", rows * vectors
        whole = vectors >= 1 and rows >= 1 and not panel % vectors
        expect(whole, f"{tile} does not divide the panel into whole tiles")
        expect(held + vectors + 1 <= registers, f"{tile} needs {held + vectors + 1} registers")
        expect(held >= sums, f"{tile} has only {held} sums; they would wait")
        tiles = [
            ((r + v) / (r * v), r * v + v + 1, r, v)
            for v in range(1, panel + 1)
            for r in range(1, registers)
            if panel % v == 0 and r * v >= sums and r * v + v + 1 <= registers
        ]
        least, _, *best = min(tiles)
        as_few = (rows + vectors) / held == least
        better = "needs fewer registers" if as_few else "loads less for each multiply-add"
        expect([rows, vectors] == best, f"{where} {best[0]} x {best[1]} {better} than {rows} x {vectors}")
    where = "for 8 registers, a panel of 1 vector and 12 sums"
    none = attempt(where, choose, 8, 1, 12) is None
    expect(none, "8 registers cannot hold 12 sums: return None where no tile will do")
    return "6 x 2 for 16 registers and panels of two vectors, 6 x 4 for 32 registers and panels of four"


@exercise("smallest-group", "smallest(peak, reads, share)")
def smallest_group(smallest: Function) -> str:
    """Double h, beginning with 1, until min(peak, h * reads / 2) is at least share * peak."""
    for peak, reads, share in ((274.0, 216.0, 1.0), (274.0, 216.0, 0.8), (100.0, 400.0, 1.0), (512.0, 64.0, 0.5)):
        case = f"for a peak of {peak:g} GFLOP/s, {reads:g} GB/s and a share of {share:g}"
        got = number(attempt(case, smallest, peak, reads, share), case)
        want = 1
        while min(peak, want * reads / 2) < share * peak:
            want *= 2
        where = f"{case} it gives {got:g}, not {want}"
        exact = 2 * share * peak / reads
        reached = min(peak, got * reads / 2)
        slips = {
            "only 1, 2, 4, 8 ... are heights to choose from": math.isclose(got, exact) or got == math.ceil(exact),
            f"at this height the bound is {reached:g} GFLOP/s, and {share * peak:g} are asked": 1 <= got < want,
            "a number is 4 bytes, and good for two FLOP in each of h outputs": got in (want * 2, want * 4),
        }
        reason = next((slip for slip, found in slips.items() if found), "")
        expect(got == want, where, reason)
    return "it agrees for four made-up machines; put in the two numbers of yours"


@exercise("row-groups", "row_product(xt, values, columns, offsets)")
def row_groups(product: Function) -> str:
    """`xt[first + i]` is a row of tokens: one weight times that row, added to one row of y."""
    generator = np.random.default_rng(0)
    for outputs, inputs, width, tokens in ((4, 8, 2, 3), (7, 12, 4, 5), (5, 6, 1, 2), (3, 8, 8, 4)):
        keep = generator.random((outputs, inputs // width)) < 0.5
        keep[[0, -1]], keep[1] = True, False
        weight = generator.normal(size=(outputs, inputs)).astype(np.float32)
        weight *= np.repeat(keep, width, axis=1)
        rows, columns = keep.nonzero()
        values = weight.reshape(outputs, inputs // width, width)[rows, columns]
        offsets = np.concatenate([[0], keep.sum(1).cumsum()])
        xt = generator.normal(size=(inputs, tokens)).astype(np.float32)
        before, case = xt.copy(), f"for {outputs} x {inputs}, groups of {width}, {tokens} tokens"
        y = array(attempt(case, product, xt, values, columns, offsets), (outputs, tokens), case)
        expect(np.array_equal(xt, before), "the function changes its input xt; it should leave it as it was")
        expect(not y[1].any(), f"{case}: output 1 has no group left, so its row of y should be zero")
        starts = np.minimum(columns[:, None] + np.arange(width), inputs - 1)
        close = np.zeros_like(y)
        np.add.at(close, rows, np.einsum("gi,git->gt", values, xt[starts]))
        slips = {"columns counts blocks of inputs: a block begins at columns[g] * width": close}
        same(y, weight @ xt, f"{case}: y differs from the dense product:", slips, rel_tol=1e-3)
    return "the products agree with the dense one, and rows of which nothing is left are zero"


@exercise("share-of-peak", "share(rows, vectors, latency, ports, load_ports)")
def share_of_peak(share: Function) -> str:
    """A step takes the longest of three times: multiply-adds over ports, loads over load ports, latency."""
    machines = ((4, 2, 2), (5, 2, 2), (4, 4, 3), (4, 1, 1))  # latency, multiply-add ports, load ports
    for latency, ports, load_ports in machines:
        for rows, vectors in ((1, 1), (6, 1), (6, 2), (2, 4), (5, 3), (4, 4)):
            times = {"ports": rows * vectors / ports, "loads": (rows + vectors) / load_ports, "latency": latency}
            longest = max(times, key=lambda name: (times[name], name))
            decides = "latency decides" if longest == "latency" else f"{longest} decide"
            want = times["ports"] / times[longest]
            case = f"for {rows} x {vectors}, latency {latency}, {ports} multiply-add and {load_ports} load ports"
            got = number(attempt(case, share, rows, vectors, latency, ports, load_ports), case)
            expect(0 < got <= 1 + 1e-6, f"{case} {got:g} is no share between 0 and 1")
            expect(math.isclose(got, want, rel_tol=1e-5), f"{case} the {decides}: {want:.3f}, not {got:.3f}")
    return "the model agrees for four made-up machines; now see how near it comes to yours"
