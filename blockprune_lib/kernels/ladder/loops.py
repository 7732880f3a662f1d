"""The lower rungs of the ladder: the product as plain loops, in four arrangements. `rungs` checks the arguments.

    x (tokens, inputs), values (steps, height), columns (steps,) uint32, offsets (panels + 1,), y (tokens, outputs)

Columns are unsigned: a signed index may be negative in Python, and code that tests for that has fewer registers left.
`contract` lets the compiler fuse a * b + c, which rounds once instead of twice; it may not reorder a sum.
"""

from __future__ import annotations

import numpy as np
import torch

from ...machine.native import native


@native(fastmath={"contract"})
def one_output(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """The definition as four loops: for each panel, output and token a sum over the kept columns."""
    height = values.shape[1]
    for panel in range(len(offsets) - 1):
        for j in range(height):
            for t in range(len(x)):
                total = np.float32(0)
                for k in range(offsets[panel], offsets[panel + 1]):
                    total += x[t, columns[k]] * values[k, j]
                y[t, panel * height + j] = total


@native(fastmath={"contract"})
def one_column(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """The innermost loop runs over neighbours; the sums lie in y."""
    height = values.shape[1]
    for panel in range(len(offsets) - 1):
        for t in range(len(x)):
            sums = y[t, panel * height : (panel + 1) * height]
            sums[:] = 0
            for k in range(offsets[panel], offsets[panel + 1]):
                number, weights = x[t, columns[k]], values[k]
                for j in range(height):
                    sums[j] += number * weights[j]


def gather(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """Copy the kept columns of x side by side and call the dense product, panel by panel; through torch."""
    height, tokens, result = values.shape[1], torch.from_numpy(x), torch.from_numpy(y)
    weights, places = torch.from_numpy(values), torch.from_numpy(columns.view(np.int32))
    for panel in range(len(offsets) - 1):
        steps = slice(int(offsets[panel]), int(offsets[panel + 1]))
        out = result[:, panel * height : (panel + 1) * height]
        torch.mm(tokens.index_select(1, places[steps]), weights[steps], out=out)


@native(fastmath={"contract"})
def unrolled(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """4 tokens x 4 kept columns at a time: sixteen multiply-adds for each visit to four sums."""
    height = values.shape[1]
    for panel in range(len(offsets) - 1):
        first, begin, end = panel * height, offsets[panel], offsets[panel + 1]
        fours = begin + (end - begin) // 4 * 4
        for tile in range(0, len(x), 4):
            t = min(tile, len(x) - 4)
            y[t : t + 4, first : first + height] = 0
            p, q = y[t, first : first + height], y[t + 1, first : first + height]
            r, s = y[t + 2, first : first + height], y[t + 3, first : first + height]
            for k in range(begin, fours, 4):
                a, b, c, d = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
                p0, p1, p2, p3 = x[t, a], x[t, b], x[t, c], x[t, d]
                q0, q1, q2, q3 = x[t + 1, a], x[t + 1, b], x[t + 1, c], x[t + 1, d]
                r0, r1, r2, r3 = x[t + 2, a], x[t + 2, b], x[t + 2, c], x[t + 2, d]
                s0, s1, s2, s3 = x[t + 3, a], x[t + 3, b], x[t + 3, c], x[t + 3, d]
                for j in range(height):
                    w0, w1, w2, w3 = values[k, j], values[k + 1, j], values[k + 2, j], values[k + 3, j]
                    p[j] += p0 * w0 + p1 * w1 + p2 * w2 + p3 * w3
                    q[j] += q0 * w0 + q1 * w1 + q2 * w2 + q3 * w3
                    r[j] += r0 * w0 + r1 * w1 + r2 * w2 + r3 * w3
                    s[j] += s0 * w0 + s1 * w1 + s2 * w2 + s3 * w3
            for k in range(fours, end):  # up to three columns are left
                for i in range(4):
                    for j in range(height):
                        y[t + i, first + j] += x[t + i, columns[k]] * values[k, j]
