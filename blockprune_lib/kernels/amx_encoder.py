"""The encoder of `pair_encoder` with its products and its attention in tiles of AMX; everything else is as there."""

from __future__ import annotations

from typing import Any

from ..machine.amx_tiles import configure_tiles, release_tiles
from ..machine.native import inner
from .amx_attention import attend_in_tiles
from .amx_product import multiply_in_tiles
from .encoder import work_through
from .pair_encoder import do_item


def amx_encoder_worker(pointer: Any) -> None:
    """Take items of every phase until the last is done; `pointer`: a job whose fourth field is a call's address."""
    configure_tiles()
    work_through(pointer, _do)
    release_tiles()


@inner
def _do(call: Any, layer: Any, kind: int, item: int, memory: int) -> None:
    """One item of a phase."""
    do_item(call, layer, kind, item, memory, attend_in_tiles, multiply_in_tiles)
