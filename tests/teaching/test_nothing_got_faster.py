"""The checkers of *nothing-got-faster* see through the usual wrong answers, and say which property failed."""

import numpy as np
import pytest

from blockprune_lib.teaching import check


def in_bytes(per_group=4, per_offset=8, more=1, by_tokens=True, of_rows=False):
    def format_bytes(outputs, inputs, density, height, width, tokens):
        kept = density * outputs * inputs
        offsets = (outputs if of_rows else outputs / height) + more
        total = 4 * kept + per_group * kept / (height * width) + per_offset * offsets
        return total / kept / (tokens if by_tokens else 1)

    return format_bytes


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (in_bytes(per_group=0), "indices are missing"),
        (in_bytes(per_offset=0), "offsets are missing"),
        (in_bytes(more=0), "one more offset"),
        (in_bytes(of_rows=True), "rows of groups"),
        (in_bytes(by_tokens=False), "tokens too"),
        (lambda *shape: in_bytes()(*shape) / 2, "not as two FLOP"),
        (lambda outputs, inputs, density, height, width, tokens: "8", "expected a number"),
        (lambda *arguments: None, "nothing yet"),
        (8, "a function"),
    ],
)
def test_wrong_bytes_are_told_why(answer, reason):
    verdict = check("format-bytes", answer)
    assert not verdict
    assert reason in repr(verdict)


def test_right_bytes_pass():
    assert check("format-bytes", in_bytes())


def product(ends=slice(1, None), weigh=True, spoil=False, wide=False):
    def csr_product(values, columns, offsets, X):
        y = np.zeros((len(offsets) - 1, X.shape[1]))
        for i, (first, last) in enumerate(zip(offsets[:-1], offsets[ends], strict=False)):
            for k in range(first, last):
                y[i] += (values[k] if weigh else 1.0) * X[columns[k]]
        if spoil:
            X += 1
        return y.T if wide else y

    return csr_product


def without_the_last_row(values, columns, offsets, X):
    y = product()(values, columns, offsets, X)
    y[-1] = 0
    return y


def carries_on_over_empty_rows(values, columns, offsets, X):
    y = product()(values, columns, offsets, X)
    for i in range(1, len(y)):
        if offsets[i] == offsets[i + 1]:
            y[i] = 7
    return y


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (product(weigh=False), "weights themselves"),
        (product(spoil=True), "changed X"),
        (product(wide=True), "shape"),
        (without_the_last_row, "last row"),
        (carries_on_over_empty_rows, "without weights"),
        (lambda values, columns, offsets, X: None, "nothing yet"),
        ("csr", "a function"),
    ],
)
def test_wrong_products_are_told_why(answer, reason):
    verdict = check("csr-by-hand", answer)
    assert not verdict
    assert reason in repr(verdict)


def test_a_right_product_passes():
    assert check("csr-by-hand", product())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda dense, sparse, weight, tokens: tokens * dense / (tokens * sparse + weight), "cannot exceed 1"),
        (lambda dense, sparse, weight, tokens: (tokens * sparse + weight) / (tokens * dense), "upside down"),
        (lambda dense, sparse, weight, tokens: min(1.0, (tokens * sparse + weight) / (tokens * dense)), "upside down"),
        (lambda dense, sparse, weight, tokens: (tokens * dense - weight) / (tokens * sparse), "multiplies both costs"),
        (lambda dense, sparse, weight, tokens: min(1.0, dense / (sparse + weight)), "not once for every token"),
        (lambda dense, sparse, weight, tokens: min(1.0, dense / sparse), "cost of each weight"),
        (lambda dense, sparse, weight, tokens: True, "expected a number"),
    ],
)
def test_wrong_break_even_is_told_why(answer, reason):
    verdict = check("break-even-density", answer)
    assert not verdict
    assert reason in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "a dictionary"),
        ({0.1: (1.0, 0.5), 1.0: (1.0, 5.0)}, "three densities"),
        ({0.1: (1.0, 2.0), 0.5: (1.0, 3.0), 1.0: (1.0, 5.0)}, "wins at none"),
        ({0.1: (1.0, 0.2), 0.5: (1.0, 0.3), 1.0: (1.0, 0.5)}, "loses at none"),
        ({5: (1.0, 0.2), 0.5: (1.0, 0.3), 1.0: (1.0, 5.0)}, "no density"),
        ({0.1: (1.0, -0.2), 0.5: (1.0, 0.3), 1.0: (1.0, 5.0)}, "two positive times"),
        ({0.1: 3.0}, "two positive times"),
        ({0.1: (1.0, 1.5), 0.3: (1.0, 0.9), 1.0: (1.0, 5.0)}, "loses at 0.1, where it has less to do"),
        ({0.1: (0.5, 1.0), 0.3: (1.2, 1.0), 1.0: (5.0, 1.0)}, "first the dense time, then the sparse one"),
    ],
)
def test_impossible_measurements_are_told_why(answer, reason):
    verdict = check("both-sides", answer)
    assert not verdict
    assert reason in repr(verdict)


def test_measurements_on_both_sides_pass_and_name_the_break_even():
    measured = {0.1: (1.0, 0.5), 0.3: (1.0, 1.2), 1.0: (1.0, 5.0)}
    assert "up to 0.1 and loses from 0.3" in repr(check("both-sides", measured))
