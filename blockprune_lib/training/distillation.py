"""Learning from a teacher: the loss that pulls a pruned model towards the dense one it came from.

    L = (1 - w) · task loss + w · T² · KL(softmax(teacher / T) || softmax(student / T)) + h · H     classes
    L = (1 - w) · task loss + w · (student - teacher)² + h · H                                      a regression

    H = mean over layers l of  mean over real tokens of (student_l - teacher_l)²  ÷  variance of teacher_l

Hinton, Vinyals and Dean 2015; T² keeps the gradient's size as the temperature T changes. H is that of Jiao et al. 2020
(TinyBERT), divided by the variance so that a layer counts the same whatever the size of its activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss

from .._common.checks import finite_number
from .evaluation import fingerprint
from .remembered import Answers


@dataclass(frozen=True)
class Teacher:
    """A trained model to learn from: `weight` w of its logits in the loss, 0 to 1, and the `temperature` T > 0.

    `hidden`: the weight h ≥ 0 of the hidden states of all layers; 0 leaves them out. The teacher is put in eval mode
    and gets no gradient; its logits and hidden states must have the student's shape, but it may have more layers. The
    student must be another model, such as `copy.deepcopy(model)`. Raises TypeError for anything but a module,
    ValueError for numbers out of bounds.

    >>> Teacher(nn.Linear(2, 2), weight=0.7).temperature
    2.0
    """

    model: nn.Module
    weight: float = 0.5
    temperature: float = 2.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            got = f"{type(self.model).__name__}: models.load(...).model would do"
            raise TypeError(f"model must be a trained torch.nn.Module; got {got}")
        if finite_number(self.weight, "weight", 0, "0.5 is usual") > 1:
            raise ValueError(f"weight must be a part of the loss, 0 to 1; got {self.weight!r}: 0.5 would do")
        finite_number(self.temperature, "temperature", 0, "2.0 is usual", above=True)
        finite_number(self.hidden, "hidden", 0, "2.0 would do")
        self.model.eval()

    def check(self, student: nn.Module) -> None:
        """Raise ValueError where the student is the teacher itself, or shares weights with it: both would move."""
        held = {id(parameter) for parameter in self.model.parameters()}
        if any(id(parameter) in held for parameter in student.parameters() if parameter.requires_grad):
            raise ValueError(
                "teacher must be another model than the one that is trained; got one with the same weights: "
                "Teacher(copy.deepcopy(model)) would do"
            )

    def config(self) -> dict[str, Any]:
        """A checksum of the weights, and the settings, JSON-able: a stage is resumed only with the same."""
        told = {"weights": fingerprint(self.model), "weight": self.weight, "temperature": self.temperature}
        return told | ({"hidden": self.hidden} if self.hidden else {})  # folders from before know no hidden states

    def asks(self) -> dict[str, Any]:
        """What the student's forward pass must be told besides its inputs."""
        return {"output_hidden_states": True} if self.hidden else {}

    def loss(
        self, task_loss: Tensor, outputs: Any, inputs: dict[str, Any], remembered: Answers | None = None
    ) -> Tensor:
        """The mixed loss of one micro-batch: `outputs` of the student, `inputs` what it was fed.

        `remembered`: the teacher's answers to the training examples, where they are known.
        """
        known = None if remembered is None else remembered.to(inputs)
        logits, states = self._answer(inputs) if known is None else known
        loss = (1 - self.weight) * task_loss
        if self.weight:
            loss = loss + self.weight * distillation_loss(outputs["logits"], logits, self.temperature)
        if self.hidden:
            real = _places(inputs["attention_mask"])
            student = [layer[real] for layer in outputs["hidden_states"][1:]]  # the first are the embeddings
            loss = loss + self.hidden * _states_loss(student, states)
        return loss

    @torch.no_grad()
    def _answer(self, inputs: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
        """The teacher's logits, and of each layer the states of the real tokens (tokens, width)."""
        self.model.to(inputs["input_ids"].device)
        fed = {key: value for key, value in inputs.items() if key != "labels"}
        target = self.model(**(fed | self.asks()))
        real = _places(inputs["attention_mask"])
        return target.logits, [layer[real] for layer in target.hidden_states[1:]] if self.hidden else []


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """T² · KL of the softened classes, mean over the batch; the mean square where there is one output.

    `student`, `teacher` (batch, outputs) logits. Raises ValueError where their shapes differ.

    >>> distillation_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.)
    """
    if student.shape != teacher.shape:
        raise ValueError(f"teacher's logits have shape {tuple(teacher.shape)}, the student's {tuple(student.shape)}")
    student, teacher = student.float(), teacher.float()
    if student.shape[-1] == 1:
        return mse_loss(student, teacher)
    soft, target = (log_softmax(logits / temperature, dim=-1) for logits in (student, teacher))
    return temperature**2 * kl_div(soft, target, reduction="batchmean", log_target=True)


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """H: how far the student's hidden states are from the teacher's, in units of their variance, mean over layers.

    `student` and `teacher` hold (batch, tokens, width) for each layer; layer i of k students learns from layer
    round(i · n / k) of n teachers, so that the last learns from the last. `mask` (batch, tokens): 1 at real tokens; the
    others do not count. Raises ValueError where shapes differ or the student has more layers.

    >>> states = [torch.tensor([[[1.0, 3.0], [9.0, 9.0]]])]
    >>> hidden_loss([states[0] + 1], states, torch.tensor([[1, 0]]))  # each 1 away, the variance of 1 and 3 is 1
    tensor(1.)
    """
    real = _places(mask)
    return _states_loss([layer[real] for layer in student], [layer[real] for layer in teacher])


def _places(mask: Tensor) -> tuple[Tensor, ...]:
    """Where `mask` is not 0, as indices: they are counted once, where a boolean mask would stop a GPU at each layer."""
    return mask.nonzero(as_tuple=True)


def _states_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The same of the real tokens alone, (tokens, width) for each layer."""
    if len(student) > len(teacher):
        raise ValueError(f"teacher has {len(teacher)} layers, the student {len(student)}: as many would do")
    if student[0].shape != teacher[0].shape:
        shapes = tuple(teacher[0].shape), tuple(student[0].shape)
        raise ValueError("teacher's hidden states have shape {}, the student's {}".format(*shapes))
    losses = []
    for i, states in enumerate(student, 1):
        target = teacher[round(i * len(teacher) / len(student)) - 1].float()
        spread = target.var(correction=0).clamp_min(torch.finfo(torch.float32).tiny)
        losses.append(mse_loss(states.float(), target) / spread)
    return torch.stack(losses).mean()
