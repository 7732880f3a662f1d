"""Floor 4: the stages of pruning as training: fine-tune, reweight, prune, retrain.

    stages          the stages as functions
    settings        how a stage is trained                 report: what it did
    hooks           what pruning adds to a training step: the penalty, masks that hold
    callback        masks that hold in a Trainer of one's own
    gradual         masks that shrink on a schedule, by magnitude or movement
    shrinking       the penalty on the same schedule, and masks that hold
    distillation    a teacher                                      remembered: its answers, computed once
    trainer         the Hugging Face Trainer with hooks    arguments: its settings    sampler: the order of examples
    evaluation      scoring a model on a task
    stage_runner    one stage from first step to report    stage_folder: on disk, resumable

The chapter *Prune and retrain* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
