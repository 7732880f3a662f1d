"""The register tiles of row groups: R rows of weights times V vectors of tokens, all R x V sums in registers.

The mirror image of `panel_tiles`: the vectors are tokens and the broadcasts are weights, which are stored row by row.

Left out: which rows go together (`plan`), where x and y lie (`rows`), and every check of an index.
"""

from __future__ import annotations

from typing import Any

from ..machine.native import inner
from ..machine.simd import WIDTH, broadcast, fma, load, store
from .intrinsics import element


@inner(forceinline=True)
def row_6x2(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int, o4: int, o5: int,
            yt: Any, r0: int, r1: int, r2: int, r3: int, r4: int, r5: int) -> None:  # fmt: skip
    """yt[ri + (0 .. 2W)] += sum over k < count of w[oi + k] xt[at + k ldt ..], for six rows i."""
    a0, a1, a2 = load(yt, r0, WIDTH), load(yt, r1, WIDTH), load(yt, r2, WIDTH)
    a3, a4, a5 = load(yt, r3, WIDTH), load(yt, r4, WIDTH), load(yt, r5, WIDTH)
    b0, b1, b2 = load(yt, r0 + WIDTH, WIDTH), load(yt, r1 + WIDTH, WIDTH), load(yt, r2 + WIDTH, WIDTH)
    b3, b4, b5 = load(yt, r3 + WIDTH, WIDTH), load(yt, r4 + WIDTH, WIDTH), load(yt, r5 + WIDTH, WIDTH)
    k = 0
    while k < count:
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
        k += 1
    store(yt, r0, a0), store(yt, r1, a1), store(yt, r2, a2), store(yt, r3, a3), store(yt, r4, a4), store(yt, r5, a5)
    store(yt, r0 + WIDTH, b0), store(yt, r1 + WIDTH, b1), store(yt, r2 + WIDTH, b2)
    store(yt, r3 + WIDTH, b3), store(yt, r4 + WIDTH, b4), store(yt, r5 + WIDTH, b5)


@inner(forceinline=True)
def row_4x2(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int,
            yt: Any, r0: int, r1: int, r2: int, r3: int) -> None:  # fmt: skip
    """As `row_6x2`, for four rows."""
    a0, a1, a2, a3 = load(yt, r0, WIDTH), load(yt, r1, WIDTH), load(yt, r2, WIDTH), load(yt, r3, WIDTH)
    b0, b1 = load(yt, r0 + WIDTH, WIDTH), load(yt, r1 + WIDTH, WIDTH)
    b2, b3 = load(yt, r2 + WIDTH, WIDTH), load(yt, r3 + WIDTH, WIDTH)
    k = 0
    while k < count:
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
        k += 1
    store(yt, r0, a0), store(yt, r1, a1), store(yt, r2, a2), store(yt, r3, a3)
    store(yt, r0 + WIDTH, b0), store(yt, r1 + WIDTH, b1), store(yt, r2 + WIDTH, b2), store(yt, r3 + WIDTH, b3)


@inner(forceinline=True)
def row_6x1(xt: Any, at: int, ldt: int, count: int, w: Any, o0: int, o1: int, o2: int, o3: int, o4: int, o5: int,
            step: int, yt: Any, r0: int, r1: int, r2: int, r3: int, r4: int, r5: int) -> None:  # fmt: skip
    """As `row_6x2`, for one vector of tokens and weights that lie `step` apart."""
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
