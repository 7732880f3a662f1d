"""Draw book/images/share-card.png, what a shared link shows: a matrix of MiniLM, pruned, and the title."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import torch

import blockprune_lib as bp
from blockprune_lib._common.files import write_whole
from blockprune_lib._common.plots import MAGNITUDE, canvas

CARD = Path(__file__).resolve().parent.parent / "book" / "images" / "share-card.png"
TOLD = (
    "Why pruning a transformer usually\nmakes nothing faster, and how to\nprune so that it does. Measured\n"
    "on your own machine."
)
MATRIX = "bert.encoder.layer.0.attention.self.query.weight"
STRUCTURE, RATE = "tile:16x16", 5.0


def card() -> bytes:
    """The card as a PNG of 1200 x 630."""
    model, _ = bp.models.load("minilm")
    weight = dict(bp.pruning.prunable_weights(model))[MATRIX].detach()
    structure = bp.BlockStructure.parse(STRUCTURE)
    keep = bp.expand(bp.select(bp.group_scores(weight, structure), RATE, balanced="rows"), structure, weight.shape)
    shown = torch.where(keep, weight.abs(), torch.nan)
    with canvas("light", (12, 6.3)) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set_position((0.03, 0.06, 0.46, 0.88))
        axes.imshow(shown.numpy(), cmap=MAGNITUDE, vmax=float(weight.abs().quantile(0.99)), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        for text, height, size, weight_of in (
            ("Pruned\nand faster", 0.66, 54, "bold"),
            (TOLD, 0.26, 21, None),
        ):  # fmt: skip
            figure.text(0.53, height, text, fontsize=size, fontweight=weight_of, va="center")
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100, facecolor="white")
        return content.getvalue()


def main() -> int:
    """Write the card; return the exit status."""
    write_whole(CARD, card())
    print(f"{CARD}: {CARD.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
