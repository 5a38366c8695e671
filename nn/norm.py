"""Batch normalization: every unit's Z with mean 0 and variance 1 over the batch, then scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine import DomainError, Value, mean, sqrt
from nn.data import refuse_count, refuse_not_positive
from nn.module import Module


class BatchNorm(Module):
    """N = γ·(Z − μ)/√(σ² + ε) + β for each unit, with μ and σ² over the batch. Ioffe and Szegedy 2015, algorithm 1.

    In training the statistics are those of the batch, and the running ones move toward them by `momentum`, with the
    unbiased variance, as in PyTorch; in evaluation they are the running ones, so that one example can be asked.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, n_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        refuse_count(n_features=n_features)
        refuse_not_positive(eps=eps, momentum=momentum)
        if momentum > 1.0:
            raise ValueError(f"momentum is a share, from 0 to 1, and it is {momentum}.")
        self.gamma = [Value(1.0) for _ in range(n_features)]
        self.beta = [Value(0.0) for _ in range(n_features)]
        self.running_mean = [0.0] * n_features
        self.running_var = [1.0] * n_features
        self.eps = float(eps)
        self.momentum = float(momentum)
        self.labelled("")

    def labelled(self, place: str) -> None:
        """Label the parameters by the layer they are in, as `gamma2_1`."""
        for number, (gamma, beta) in enumerate(zip(self.gamma, self.beta, strict=True), 1):
            gamma.label, beta.label = f"gamma{place}_{number}", f"beta{place}_{number}"
        self._place = place

    def __call__(self, row: Any) -> list[Value]:
        """One example, in evaluation mode. Raises ValueError in training."""
        return self.batch([row])[0]

    def batch(self, X: Sequence[Sequence[Value]]) -> list[list[Value]]:
        """The rows of a batch, each unit normalized over them. Raises ValueError for one example in training."""
        for row in X:
            if len(row) != len(self.gamma):
                raise ValueError(f"BatchNorm normalizes {len(self.gamma)} units, and a row has {len(row)}.")
        if not self.training:
            return [
                [
                    gamma * ((z - center) / (variance + self.eps) ** 0.5) + beta
                    for z, gamma, beta, center, variance in zip(
                        row, self.gamma, self.beta, self.running_mean, self.running_var, strict=True
                    )
                ]
                for row in X
            ]
        if len(X) < 2:
            raise ValueError(
                "Batch normalization needs at least two examples in training: the variance over one is 0. Ask "
                "model.batch(X) for a batch, or call model.eval() first, which takes the running statistics."
            )
        columns = [self._normalized(unit, column) for unit, column in enumerate(zip(*X, strict=True))]
        return [list(row) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.gamma)})"

    def _normalized(self, unit: int, column: Sequence[Value]) -> list[Value]:
        center = mean(column)
        centered = [z - center for z in column]
        variance = mean([c**2 for c in centered])
        spread = sqrt(variance + self.eps)
        center.label, variance.label = f"mu{self._place}_{unit + 1}", f"var{self._place}_{unit + 1}"
        if not math.isfinite(variance.data):
            raise DomainError(
                f"{variance.label}: the variance over the batch is {variance.data}, too large for a float."
            )
        unbiased = variance.data * len(column) / (len(column) - 1)
        self.running_mean[unit] += self.momentum * (center.data - self.running_mean[unit])
        self.running_var[unit] += self.momentum * (unbiased - self.running_var[unit])
        return [self.gamma[unit] * (c / spread) + self.beta[unit] for c in centered]
