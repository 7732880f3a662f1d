"""Learning from a teacher: the loss that pulls a pruned model towards the dense one it came from.

    L = (1 - w) · task loss + w · T² · KL(softmax(teacher / T) || softmax(student / T))     classes
    L = (1 - w) · task loss + w · (student - teacher)²                                      a regression

Hinton, Vinyals and Dean 2015; T² keeps the gradient's size as the temperature T changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss

from .._common.checks import finite_number
from .evaluation import fingerprint


@dataclass(frozen=True)
class Teacher:
    """A trained model to learn from: `weight` w of its part in the loss, 0 to 1, and the `temperature` T > 0.

    The teacher is put in eval mode and gets no gradient; its logits must have the student's shape.
    """

    model: nn.Module
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if finite_number(self.weight, "weight", 0, "0.5 is usual") > 1:
            raise ValueError(f"weight must be a part of the loss, 0 to 1; got {self.weight!r}: 0.5 would do")
        finite_number(self.temperature, "temperature", 0, "2.0 is usual", above=True)
        self.model.eval()
        self.model.requires_grad_(False)

    def config(self) -> dict[str, Any]:
        """A checksum of the weights, and the settings, JSON-able: a stage is resumed only with the same."""
        return {"weights": fingerprint(self.model), "weight": self.weight, "temperature": self.temperature}

    def loss(self, task_loss: Tensor, logits: Tensor, inputs: dict[str, Any]) -> Tensor:
        """The mixed loss of one micro-batch: `logits` (batch, classes) of the student, `inputs` what it was fed."""
        with torch.no_grad():
            self.model.to(logits.device)
            target = self.model(**{key: value for key, value in inputs.items() if key != "labels"}).logits
        return (1 - self.weight) * task_loss + self.weight * distillation_loss(logits, target, self.temperature)


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
