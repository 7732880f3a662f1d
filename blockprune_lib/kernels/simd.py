"""The register tiles: R rows of one operand times V vectors of the other, all R x V sums in registers.

Each step of the inner loop loads V vectors, broadcasts R numbers and does R x V fused multiply-adds. With 16 registers
6 x 2 is the best there is: 12 sums, 2 vectors and 1 broadcast; and 12 sums that do not wait for each other keep two
multiply-add units busy. The smaller tiles take the edges.

`panel_*`: the vectors are neighbouring outputs, the broadcasts are tokens. For weights stored column by column.
`row_*`:   the vectors are neighbouring tokens, the broadcasts are weights. For weights stored row by row.

Left out: which tile goes where (`panels`, `rows`), and every check of an index (`plan`, `function`).
"""

from __future__ import annotations

from typing import Any

from numba import njit

from blockprune_lib.vectors import broadcast, fma, load, store

from .native import WIDTH, element


@njit(forceinline=True)
def panel_6x2(x: Any, t: int, ldx: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """y[to + i ldy + (0 .. 2W)] = seed[start + i lds ..] + sum over k of x[t + i ldx + columns[k]] w[at + k ldw ..].

    For six tokens i; k runs from its first step to `stop`. The seed is the bias (lds = 0) or what y holds already.
    """
    s0, s1, s2, s3, s4, s5 = start, start + lds, start + 2 * lds, start + 3 * lds, start + 4 * lds, start + 5 * lds
    a0, a1, a2 = load(seed, s0, WIDTH), load(seed, s1, WIDTH), load(seed, s2, WIDTH)
    a3, a4, a5 = load(seed, s3, WIDTH), load(seed, s4, WIDTH), load(seed, s5, WIDTH)
    b0, b1, b2 = load(seed, s0 + WIDTH, WIDTH), load(seed, s1 + WIDTH, WIDTH), load(seed, s2 + WIDTH, WIDTH)
    b3, b4, b5 = load(seed, s3 + WIDTH, WIDTH), load(seed, s4 + WIDTH, WIDTH), load(seed, s5 + WIDTH, WIDTH)
    t1, t2, t3, t4, t5 = t + ldx, t + 2 * ldx, t + 3 * ldx, t + 4 * ldx, t + 5 * ldx
    while k < stop:
        column = element(columns, k)
        low, high = load(w, at, WIDTH), load(w, at + WIDTH, WIDTH)
        s = broadcast(element(x, t + column), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(x, t1 + column), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(x, t2 + column), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(x, t3 + column), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        s = broadcast(element(x, t4 + column), WIDTH)
        a4, b4 = fma(s, low, a4), fma(s, high, b4)
        s = broadcast(element(x, t5 + column), WIDTH)
        a5, b5 = fma(s, low, a5), fma(s, high, b5)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + WIDTH, b0)
    store(y, to + ldy, a1), store(y, to + ldy + WIDTH, b1)
    store(y, to + 2 * ldy, a2), store(y, to + 2 * ldy + WIDTH, b2)
    store(y, to + 3 * ldy, a3), store(y, to + 3 * ldy + WIDTH, b3)
    store(y, to + 4 * ldy, a4), store(y, to + 4 * ldy + WIDTH, b4)
    store(y, to + 5 * ldy, a5), store(y, to + 5 * ldy + WIDTH, b5)


@njit(forceinline=True)
def panel_4x2(x: Any, t: int, ldx: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for four tokens."""
    s0, s1, s2, s3 = start, start + lds, start + 2 * lds, start + 3 * lds
    a0, a1, a2, a3 = load(seed, s0, WIDTH), load(seed, s1, WIDTH), load(seed, s2, WIDTH), load(seed, s3, WIDTH)
    b0, b1 = load(seed, s0 + WIDTH, WIDTH), load(seed, s1 + WIDTH, WIDTH)
    b2, b3 = load(seed, s2 + WIDTH, WIDTH), load(seed, s3 + WIDTH, WIDTH)
    t1, t2, t3 = t + ldx, t + 2 * ldx, t + 3 * ldx
    while k < stop:
        column = element(columns, k)
        low, high = load(w, at, WIDTH), load(w, at + WIDTH, WIDTH)
        s = broadcast(element(x, t + column), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(x, t1 + column), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(x, t2 + column), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(x, t3 + column), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + WIDTH, b0)
    store(y, to + ldy, a1), store(y, to + ldy + WIDTH, b1)
    store(y, to + 2 * ldy, a2), store(y, to + 2 * ldy + WIDTH, b2)
    store(y, to + 3 * ldy, a3), store(y, to + 3 * ldy + WIDTH, b3)


@njit(forceinline=True)
def panel_1x2(x: Any, t: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, y: Any, to: int) -> None:  # fmt: skip
    """As `panel_6x2`, for one token."""
    a, b = load(seed, start, WIDTH), load(seed, start + WIDTH, WIDTH)
    while k < stop:
        s = broadcast(element(x, t + element(columns, k)), WIDTH)
        a, b = fma(s, load(w, at, WIDTH), a), fma(s, load(w, at + WIDTH, WIDTH), b)
        at += ldw
        k += 1
    store(y, to, a), store(y, to + WIDTH, b)


@njit(forceinline=True)
def panel_6x1(x: Any, t: int, ldx: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for six tokens and one vector of outputs."""
    a0 = load(seed, start + 0 * lds, WIDTH)
    a1 = load(seed, start + 1 * lds, WIDTH)
    a2 = load(seed, start + 2 * lds, WIDTH)
    a3 = load(seed, start + 3 * lds, WIDTH)
    a4 = load(seed, start + 4 * lds, WIDTH)
    a5 = load(seed, start + 5 * lds, WIDTH)
    t1, t2, t3, t4, t5 = t + ldx, t + 2 * ldx, t + 3 * ldx, t + 4 * ldx, t + 5 * ldx
    while k < stop:
        column = element(columns, k)
        v = load(w, at, WIDTH)
        a0 = fma(broadcast(element(x, t + column), WIDTH), v, a0)
        a1 = fma(broadcast(element(x, t1 + column), WIDTH), v, a1)
        a2 = fma(broadcast(element(x, t2 + column), WIDTH), v, a2)
        a3 = fma(broadcast(element(x, t3 + column), WIDTH), v, a3)
        a4 = fma(broadcast(element(x, t4 + column), WIDTH), v, a4)
        a5 = fma(broadcast(element(x, t5 + column), WIDTH), v, a5)
        at += ldw
        k += 1
    store(y, to + 0 * ldy, a0), store(y, to + 1 * ldy, a1), store(y, to + 2 * ldy, a2)
    store(y, to + 3 * ldy, a3), store(y, to + 4 * ldy, a4), store(y, to + 5 * ldy, a5)


@njit(forceinline=True)
def panel_4x1(x: Any, t: int, ldx: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for four tokens and one vector of outputs."""
    a0 = load(seed, start + 0 * lds, WIDTH)
    a1 = load(seed, start + 1 * lds, WIDTH)
    a2 = load(seed, start + 2 * lds, WIDTH)
    a3 = load(seed, start + 3 * lds, WIDTH)
    t1, t2, t3 = t + ldx, t + 2 * ldx, t + 3 * ldx
    while k < stop:
        column = element(columns, k)
        v = load(w, at, WIDTH)
        a0 = fma(broadcast(element(x, t + column), WIDTH), v, a0)
        a1 = fma(broadcast(element(x, t1 + column), WIDTH), v, a1)
        a2 = fma(broadcast(element(x, t2 + column), WIDTH), v, a2)
        a3 = fma(broadcast(element(x, t3 + column), WIDTH), v, a3)
        at += ldw
        k += 1
    store(y, to + 0 * ldy, a0), store(y, to + 1 * ldy, a1), store(y, to + 2 * ldy, a2)
    store(y, to + 3 * ldy, a3)


@njit(forceinline=True)
def panel_1x1(x: Any, t: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, y: Any, to: int) -> None:  # fmt: skip
    """As `panel_6x2`, for one token and one vector of outputs."""
    a = load(seed, start, WIDTH)
    while k < stop:
        a = fma(broadcast(element(x, t + element(columns, k)), WIDTH), load(w, at, WIDTH), a)
        at += ldw
        k += 1
    store(y, to, a)


@njit(forceinline=True)
def row_6x2(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int, o4: int, o5: int,
            step: int, yt: Any, r0: int, r1: int, r2: int, r3: int, r4: int, r5: int) -> None:  # fmt: skip
    """yt[ri + (0 .. 2W)] += sum over k < count of w[oi + k step] xt[at + k ldt ..], for six rows i."""
    a0, a1, a2 = load(yt, r0, WIDTH), load(yt, r1, WIDTH), load(yt, r2, WIDTH)
    a3, a4, a5 = load(yt, r3, WIDTH), load(yt, r4, WIDTH), load(yt, r5, WIDTH)
    b0, b1, b2 = load(yt, r0 + WIDTH, WIDTH), load(yt, r1 + WIDTH, WIDTH), load(yt, r2 + WIDTH, WIDTH)
    b3, b4, b5 = load(yt, r3 + WIDTH, WIDTH), load(yt, r4 + WIDTH, WIDTH), load(yt, r5 + WIDTH, WIDTH)
    k, stop = 0, count * step
    while k < stop:
        low, high = load(xt, at, WIDTH), load(xt, at + WIDTH, WIDTH)
        s = broadcast(element(w, o0 + k), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(w, o1 + k), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(w, o2 + k), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(w, o3 + k), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        s = broadcast(element(w, o4 + k), WIDTH)
        a4, b4 = fma(s, low, a4), fma(s, high, b4)
        s = broadcast(element(w, o5 + k), WIDTH)
        a5, b5 = fma(s, low, a5), fma(s, high, b5)
        at += ldt
        k += step
    store(yt, r0, a0), store(yt, r1, a1), store(yt, r2, a2), store(yt, r3, a3), store(yt, r4, a4), store(yt, r5, a5)
    store(yt, r0 + WIDTH, b0), store(yt, r1 + WIDTH, b1), store(yt, r2 + WIDTH, b2)
    store(yt, r3 + WIDTH, b3), store(yt, r4 + WIDTH, b4), store(yt, r5 + WIDTH, b5)


@njit(forceinline=True)
def row_4x2(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int,
            step: int, yt: Any, r0: int, r1: int, r2: int, r3: int) -> None:  # fmt: skip
    """As `row_6x2`, for four rows."""
    a0, a1, a2, a3 = load(yt, r0, WIDTH), load(yt, r1, WIDTH), load(yt, r2, WIDTH), load(yt, r3, WIDTH)
    b0, b1 = load(yt, r0 + WIDTH, WIDTH), load(yt, r1 + WIDTH, WIDTH)
    b2, b3 = load(yt, r2 + WIDTH, WIDTH), load(yt, r3 + WIDTH, WIDTH)
    k, stop = 0, count * step
    while k < stop:
        low, high = load(xt, at, WIDTH), load(xt, at + WIDTH, WIDTH)
        s = broadcast(element(w, o0 + k), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(w, o1 + k), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(w, o2 + k), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(w, o3 + k), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        at += ldt
        k += step
    store(yt, r0, a0), store(yt, r1, a1), store(yt, r2, a2), store(yt, r3, a3)
    store(yt, r0 + WIDTH, b0), store(yt, r1 + WIDTH, b1), store(yt, r2 + WIDTH, b2), store(yt, r3 + WIDTH, b3)


@njit(forceinline=True)
def row_6x1(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int, o4: int, o5: int,
            step: int, yt: Any, r0: int, r1: int, r2: int, r3: int, r4: int, r5: int) -> None:  # fmt: skip
    """As `row_6x2`, for one vector of tokens."""
    a0, a1, a2 = load(yt, r0, WIDTH), load(yt, r1, WIDTH), load(yt, r2, WIDTH)
    a3, a4, a5 = load(yt, r3, WIDTH), load(yt, r4, WIDTH), load(yt, r5, WIDTH)
    k, stop = 0, count * step
    while k < stop:
        v = load(xt, at, WIDTH)
        a0 = fma(broadcast(element(w, o0 + k), WIDTH), v, a0)
        a1 = fma(broadcast(element(w, o1 + k), WIDTH), v, a1)
        a2 = fma(broadcast(element(w, o2 + k), WIDTH), v, a2)
        a3 = fma(broadcast(element(w, o3 + k), WIDTH), v, a3)
        a4 = fma(broadcast(element(w, o4 + k), WIDTH), v, a4)
        a5 = fma(broadcast(element(w, o5 + k), WIDTH), v, a5)
        at += ldt
        k += step
    store(yt, r0, a0), store(yt, r1, a1), store(yt, r2, a2), store(yt, r3, a3), store(yt, r4, a4), store(yt, r5, a5)
