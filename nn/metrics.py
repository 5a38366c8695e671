"""Metrics: how good outputs are, in numbers that nobody differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from engine.text import nearest
from nn.losses import LOSSES, OF_LOGITS, Loss, as_loss, name_of

Metric: TypeAlias = Callable[[list[Any], list[Any]], float]
"""A function of outputs and targets, both lists of numbers (or of lists of them), an entry an example."""


def accuracy(outputs: Sequence[Any], targets: Sequence[Any], *, threshold: float = 0.5) -> float:
    """The share of examples told right: the largest of several outputs, or one that is above `threshold`.

    A target is a class, the probabilities of the classes, or for one output 0 and 1 (or −1 and 1).
    """
    if not len(outputs) or len(outputs) != len(targets):
        raise ValueError(f"Accuracy needs a target for each output; here are {len(outputs)} and {len(targets)}.")
    right = [
        int(np.argmax(output)) == (target if np.ndim(target) == 0 else int(np.argmax(target)))
        if np.size(output) > 1
        else bool(np.ravel(output)[0] > threshold) == bool(np.ravel(target)[0] > 0.5)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return sum(right) / len(right)


def as_metrics(given: Sequence[str | Metric] | str | Metric, loss: str, targets: Sequence[Any]) -> dict[str, Metric]:
    """The metrics by their names, for a loss of that name and such targets; accuracy takes the threshold that fits.

    Raises ValueError for an unknown name, and for two metrics of one name.
    """
    found: dict[str, Metric] = {}
    for metric in [given] if isinstance(given, str) or callable(given) else given:
        if callable(metric):
            name = name_of(metric)
        elif metric == "accuracy":
            of_scores = loss in ("hinge", *OF_LOGITS) or min(map(np.min, targets)) < 0.0
            name, metric = metric, partial(accuracy, threshold=0.0 if of_scores else 0.5)
        elif metric in LOSSES:
            name, metric = metric, partial(_loss_of_numbers, as_loss(metric)[1])
        else:
            raise ValueError(f"There is no metric {metric!r:.60}. {nearest(str(metric), ['accuracy', *LOSSES])}")
        if name in found:
            raise ValueError(f"Two metrics are called {name!r}: give one of them a name of its own, with def.")
        found[name] = metric
    return found


def _loss_of_numbers(loss: Loss, outputs: list[Any], targets: list[Any]) -> float:
    return loss(outputs, targets).data
