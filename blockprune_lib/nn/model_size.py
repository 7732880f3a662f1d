"""How much smaller a model is, by each definition that papers use, in weights and in bytes.

A "rate" of 5 may mean: of the matrices that were pruned, of all matrices, or of all parameters. It is always said
which. Bytes count the indices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from .._common.checks import check_present
from .._common.tables import html_table, text_table
from ..pruning.architectures import parameter_name, prunable
from .block_sparse_linear import BlockSparseLinear
from .model_files import dtype_on_disk, precision_of


@dataclass(frozen=True, repr=False)
class Compression:
    """Weights before and after, and bytes, of a model; `print` shows a table.

    pruned, matrices, parameters   (all weights, weights kept): prunable matrices, every 2-D weight, everything
    pruned_bytes     (bytes with nothing packed, bytes with indices now) of the prunable matrices alone
    bytes_dense      bytes of the model with nothing packed
    bytes_values     bytes of the parameters as they are stored now
    bytes_indices    bytes of the indices of sparse layers
    bytes_saved      bytes that `save` writes: fewer for a model made for bfloat16, whose weights stay float32 in memory
    """

    pruned: tuple[int, int]
    matrices: tuple[int, int]
    parameters: tuple[int, int]
    pruned_bytes: tuple[int, int]
    bytes_dense: int
    bytes_values: int
    bytes_indices: int
    bytes_saved: int
    sparse_layers: int
    dense_layers: int

    @property
    def rate_pruned(self) -> float:
        """All weights ÷ weights kept, of the prunable matrices."""
        return _rate(self.pruned)

    @property
    def rate_matrices(self) -> float:
        """All weights ÷ weights kept, of every 2-D weight, embeddings, pooler and classifier included."""
        return _rate(self.matrices)

    @property
    def rate_parameters(self) -> float:
        """All parameters ÷ parameters kept."""
        return _rate(self.parameters)

    @property
    def bytes_total(self) -> int:
        """Bytes of parameters and indices as they are stored now."""
        return self.bytes_values + self.bytes_indices

    @property
    def rate_bytes(self) -> float:
        """Dense bytes ÷ bytes now, indices included."""
        return _rate((self.bytes_dense, self.bytes_total))

    @property
    def _in_half(self) -> bool:
        return self.bytes_saved != self.bytes_total

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: every field and rate."""
        rates = ("rate_pruned", "rate_matrices", "rate_parameters", "rate_bytes", "bytes_total")
        return asdict(self) | {name: getattr(self, name) for name in rates}

    def _table(self) -> list[tuple[str, str, str, str]]:
        pairs = {
            "pruned matrices": self.pruned, "all 2-D weights": self.matrices, "all parameters": self.parameters,
            "bytes, pruned matrices": self.pruned_bytes, "bytes, whole model": (self.bytes_dense, self.bytes_total),
        }  # fmt: skip
        rows = [(name, f"{pair[0]:,}", f"{pair[1]:,}", _times(pair)) for name, pair in pairs.items()]
        pair = (self.bytes_dense, self.bytes_saved)
        saved = [("bytes, saved in bfloat16", f"{pair[0]:,}", f"{pair[1]:,}", _times(pair))] * self._in_half
        return [
            ("", "dense", "kept", "rate"),
            *rows,
            ("  of them values", f"{self.bytes_dense:,}", f"{self.bytes_values:,}", ""),
            ("  of them indices", "0", f"{self.bytes_indices:,}", ""),
            *saved,
        ]

    def _note(self) -> str:
        if self.sparse_layers == 0:
            return "No layer is packed: zeros take their place in memory; sparsify(model, structure) packs them."
        beside = f", {self.dense_layers} prunable ones are dense" if self.dense_layers else ""
        half = "; their weights are rounded to bfloat16, and in memory also kept in float32" * self._in_half
        packed = "1 linear layer is" if self.sparse_layers == 1 else f"{self.sparse_layers} linear layers are"
        return f"{packed} packed{beside}{half}."

    def __repr__(self) -> str:
        return "\n".join(["Compression", text_table(self._table()), self._note()])

    def _repr_html_(self) -> str:
        rows = [(name.strip(), *numbers) for name, *numbers in self._table()]
        return html_table(rows, f"Compression. {self._note()}")


def compression(model: nn.Module, **which: bool) -> Compression:
    """How much smaller `model` is: rates over pruned matrices, 2-D weights and all parameters; bytes with indices.

    A weight counts as kept where it is stored in a sparse layer, or is not zero in a dense one. The prunable matrices
    are those of `prunable(model, **which)` and all sparse layers. Shared weights count once. Raises as `prunable` does,
    and ValueError for weights on the meta device.

    >>> print(compression(nn.Sequential(nn.Linear(8, 4), nn.ReLU())))
    Compression
                            dense  kept   rate
    pruned matrices            32    32  1.00x
    all 2-D weights            32    32  1.00x
    all parameters             36    36  1.00x
    bytes, pruned matrices    128   128  1.00x
    bytes, whole model        144   144  1.00x
      of them values          144   144
      of them indices           0     0
    No layer is packed: zeros take their place in memory; sparsify(model, structure) packs them.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    sparse = {f"{n}.values".removeprefix("."): m for n, m in model.named_modules() if isinstance(m, BlockSparseLinear)}
    try:
        dense = {parameter_name(name) for name in prunable(model, **which)}
    except ValueError:
        if not sparse:
            raise
        dense = set()
    counts: dict[str, list[tuple[int, int]]] = {"pruned": [], "matrices": [], "parameters": []}
    pruned_bytes, bytes_dense, bytes_values, bytes_indices, saves = list[tuple[int, int]](), 0, 0, 0, 0
    precision = precision_of(model)
    for name, parameter in model.named_parameters():
        check_present(parameter, name)
        layer, indices = sparse.get(name), 0
        total, kept = parameter.numel(), int(parameter.count_nonzero()) if parameter.ndim == 2 else parameter.numel()
        if layer is not None:
            packed = layer.packed
            total, kept, indices = packed.shape[0] * packed.shape[1], packed.elements, packed.bytes_indices
            on_disk = dtype_on_disk(parameter.detach(), precision)
            saves += parameter.numel() * (parameter.element_size() - on_disk.itemsize)
        before, now = total * parameter.element_size(), parameter.numel() * parameter.element_size()
        bytes_dense, bytes_values, bytes_indices = bytes_dense + before, bytes_values + now, bytes_indices + indices
        counts["parameters"].append((total, kept))
        if layer is not None or parameter.ndim == 2:
            counts["matrices"].append((total, kept))
        if layer is not None or name in dense:
            counts["pruned"].append((total, kept))
            pruned_bytes.append((before, now + indices))
    return Compression(
        **{name: _sum(pairs) for name, pairs in counts.items()}, pruned_bytes=_sum(pruned_bytes),
        bytes_dense=bytes_dense, bytes_values=bytes_values, bytes_indices=bytes_indices,
        bytes_saved=bytes_values + bytes_indices - saves, sparse_layers=len(sparse), dense_layers=len(dense),
    )  # fmt: skip


def _sum(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(before for before, _ in pairs), sum(now for _, now in pairs)


def _times(pair: tuple[int, int]) -> str:
    return f"{_rate(pair):.2f}x" if pair[1] else "none kept"


def _rate(pair: tuple[int, int]) -> float:
    return pair[0] / pair[1] if pair[1] else float("inf")
