"""The block explorer: real weights, a rate, a structure, and which groups stay.

A page holds the magnitudes of a few matrices in 8 bits, and computes norms, masks and figures itself; a live kernel
sends any other when it is asked for. One ranking over the whole model needs every matrix, so for that scope the page
holds the number of kept groups at each position of the rate's slider.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from ..machine.passport import Hardware, hardware
from ..pruning.architectures import prunable_weights
from ..pruning.groups import group_scores
from ..pruning.packing import pack
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from .host import Explorer, group_sides, source
from .pictures import maps

#: kind of structure -> its name in the menu, and the block sizes that the menu beside it offers.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "irregular": ("single weights", ()),
    "block_row": ("rows of a block", ("8", "16", "32", "64", "128")),
    "block_column": ("columns of a block", ("4", "8", "16", "32", "64")),
    "tile": ("tiles", ("8x8", "16x16", "32x32", "64x64")),
    "row": ("whole rows", ()),
    "column": ("whole columns", ()),
}
STRUCTURES = tuple(
    text for kind, (_, sizes) in KINDS.items() for text in ([f"{kind}:{size}" for size in sizes] or [kind])
)
#: Positions of the rate's slider: 1 to 20 in equal ratios, and the rates that the book speaks of.
RATES = tuple(sorted({round(20 ** (i / 96), 3) for i in range(97)} | {1.43, 1.79, 2.0, 3.0, 4.0, 5.0, 10.0}))
SCOPES = ("matrix", "strips", "model")


class BlockExplorer(Explorer):
    """Which groups of a weight matrix stay at a compression rate, for one model or for the same model in two states.

    `models` {name: model}: one or two models of the same architecture, such as before and after reweighted training.
    `layers`: names of prunable matrices to choose from; all of them in a live kernel, the first on a page without one,
    which holds the data of each. Offered are the structures that fit every matrix. `tokens` and `machine` (default:
    this one) are what the roofline's ceiling is for; `roofline` says whether it is shown. Settings: `layer`,
    `structure` as `BlockStructure.parse` takes it, `rate` from 1 to 20, `scope` "matrix", "strips" (the same share of
    every strip of blocks) or "model" (one ranking over all prunable matrices).

    Raises ValueError for models whose matrices differ, a layer that is not prunable, and settings that cannot be.
    """

    module = "block_explorer"
    _esm = source("block_explorer")

    layer = traitlets.Unicode(help="name of the matrix").tag(sync=True)
    structure = traitlets.Unicode("block_row:64", help="as BlockStructure.parse takes it").tag(sync=True)
    rate = traitlets.Float(5.0, min=1.0, max=20.0, help="all groups ÷ kept groups").tag(sync=True)
    scope = traitlets.Enum(SCOPES, "matrix", help="what one ranking is over").tag(sync=True)

    def __init__(
        self, models: Mapping[str, nn.Module], layers: Sequence[str] | None = None, tokens: int = 128,
        machine: Hardware | None = None, roofline: bool = True, **settings: Any,
    ) -> None:  # fmt: skip
        if not isinstance(models, Mapping) or len(models) not in (1, 2):
            raise ValueError("models must name one model or two, such as {'dense': model, 'reweighted': tuned}")
        self._weights = {state: dict(prunable_weights(model)) for state, model in models.items()}
        first = next(iter(self._weights.values()))
        for state, weights in self._weights.items():
            if {name: w.shape for name, w in weights.items()} != {name: w.shape for name, w in first.items()}:
                raise ValueError(f"models[{state!r}] has other matrices than the first; give one model in two states")
        self._offered = [text for text in STRUCTURES if all(_fits(text, weight.shape) for weight in first.values())]
        self._names = list(first) if layers is None else [_full_name(name, first) for name in layers]
        self._machine = machine or hardware()
        self._matrices: dict[str, dict[str, Any]] = {}
        self._kept: dict[tuple[str, str], dict[str, list[int]]] = {}
        peak, bandwidth, _ = self._machine._limits(None)
        self._fixed = {
            "rates": list(RATES),
            "kinds": [[kind, words] for kind, (words, _) in KINDS.items()],
            "sizes": {kind: list(sizes) for kind, (_, sizes) in KINDS.items()},
            "structures": {text: group_sides(text) for text in self._offered},
            "states": list(models),
            "layers": self._names,
            "limits": {
                "tokens": tokens,
                "peak": peak,
                "bandwidth": bandwidth,
                "machine": self._machine.cpu,
                "shown": roofline,
            },
        }
        settings.setdefault("layer", self._names[0])
        if "block_row:64" not in self._offered:
            settings.setdefault("structure", "irregular")
        super().__init__(data=self._data(self._names if layers is not None else self._names[:1]), **settings)
        self.observe(lambda change: self._bring(change["new"]), "layer")

    @traitlets.validate("layer")
    def _check_layer(self, proposal: Any) -> str:
        try:
            return _full_name(proposal["value"], self._names)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @traitlets.validate("structure")
    def _check_structure(self, proposal: Any) -> str:
        try:
            text = str(BlockStructure.parse(proposal["value"]))
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        if text not in self._offered:
            raise traitlets.TraitError(f"structure must be one of {', '.join(self._offered)}; got {text!r}")
        return text

    def _bring(self, layer: str) -> None:
        """Send the magnitudes of a matrix that the front end does not have."""
        if layer not in self.data["matrices"]:
            self.data = self._data([layer])

    def _data(self, layers: Sequence[str]) -> dict[str, Any]:
        return {**self._fixed, "matrices": {name: self._matrix(name) for name in layers}}

    def _matrix(self, name: str) -> dict[str, Any]:
        if name not in self._matrices:
            shape = next(iter(self._weights.values()))[name].shape
            states = {state: _codes(weights[name]) for state, weights in self._weights.items()}
            counts = {text: {state: self._counts(state, text, name) for state in states} for text in self._offered}
            self._matrices[name] = {"shape": list(shape), "states": states, "counts": counts}
        return self._matrices[name]

    def _counts(self, state: str, text: str, name: str) -> list[int]:
        """Kept groups of one matrix at each rate, under one ranking over all matrices of the model."""
        if (state, text) not in self._kept:
            self._kept[state, text] = kept_together(self._weights[state], BlockStructure.parse(text), RATES)
        return self._kept[state, text][name]

    def weight(self, state: str, layer: str | None = None) -> Tensor:
        """The magnitudes that the page has: the matrix rounded to 8 bits, (M, N)."""
        matrix = self._matrix(layer or self.layer)
        codes = np.frombuffer(matrix["states"][state]["codes"], np.uint8).reshape(matrix["shape"])
        return torch.from_numpy((matrix["states"][state]["scale"] * (codes / 255.0) ** 2).astype("f"))

    def figures(self) -> dict[str, dict[str, float]]:
        """What the page shows at the present settings, computed by the library: {state: {figure: value}}.

        kept and all groups, density, bytes with indices and of the dense matrix, the kept share of the squared norm,
        and how many times as fast as dense the roofline lets the product be.
        """
        structure = BlockStructure.parse(self.structure)
        return {state: self._figures(state, structure) for state in self._weights}

    def _figures(self, state: str, structure: BlockStructure) -> dict[str, float]:
        weight = self.weight(state)
        keep = self._keep(state, weight, structure)
        mask = expand(keep, structure, weight.shape)
        packed = pack(torch.where(mask, weight, 0.0), structure, keep)
        (M, N), tokens = weight.shape, self.data["limits"]["tokens"]
        moved = 4 * tokens * (M + N)
        dense = self._machine.roofline(2 * tokens * M * N, 4 * M * N + moved).ms
        sparse = self._machine.roofline(2 * tokens * packed.elements, packed.bytes_total + moved).ms
        squares = weight.double().square()
        energy = float(squares[mask].sum() / squares.sum()) if squares.any() else 1.0
        return {"kept": packed.groups, "groups": keep.numel(), "density": packed.density, "bytes": packed.bytes_total,
                "dense_bytes": packed.bytes_dense, "energy": energy, "speed": dense / sparse}  # fmt: skip

    def _keep(self, state: str, weight: Tensor, structure: BlockStructure) -> Tensor:
        scores = group_scores(weight, structure)
        if self.scope == "matrix":
            return select(scores, self.rate)
        if self.scope == "strips":
            return select(scores, self.rate, balanced=structure.strips)
        position = int(np.abs(np.log(np.array(RATES) / self.rate)).argmin())
        return select(scores, scores.numel() / self._counts(state, str(structure), self.layer)[position])

    def describe(self) -> str:
        """What the explorer shows, in a sentence."""
        groups = f"the groups of {self.layer} that stay under {self.structure} at rate {self.rate:g}"
        states = " and ".join(self._weights)
        return f"Block explorer: {groups}, as a heat map of their scores with the mask over it, {states}."

    def picture(self) -> bytes | None:
        """A PNG of the maps at the present settings."""
        structure = BlockStructure.parse(self.structure)
        panels = {}
        for state in self._weights:
            weight = self.weight(state)
            keep = self._keep(state, weight, structure)
            panels[state] = torch.where(keep, group_scores(weight, structure), torch.nan).numpy()
        return maps(panels, (weight.shape[0], weight.shape[1]), f"{self.structure} at rate {self.rate:g}")


def _full_name(name: str, known: Collection[str]) -> str:
    """The one matrix whose name ends so, with or without ".weight"."""
    ends = (f"{name}", f"{name}.weight")
    found = [other for other in known if other in ends or other.endswith(tuple(f".{end}" for end in ends))]
    if len(found) != 1:
        some = ", ".join(list(known)[:3])
        raise ValueError(f"layer {name!r} names {len(found)} of the matrices; there are {some}, ...")
    return found[0]


def _fits(text: str, shape: Sequence[int]) -> bool:
    with suppress(ValueError):
        return bool(BlockStructure.parse(text).grid((shape[0], shape[1])))
    return False


def _codes(weight: Tensor) -> dict[str, Any]:
    """|w| in 8 bits: w ≈ scale · (code / 255)²; the square root leaves small weights more codes."""
    size = weight.detach().abs().double().cpu().numpy()
    scale = float(size.max()) or 1.0
    return {"scale": scale, "codes": np.round(255 * np.sqrt(size / scale)).astype(np.uint8).tobytes()}


def kept_together(
    weights: Mapping[str, Tensor], structure: BlockStructure, rates: Sequence[float]
) -> dict[str, list[int]]:
    """Kept groups of each matrix at each rate under one ranking over all, as `select_model(scope="model")` keeps them.

    One sort serves all rates: what is above the smallest kept score stays, and of those equal to it the first.
    """
    grids = [np.sort(_best_in_front(group_scores(weight.detach(), structure))) for weight in weights.values()]
    ranking = np.sort(np.concatenate(grids))[::-1]
    wanted = [min(len(ranking), max(len(grids), 1, round(len(ranking) / rate))) for rate in rates]
    smallest = ranking[np.array(wanted) - 1]
    above = np.array([len(grid) - np.searchsorted(grid, smallest, "right") for grid in grids])
    equal = np.array([len(grid) - np.searchsorted(grid, smallest, "left") for grid in grids]) - above
    room = np.array(wanted) - above.sum(0) - (equal.cumsum(0) - equal)
    kept = above + np.clip(room, 0, equal)
    return {name: [int(found) for found in row] for name, row in zip(weights, kept, strict=True)}


def _best_in_front(scores: Tensor) -> np.ndarray:
    ranking = scores.flatten().float().cpu().numpy().copy()
    ranking[int(ranking.argmax())] = np.inf  # of every matrix at least its best group stays
    return ranking
