"""One training stage from its first step to its report: begun or resumed, trained, scored, kept.

It trains the model in place, prints nothing, leaves nothing on disk unless `settings.output_dir` says where, and leaves
the global random state as it was.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from torch import nn

from .._common.files import usual_modes
from .._common.folders import explain_write_errors
from ..data import metrics
from ..data.models import name_labels_, quiet
from ..nn.storage import holds_sparse_layers, state_of
from .distillation import Teacher
from .evaluation import Scores, TrainingData, fingerprint, prepare
from .hooks import Hook
from .remembered import Answers, answers
from .report import StageReport, first_and_last
from .settings import TrainingSettings, check_settings
from .stage_folder import StageFolder, load_hooks, save_hooks


def run_stage(
    name: str, model: Any, tokenizer: Any, source: Any, settings: TrainingSettings | None, hooks: Sequence[Hook] = (),
    teacher: Teacher | None = None, context: AbstractContextManager[None] | None = None,
) -> StageReport:  # fmt: skip
    """Train one stage with a `PruningTrainer` that calls `hooks`, score before and after, and report.

    `context` is entered for the training and left before the model is kept: it may put other layers in the model.
    """
    from .arguments import training_arguments

    settings = check_settings(settings)
    data = prepare(model, tokenizer, source, settings.max_length)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"model must have weights to train; got a {type(model).__name__} whose weights are all frozen: "
            "model.requires_grad_(True) first would do"
        )
    if teacher is not None:
        teacher.check(model)
    name_labels_(model.config, getattr(source, "label_names", ()))  # what the outputs are trained to mean
    stage = _Stage(name, model, data, settings, hooks, teacher)
    scratch = tempfile.TemporaryDirectory(prefix="blockprune-") if settings.output_dir is None else None
    with scratch or nullcontext(os.path.join(settings.output_dir or "", name)) as place, _isolated(model, settings):
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = training_arguments(settings, str(folder / "checkpoints"), len(data.train))
        identity = stage.identity()
        with arguments.main_process_first():
            stage_folder = StageFolder(folder, identity)
            if (report := stage_folder.report()) is not None:
                model.load_state_dict(_kept_weights(folder, type(model)))
                if hooks:
                    load_hooks(folder, hooks)
                return StageReport.of(report, "report")
            stage_folder.begin()
            checkpoint = stage_folder.newest_checkpoint()
        with context or nullcontext():
            result = stage.train(arguments, checkpoint)
        if settings.output_dir is not None and arguments.should_save:
            with explain_write_errors(folder), quiet():
                model.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
                if hooks:
                    save_hooks(folder, hooks, {})
                usual_modes(folder)
                stage_folder.finish(result.to_dict())
        PartialState().wait_for_everyone()
    return result


def _kept_weights(folder: Path, model_class: Any) -> dict[str, Any]:
    """The state_dict of the model that a finished stage kept in its folder, with block-sparse layers or without."""
    if holds_sparse_layers(folder):
        return state_of(folder)
    with quiet():
        return model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True).state_dict()


class _Stage(NamedTuple):
    """All that goes into one stage."""

    name: str
    model: Any
    data: TrainingData
    settings: TrainingSettings
    hooks: Sequence[Hook]
    teacher: Teacher | None

    def identity(self) -> dict[str, Any]:
        """Everything that decides the stage's result; what a folder must have in common to be resumed."""
        kept = self.settings.output_dir is not None
        return {
            "stage": self.name,
            "settings": self.settings.identity(),
            "data": self.data.fingerprint() if kept else None,
            "weights": fingerprint(self.model) if kept else None,
            "rules": {hook.name: hook.config() for hook in self.hooks},  # the name of hooks in folders from before
            "teacher": None if self.teacher is None else self.teacher.config(),
        }

    def train(self, arguments: Any, checkpoint: Path | None) -> StageReport:
        """Train from the start or from `checkpoint` to the end, with the Trainer's `arguments`."""
        from .trainer import PruningTrainer

        # What a checkpoint remembers: the scores at the beginning, and what killed runs spent.
        memory: dict[str, Any] = {"seconds": 0.0, "cpu_seconds": 0.0, "tokens": 0, "resumed": 0}

        def remembered() -> dict[str, Any]:
            now = {"seconds": time.perf_counter(), "cpu_seconds": time.process_time(), "tokens": trainer.tokens}
            return memory | {key: memory.get(key, 0) + value - begun.get(key, 0) for key, value in now.items()}

        data, scores = self.data, Scores(self.model, self.data)
        trainer = PruningTrainer(
            model=self.model, args=arguments, data_collator=data.collate, train_dataset=data.rows(),
            eval_dataset=data.validation, compute_metrics=metrics.for_trainer(data.metric_set),
            hooks=self.hooks, teacher=self.teacher, checkpointed=remembered,
        )  # fmt: skip
        if checkpoint is None:
            memory["before"] = scores.now() if self.settings.evaluate_first else None
            memory["begin"] = trainer.log_values()
        else:
            memory = load_hooks(checkpoint, self.hooks)
            memory["resumed"] += 1
        begun = {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}
        trainer.remembered = self.teachers_answers(arguments)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        spent = remembered()
        history = [{"step": 0, **memory["begin"]}] if memory["begin"] else []
        history += [entry for entry in trainer.state.log_history if "train_runtime" not in entry]
        on_the_way = sum(entry.get("eval_runtime", 0.0) for entry in history)
        after = scores.now()
        return StageReport(
            stage=self.name, steps=trainer.state.global_step, device=arguments.device.type,
            seconds=spent["seconds"] - on_the_way, cpu_seconds=spent["cpu_seconds"], tokens=spent["tokens"],
            bf16=arguments.bf16, evaluation_seconds=scores.seconds + on_the_way,
            before=memory["before"], after=after, loss=first_and_last(history, "loss"), history=history,
            processes=arguments.world_size, resumed=memory["resumed"], settings=self.settings, **data.report(),
            **{field: value for hook in self.hooks for field, value in hook.report(history).items()},
        )  # fmt: skip

    def teachers_answers(self, arguments: Any) -> Answers | None:
        """What the teacher says to every example; None where each is seen about once, and asking pays as well."""
        from .arguments import step_count

        seen = step_count(self.settings, len(self.data.train)) * self.settings.batch_size
        if self.teacher is None or seen * self.settings.gradient_accumulation_steps < 2 * len(self.data.train):
            return None
        how = (self.teacher.asks(), arguments.device, arguments.bf16)
        return answers(self.teacher.model, self.data.rows(), self.data.collate, *how)


