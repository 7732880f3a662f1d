"""A pruned weight in the sparse formats of torch and SciPy, and their products, each in the layout it is meant for.

CSR stores single weights, BSR whole tiles; `products` makes every product that this build of torch and SciPy offers,
checks it against the dense one, and keeps the reason where one refuses.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._common.tables import Printed
from ..pruning.packing import PackedMatrix
from ..pruning.structure import BlockStructure, check_weight

#: What torch and SciPy raise for a format or a product that they do not have.
_REFUSALS = (RuntimeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Product:
    """`run()` returns y as (M, T) where `feature_major`, else as (T, M); the bytes are those of the weight's format."""

    run: Callable[[], Any]
    feature_major: bool
    kept: int
    bytes_values: int
    bytes_indices: int


@dataclass(frozen=True, repr=False)
class Products(Printed, Mapping[str, Product]):
    """Products by name, and in `refused` why others do not run here; prints as a table of bytes; `a | b` joins two."""

    found: Mapping[str, Product]
    refused: Mapping[str, str]

    def __getitem__(self, name: str) -> Product:
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __or__(self, other: Products) -> Products:
        return Products({**self.found, **other.found}, {**self.refused, **other.refused})

    @property
    def functions(self) -> dict[str, Callable[[], Any]]:
        """{name: function}, as `compare` wants them."""
        return {name: product.run for name, product in self.found.items()}

    def _table(self) -> list[list[str]]:
        head = ["", "weights kept", "values, bytes", "indices, bytes", "bytes per kept weight"]
        return [head] + [
            [name, f"{p.kept:,}", f"{p.bytes_values:,}", f"{p.bytes_indices:,}",
             f"{(p.bytes_values + p.bytes_indices) / max(1, p.kept):.2f}"]
            for name, p in self.found.items()
        ]  # fmt: skip

    def _caption(self) -> str:
        names: dict[str, list[str]] = {}
        for name, reason in self.refused.items():
            names.setdefault(reason, []).append(name)
        reasons = [f"not here: {' and '.join(those)} ({reason})" for reason, those in names.items()]
        return "; ".join(reasons) or "every product ran and agreed with the dense one"


def to_torch(weight: Tensor, structure: BlockStructure) -> Tensor:
    """`weight` (M, N) as a torch CSR tensor (irregular) or BSR tensor (tile).

    torch's warning that its sparse tensors are in beta is not shown. Raises ValueError for another structure, and for a
    BSR whose tiles do not divide the matrix.

    >>> to_torch(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), BlockStructure.irregular()).col_indices()
    tensor([1])
    """
    sides = _tile_of(weight, structure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Sparse \w+ tensor support is in beta", category=UserWarning)
        return weight.detach().to_sparse_csr() if sides is None else weight.detach().to_sparse_bsr(sides)


def to_scipy(weight: Tensor, structure: BlockStructure) -> Any:
    """`weight` (M, N) as a SciPy `csr_array` (irregular) or `bsr_array` (tile); raises as `to_torch` does.

    >>> to_scipy(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), BlockStructure.irregular()).indptr.tolist()
    [0, 1, 1]
    """
    from scipy import sparse

    sides = _tile_of(weight, structure)
    dense = weight.detach().cpu().numpy()
    return sparse.csr_array(dense) if sides is None else sparse.bsr_array(dense, blocksize=sides)


def stored_bytes(matrix: Any) -> tuple[int, int]:
    """(bytes of the values, bytes of the indices) of a torch or SciPy CSR or BSR matrix, or of a `PackedMatrix`.

    >>> stored_bytes(to_torch(torch.eye(2), BlockStructure.irregular()))  # 2 values; 2 columns and 3 offsets of int64
    (8, 40)
    """
    if isinstance(matrix, PackedMatrix):
        return matrix.bytes_values, matrix.bytes_indices
    if isinstance(matrix, Tensor) and matrix.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
        values, *indices = (part.numel() * part.element_size() for part in parts)
        return values, sum(indices)
    if getattr(matrix, "format", None) in ("csr", "bsr"):
        return int(matrix.data.nbytes), int(matrix.indices.nbytes + matrix.indptr.nbytes)
    raise TypeError(f"matrix must be a CSR or BSR matrix or a PackedMatrix; got {type(matrix).__name__}")


def products(weight: Tensor, x: Tensor, structure: BlockStructure) -> Products:
    """Every product of x (T, N) with the pruned `weight` (M, N) that torch and SciPy offer for `structure`.

    irregular gives "torch CSR" and "SciPy CSR", which multiply a feature-major copy of x, (N, T), and "F.linear, CSR",
    which takes x as it is; a tile gives the same three as BSR. Each is run once and compared with the dense product;
    one that raises or disagrees is `refused`, with the reason (some builds of torch have no such product, or only for
    square tiles). float32 on the CPU. Raises ValueError or TypeError for arguments that do not fit.
    """
    form = "CSR" if _tile_of(weight, structure) is None else "BSR"
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != weight.shape[1] or x.dtype != weight.dtype:
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be {weight.dtype} of shape (tokens, {weight.shape[1]}); got {got}")
    weight, x = weight.detach(), x.detach()
    wide = x.T.contiguous()  # (N, T): the tokens of a feature are neighbours
    wide_array, wanted, linear = wide.numpy(), x.double() @ weight.double().T, torch.nn.functional.linear
    offered: list[tuple[str, Callable[..., Any], Mapping[str, tuple[Callable[..., Any], bool]]]] = [
        ("torch", to_torch, {"torch": (lambda matrix: matrix @ wide, True), "F.linear,": (partial(linear, x), False)}),
        ("SciPy", to_scipy, {"SciPy": (lambda matrix: matrix @ wide_array, True)}),
    ]
    found, refused = dict[str, Product](), dict[str, str]()
    for owner, make, ways in offered:
        try:
            matrix = make(weight, structure)
        except _REFUSALS as error:
            refused[f"{owner} {form}"] = _first_line(error)
            continue
        for name, (multiply, feature_major) in ways.items():
            run = partial(multiply, matrix)
            if reason := _objection(run, wanted.T if feature_major else wanted):
                refused[f"{name} {form}"] = reason
            else:
                stored = stored_bytes(matrix)
                found[f"{name} {form}"] = Product(run, feature_major, int(weight.count_nonzero()), *stored)
    return Products(found, refused)


def _tile_of(weight: Tensor, structure: BlockStructure) -> tuple[int, int] | None:
    """None for CSR, (height, width) for BSR."""
    check_weight(weight, structure)
    if structure.kind == "irregular":
        return None
    if structure.kind != "tile":
        raise ValueError(f"structure must be irregular (CSR) or tile (BSR); got {structure}: bp.pack(...) would do")
    return structure.group_shape(weight.shape)


def _objection(run: Callable[[], Any], wanted: Tensor) -> str:
    """Why a product cannot be used here, or nothing."""
    try:
        got = torch.as_tensor(run())
    except _REFUSALS as error:
        return _first_line(error)
    if got.shape != wanted.shape:
        return f"it gave shape {tuple(got.shape)}, not {tuple(wanted.shape)}"
    if not wanted.numel():
        return ""
    off = float((got.double() - wanted).abs().max())
    return "" if off <= 1e-4 * max(float(wanted.abs().max()), 1e-30) else f"it is off by {off:.2g}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:160] or type(error).__name__
