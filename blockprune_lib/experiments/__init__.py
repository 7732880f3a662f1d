"""From a recipe to records that anyone can check and run again.

    recipe     what to run, checked before anything is trained        presets, own_data
    runner     one run through its stages, resumable
    sweep      every run of a recipe, over processes and machines
    records    one JSON file a run
    report     a folder of them as tables and pictures                pictures

>>> run({"task": "rte", "structure": "block_row:64", "rate": 5}, "runs/rte")  # doctest: +SKIP
"""

from __future__ import annotations

from .recipe import Run, plan, read_recipe
from .records import SCHEMA, read, read_all
from .sweep import run

__all__ = ["SCHEMA", "Run", "plan", "read", "read_all", "read_recipe", "run"]
