"""The benchmark of a whole model: an encoder pruned to a rate, run by every engine that there is.

Left out: accuracy, and the time of tokenising.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .case import Case
from .encoder_engines import ENGINES, TOLERANCES, encoder
from .footprint import footprints
from .measuring import Progress, measure_all, measured
from .records import Record
from .settings import ModelCase, ModelSettings
from .workload import Workload, check_name


def bench_model(*, progress: Progress | None = None, **settings: Any) -> Record:
    """Time a whole pruned encoder in every engine, for each combination of the settings; the record prints itself.

    model       "bert-base", "roberta-base", "distilbert-base" (drawn anew), "minilm" (real weights), or a folder
    batches, tokens   each call runs batch x tokens token ids
    memory      measure the bytes of the dense and of the sparse model too, each in a process of its own
    The other settings are those of `bench_matrices`, with the keys of `encoder_engines.ENGINES` as peers.

    Every answer is compared with torch's float32 before it is timed. Six copies of the model are alive at once, 4 GB
    for bert-base. Raises as `bench_matrices` does, and ValueError where the model has too few positions for `tokens`.
    """
    asked = ModelSettings(**settings)
    keys = asked.engines(ENGINES)
    check_name(asked.model)

    def measure(case: ModelCase) -> Case:
        work = Workload.of(case, asked)
        with encoder(work) as given:
            makers = {key: partial(ENGINES[key], given) for key in keys}
            found = measured(work.what, work.operations, makers, asked, TOLERANCES)
        return found.replace(memory=footprints(asked.model, case, asked.seed)) if asked.memory else found

    return measure_all("model", asked, measure, progress)
