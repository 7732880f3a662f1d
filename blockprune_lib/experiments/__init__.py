"""Floor 5: a recipe in, records out that anyone can check and run again.

    recipe         what to run, checked before anything is trained         presets, safe_yaml, stage_checks
    methods        the register: which stages each method runs
    runner         one run through its stages, resumable
    sweep          every run of a recipe, over processes and machines
    records        one JSON file a run
    report         a folder of them as tables                              plots

>>> run({"task": "rte", "structure": "block_row:64", "rate": 5}, "runs/rte")  # doctest: +SKIP
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