@contextmanager
def _isolated(model: Any, settings: TrainingSettings) -> Iterator[None]:
    """Freeze and drop what the settings say; afterwards put the model in eval mode and all else back as it was."""
    frozen = [weight for weight in _embeddings(model) if weight.requires_grad] if settings.freeze_embeddings else []
    dropouts = {module: module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    attributes = dict(vars(model))
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION")  # transformers 4.57 sets it for bf16, for good
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (the Trainer seeds it)
    try:
        for weight in frozen:
            weight.requires_grad_(False)
        for module, p in dropouts.items():
            module.p = p if settings.dropout is None else float(settings.dropout)
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
        if precision is not None:
            os.environ["ACCELERATE_MIXED_PRECISION"] = precision
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        for weight in frozen:
            weight.requires_grad_(True)
        for module, p in dropouts.items():
            module.p = p
        # Accelerate marks the model, and under bf16 leaves an autocast around its forward.
        for key in set(vars(model)) - set(attributes):
            delattr(model, key)
        vars(model).update({key: value for key, value in attributes.items() if key == "forward"})
        model.zero_grad(set_to_none=True)
        model.eval()


def _embeddings(model: Any) -> list[nn.Parameter]:
    """The parameters of the embeddings, their layer normalisation included: below them no gradient is needed."""
    encoder = getattr(model, model.base_model_prefix, model)
    return list(getattr(encoder, "embeddings", model.get_input_embeddings()).parameters())
