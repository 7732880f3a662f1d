"""A model's embeddings as the record that a compiled call reads, and its texts as rows of their tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.records import EMBEDDING, TOKEN, filled
from ..pruning.families import TextPaths, part_of
from .encoder_plan import Unfit, norm_of
from .replaced import replaced
from .watched import Watched


@dataclass(eq=False)
class EmbeddingPlan:
    """The tables of a model that a kernel reads where they lie."""

    tables: np.ndarray
    width: int
    words: int  # how many rows the tables have
    positions: int
    types: int
    padding: int | None  # the number that places are counted from, padding left out; None: all are counted, from 0
    kept: list[Any]  # keeps alive what the addresses point to
    watched: Watched
    modules: tuple[nn.Module, ...]  # all of the model's, when it was made

    @classmethod
    def of(cls, model: Any, paths: TextPaths, modules: tuple[nn.Module, ...]) -> EmbeddingPlan:
        """The plan of the embeddings of a model of a known family. Raises Unfit saying what does not fit."""
        embeddings = part_of(model, paths.embeddings)
        if hasattr(model, "embeddings_project"):
            raise Unfit("the embeddings are projected")
        if "forward" in vars(embeddings) or type(embeddings).__module__.split(".")[0] != "transformers":
            raise Unfit("the embeddings have a forward of their own")
        if what := replaced(embeddings.modules()):
            raise Unfit(f"a module of the embeddings is a {what}")
        if getattr(embeddings, "position_embedding_type", "absolute") != "absolute":
            raise Unfit("the positions are not absolute")
        watched, kept = Watched(), list[Any]()
        width = int(getattr(part_of(embeddings, paths.words), "embedding_dim", 0))  # `_table` says what is no table
        watched.add(embeddings)
        names = {"words": paths.words, "positions": paths.positions, "types": paths.types}
        found = {
            name: _table(part_of(embeddings, path), width, watched) if path else (0, 0) for name, path in names.items()
        }
        norm = norm_of(part_of(embeddings, paths.norm), width, kept, watched)
        given = getattr(embeddings, "token_type_ids", None)
        if isinstance(given, Tensor) and bool(given.any()):
            raise Unfit("the type of a token is not 0 where none is given")
        tables = filled(EMBEDDING, **{name: address for name, (address, _) in found.items()}, norm=norm[0])
        watched.begin()
        padding = int(part_of(embeddings, paths.padding)) if paths.padding else None
        words, positions, types = (count for _, count in found.values())
        return cls(tables, width, words, positions, types, padding, kept, watched, modules)

    def holds(self, modules: tuple[nn.Module, ...]) -> bool:
        """Whether `modules`, the model's now, and every tensor are what the plan was made from, unchanged since."""
        return self.modules is modules and self.watched.holds()

    def tokens(self, words: np.ndarray, types: np.ndarray | None, shown: np.ndarray) -> np.ndarray | None:
        """The visible tokens of `words` (batch, tokens) as records; None where a table has no such row."""
        if self.padding is None:
            positions = np.broadcast_to(np.arange(words.shape[1]), words.shape)
        else:
            counted = words != self.padding
            positions = np.cumsum(counted, axis=1) * counted + self.padding
        found = np.zeros(np.count_nonzero(shown), TOKEN)
        rows = {"word": (words, self.words), "position": (positions, self.positions)}
        if self.types and types is not None:
            rows["type"] = (types, self.types)
        for name, (numbers, count) in rows.items():
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:  # those of padding too, as torch does
                return None
            found[name] = numbers[shown]
        return found


def _table(table: Any, width: int, watched: Watched) -> tuple[int, int]:
    """(address, rows) of an embedding's table."""
    if type(table) is not nn.Embedding or table.max_norm is not None or hasattr(table, "parametrizations"):
        raise Unfit(f"a {type(table).__name__} is no plain nn.Embedding")
    weight = table.weight
    if weight.dtype is not torch.float32 or not weight.is_cpu or not weight.is_contiguous():
        raise Unfit("a table is not float32 on the CPU, row after row")
    if weight.shape[1] != width:
        raise Unfit(f"a table has rows of {weight.shape[1]} features, the encoder has {width}")
    watched.add(table)
    return weight.data_ptr(), len(weight)
