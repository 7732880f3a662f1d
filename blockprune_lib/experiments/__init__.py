"""Floor 5: a recipe in, records out that anyone can check and run again.

    methods        the register: which stages each method runs
    recipe         what to run, checked before anything is trained      safe_yaml, stage_settings, presets
    run_spec       one run, every setting resolved
    runner         one run through its stages, resumable                actions: what each stage does to the model
    sweep          every run of a recipe, over processes and machines   workers: processes that end with their parent
    records        one JSON file per run
    flags          what went wrong in a run                              held_out: rows to choose settings by
    report         a folder of them as tables                           plots
    alike          which runs are one setting, and may be compared
    latency        how long their models take, added afterwards         serving: the same in batches
    frontier       accuracy against latency                             frontier_plot: as a picture
    paired         one setting against another, by seed and by row      deciding: the pairs that decide a study
    standing       a study as a page shows it
    pooled         one difference over several tasks                    pooled_plot: as a picture
    bag_of_words   the floor                                            precisions: the model in fewer bits

>>> run({"task": "rte", "structure": "block_row:64", "rate": 5}, "runs/rte")  # doctest: +SKIP
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
