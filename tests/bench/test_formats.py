import warnings

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.bench import formats

S = bp.BlockStructure
IRREGULAR, TILE = S.irregular(), S.tile(4, 4)


def pruned(structure, rate=4.0, shape=(16, 24)):
    weight = torch.randn(shape)
    return weight * bp.expand(bp.select(bp.group_scores(weight, structure), rate=rate), structure, weight.shape)


def refuse(*arguments):
    raise RuntimeError("Calling linear is not supported on this build.\nA long story follows.")


@pytest.mark.parametrize("structure", [IRREGULAR, TILE, S.tile(2, 6)], ids=str)
def test_both_libraries_hold_the_weight_bit_for_bit(structure):
    weight = pruned(structure)
    assert torch.equal(formats.to_torch(weight, structure).to_dense(), weight)
    assert np.array_equal(formats.to_scipy(weight, structure).toarray(), weight.numpy())


def test_torch_does_not_speak_of_its_beta_and_other_warnings_pass():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        formats.to_torch(pruned(IRREGULAR), IRREGULAR)
        formats.to_torch(pruned(TILE), TILE)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["something else"]


def test_bytes_are_those_of_the_arrays():
    weight = pruned(IRREGULAR, rate=3.0)
    kept = int((weight != 0).sum())
    assert formats.stored_bytes(formats.to_torch(weight, IRREGULAR)) == (4 * kept, 8 * kept + 8 * 17)
    assert formats.stored_bytes(formats.to_scipy(weight, IRREGULAR)) == (4 * kept, 4 * kept + 4 * 17)
    tiles = pruned(TILE)
    stored = int((tiles != 0).sum()) // 16
    assert formats.stored_bytes(formats.to_torch(tiles, TILE)) == (64 * stored, 8 * stored + 8 * 5)
    packed = bp.pack(tiles, TILE)
    assert formats.stored_bytes(packed) == (packed.bytes_values, packed.bytes_indices)
    with pytest.raises(TypeError, match="CSR or BSR"):
        formats.stored_bytes(weight)


@pytest.mark.parametrize(("structure", "kind"), [(IRREGULAR, "CSR"), (TILE, "BSR")], ids=["CSR", "BSR"])
def test_every_product_is_the_dense_one_or_says_why_not(structure, kind):
    weight, x = pruned(structure), torch.randn(5, 24)
    found = formats.products(weight, x, structure)
    assert set(found) | set(found.refused) == {f"torch {kind}", f"F.linear, {kind}", f"SciPy {kind}"}
    assert f"SciPy {kind}" in found
    for product in found.values():
        y = torch.as_tensor(product.run())
        torch.testing.assert_close(y.T if product.feature_major else y, x @ weight.T)
        assert product.kept == int((weight != 0).sum())
        assert min(product.bytes_values, product.bytes_indices) > 0
    assert list(found.functions) == list(found)


def test_a_product_that_a_build_lacks_is_refused_with_the_first_line_of_its_reason(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "linear", refuse)
    found = formats.products(pruned(IRREGULAR), torch.randn(5, 24), IRREGULAR)
    assert found.refused["F.linear, CSR"] == "Calling linear is not supported on this build."
    assert "not here: F.linear, CSR (Calling linear is not supported on this build.)" in repr(found)
    assert "F.linear, CSR" not in found


def test_a_format_that_a_build_lacks_refuses_its_products(monkeypatch):
    monkeypatch.setattr(formats, "to_torch", refuse)
    found = formats.products(pruned(TILE), torch.randn(5, 24), TILE)
    assert list(found) == ["SciPy BSR"]
    assert list(found.refused) == ["torch BSR"]


def test_a_wrong_product_is_refused(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, weight: x @ weight.to_dense().T + 1)
    assert "off by 1" in formats.products(pruned(IRREGULAR), torch.randn(5, 24), IRREGULAR).refused["F.linear, CSR"]
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, weight: x)
    assert (
        "shape (5, 24)" in formats.products(pruned(IRREGULAR), torch.randn(5, 24), IRREGULAR).refused["F.linear, CSR"]
    )


def test_tiles_that_do_not_divide_the_matrix_are_refused_and_not_raised():
    structure = S.tile(5, 5)
    found = formats.products(pruned(structure, shape=(16, 24)), torch.randn(3, 24), structure)
    assert len(found) == 0
    assert set(found.refused) == {"torch BSR", "SciPy BSR"}


def test_products_join_and_print():
    weight, x = pruned(IRREGULAR), torch.randn(5, 24)
    both = formats.products(weight, x, IRREGULAR) | formats.products(pruned(TILE), x, TILE)
    assert {"SciPy CSR", "SciPy BSR"} <= set(both)
    assert "bytes per kept weight" in repr(both)
    assert both._repr_html_().count("<tr>") == len(both) + 1


@pytest.mark.parametrize(
    ("weight", "x", "structure", "named"),
    [
        (torch.ones(4, 4), torch.ones(2, 4), S.block_row(2), "structure must be irregular"),
        (torch.ones(4, 4), torch.ones(2, 5), IRREGULAR, "x must be"),
        (torch.ones(4, 4), torch.ones(2, 4).double(), IRREGULAR, "x must be"),
        (torch.ones(4, 4), [1.0], IRREGULAR, "x must be"),
    ],
)
def test_wrong_input_is_named(weight, x, structure, named):
    with pytest.raises(ValueError, match=named):
        formats.products(weight, x, structure)
