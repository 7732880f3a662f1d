"""Floor 4: the stages of pruning as training: fine-tune, reweight, prune, retrain.

    stages          the stages as functions
    settings        what goes into one, and the report that comes out
    hooks           what pruning adds to a training step: the penalty, masks that hold
    gradual         masks that shrink on a schedule, by magnitude or movement
    distillation    a teacher
    trainer         the Hugging Face Trainer with hooks                    sampler: its batches
    evaluation      scoring a model on a task
    stage_runner    one stage from its first step to its report            stage_folder: on disk, resumable

The chapter *Prune and retrain* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
