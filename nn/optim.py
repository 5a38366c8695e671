"""Updates: what a backward pass is for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from engine import Value
from nn.activations import Array
from nn.data import rate_at, refuse_not_positive

Rate: TypeAlias = float | Callable[[int], float]
"""A learning rate, or a function of the step (counted from 0) that gives it."""


def gradient_descent_step(parameters: Iterable[Value], lr: float) -> None:
    """Move each parameter against its gradient: w ← w − lr·∂L/∂w.

    Raises ValueError for an empty list, a parameter that is computed from others and an lr that is not above 0, and
    FloatingPointError for a parameter that would no longer be finite; no parameter is changed then.
    """
    for p in updatable(parameters, lr):
        p.data -= float(lr) * p.grad


def updatable(parameters: Iterable[Value], lr: float) -> list[Value]:
    """The parameters as a list, if each of them can take a step of gradient descent; raises as that does."""
    refuse_not_positive(lr=lr)
    listed = as_parameters(parameters)
    _refuse_not_finite(listed, [p.data - lr * p.grad for p in listed])
    return listed


def as_parameters(parameters: Iterable[Value]) -> list[Value]:
    """The parameters as a list. Raises TypeError or ValueError unless they are leaves, each once, and at least one."""
    if isinstance(parameters, Value):
        raise TypeError("The parameters are a list of Values: [w], or model.parameters().")
    if callable(parameters) or not isinstance(parameters, Iterable):
        raise TypeError("The parameters are a list of Values: write model.parameters(), with parentheses.")
    listed = list(parameters)
    if not listed:
        raise ValueError("There are no parameters to update. model.parameters() lists those of a net.")
    for number, p in enumerate(listed):
        if not isinstance(p, Value):
            raise TypeError(f"Parameter number {number} is no Value but {type(p).__name__} {p!r:.60}.")
        if p.op:
            raise ValueError(f"Parameter {_name(p, number)} is computed ({p.op}), and only a leaf can be updated.")
        if p.is_constant:
            raise ValueError(f"Parameter {_name(p, number)} is a constant of an expression: make it a leaf, Value(…).")
    if len(set(listed)) < len(listed):
        twice = next(p for number, p in enumerate(listed) if p in listed[:number])
        raise ValueError(f"Parameter {_name(twice, listed.index(twice))} is listed twice, and would move twice a step.")
    return listed


def _name(parameter: Value, number: int) -> str:
    return parameter.label or f"number {number}"


def _refuse_not_finite(parameters: Sequence[Value], moved: Sequence[float]) -> None:
    for number, (p, data) in enumerate(zip(parameters, moved, strict=True)):
        if not math.isfinite(data):
            raise FloatingPointError(
                f"Parameter {_name(p, number)} would become {data}: it is {p.data:.6g}, with gradient {p.grad:.6g}. "
                "No parameter was changed. Take a smaller lr, or find out why the gradient is so large."
            )


def clip_gradients(parameters: Iterable[Value], max_norm: float) -> float:
    """Scale the gradients so that √Σ grad² is at most `max_norm`; returns what it was. Pascanu and others 2013.

    PyTorch divides by the norm + 1e-6.

    Raises FloatingPointError, with nothing changed, for a gradient that is not finite: no scale would make it so.
    """
    refuse_not_positive(max_norm=max_norm)
    listed = as_parameters(parameters)
    for number, p in enumerate(listed):
        if not math.isfinite(p.grad):
            raise FloatingPointError(
                f"The gradient of {_name(p, number)} is {p.grad}, and no scale makes it finite: find out where the "
                "numbers grew so large, and begin with smaller weights or inputs."
            )
    found, norm = clipped(np.array([p.grad for p in listed]), max_norm)
    if norm > max_norm:
        for p, grad in zip(listed, found.tolist(), strict=True):
            p.grad = grad
    return norm


def clipped(gradients: Array, max_norm: float) -> tuple[Array, float]:
    """Gradients with a norm of at most `max_norm`, and what their norm was."""
    largest = float(np.abs(gradients).max())
    direction = math.hypot(*(gradients / largest).tolist()) if largest else 0.0  # the norm itself may overflow
    norm = largest * direction
    return (gradients / largest / direction * max_norm if norm > max_norm else gradients), norm


# The update rules. Each takes a parameter's w, its gradient g and what it remembers, and returns the new ones.


def momentum_update(w: float, g: float, velocity: float, *, lr: float, momentum: float) -> tuple[float, float]:
    """Velocity ← momentum·velocity + g; w ← w − lr·velocity. Polyak 1964, in the form of Sutskever and others 2013."""
    velocity = momentum * velocity + g
    return w - lr * velocity, velocity


def rmsprop_update(w: float, g: float, square: float, *, lr: float, alpha: float, eps: float) -> tuple[float, float]:
    """Square ← α·square + (1 − α)·g²; w ← w − lr·g/(√square + ε). Tieleman and Hinton 2012, lecture 6.5."""
    square = alpha * square + (1.0 - alpha) * g * g
    return w - lr * g / (square**0.5 + eps), square


def adam_update(
    w: float, g: float, mean: float, square: float, *, t: int, lr: float, betas: tuple[float, float], eps: float
) -> tuple[float, float, float]:
    """Mean ← β₁·mean + (1 − β₁)·g; square ← β₂·square + (1 − β₂)·g²; w ← w − lr·m̂/(√ŝ + ε). Kingma and Ba 2015.

    With m̂ = mean/(1 − β₁ᵗ) and ŝ = square/(1 − β₂ᵗ) at step t = 1, 2, …, since both begin at 0.
    """
    mean = betas[0] * mean + (1.0 - betas[0]) * g
    square = betas[1] * square + (1.0 - betas[1]) * g * g
    unbiased_mean, unbiased_square = mean / (1.0 - betas[0] ** t), square / (1.0 - betas[1] ** t)
    return w - lr * unbiased_mean / (unbiased_square**0.5 + eps), mean, square


class Optimizer:
    """Parameters, a learning rate, and what an update rule remembers of each parameter.

    `lr` is a number or a function of the step, counted from 0. `weight_decay` adds weight_decay·w to the gradient,
    which is that of ½·weight_decay·Σ w² in the loss. `memory` holds, for each parameter, what the rule remembers.
    """

    remembers: ClassVar[int] = 1

    def __init__(self, parameters: Iterable[Value], lr: Rate, *, weight_decay: float = 0.0) -> None:
        self.parameters = as_parameters(parameters)
        self.lr = lr
        rate_at(lr, 0)
        _refuse_share(weight_decay=weight_decay, below=math.inf)
        self.weight_decay = weight_decay
        self.steps = 0
        self.memory: list[tuple[float, ...]] = [(0.0,) * self.remembers for _ in self.parameters]

    def step(self) -> None:
        """Update every parameter by its gradient.

        Raises FloatingPointError, with nothing changed, where one would no longer be finite.
        """
        lr = rate_at(self.lr, self.steps)
        updated = [
            self.update(p.data, p.grad + self.weight_decay * p.data, *remembered, lr=lr)
            for p, remembered in zip(self.parameters, self.memory, strict=True)
        ]
        _refuse_not_finite(self.parameters, [data for data, *_ in updated])
        for number, (p, (_, *remembered)) in enumerate(zip(self.parameters, updated, strict=True)):
            if not all(map(math.isfinite, remembered)):
                raise FloatingPointError(
                    f"The gradient of {_name(p, number)}, {p.grad:.6g}, is too large for {type(self).__name__}, which "
                    "squares it. No parameter was changed. Find out why it is so large, or clip it."
                )
        self.steps += 1
        for p, (data, *_) in zip(self.parameters, updated, strict=True):
            p.data = data
        self.memory = [tuple(remembered) for _, *remembered in updated]

    def update(self, w: float, g: float, *remembered: float, lr: float) -> tuple[float, ...]:
        """The new w and what is to be remembered, by the rule."""
        raise NotImplementedError(f"{type(self).__name__} has no update rule.")

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        for p in self.parameters:
            p.grad = 0.0

    def __repr__(self) -> str:
        lr = "a function of the step" if callable(self.lr) else self.lr
        return f"{type(self).__name__}({len(self.parameters)} parameters, lr={lr}, {self.steps} steps done)"


class GradientDescent(Optimizer):
    """`gradient_descent_step`, with a learning rate that may change from step to step."""

    remembers = 0

    def update(self, w: float, g: float, *remembered: float, lr: float) -> tuple[float, ...]:
        """W − lr·g."""
        return (w - lr * g,)

    def step(self) -> None:
        """Move every parameter against its gradient."""
        gradient_descent_step(self.parameters, rate_at(self.lr, self.steps))
        self.steps += 1


class SGD(Optimizer):
    """Gradient descent, with momentum where that is not 0."""

    def __init__(
        self, parameters: Iterable[Value], lr: Rate = 1e-3, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay)
        _refuse_share(momentum=momentum)
        self.momentum = momentum

    def update(self, w: float, g: float, *remembered: float, lr: float) -> tuple[float, ...]:
        """As `momentum_update` has it."""
        return momentum_update(w, g, *remembered, lr=lr, momentum=self.momentum)


class RMSprop(Optimizer):
    """Each parameter by a rate of its own: lr over the root of the running mean of g²."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay)
        _refuse_share(alpha=alpha)
        refuse_not_positive(eps=eps)
        self.alpha = alpha
        self.eps = eps

    def update(self, w: float, g: float, *remembered: float, lr: float) -> tuple[float, ...]:
        """As `rmsprop_update` has it."""
        return rmsprop_update(w, g, *remembered, lr=lr, alpha=self.alpha, eps=self.eps)


class Adam(Optimizer):
    """Momentum and RMSprop in one, both without the bias of their start."""

    remembers = 2

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas are two numbers, such as (0.9, 0.999), not {betas!r:.60}.")
        _refuse_share(beta1=betas[0], beta2=betas[1])
        refuse_not_positive(eps=eps)
        self.betas = betas
        self.eps = eps

    def update(self, w: float, g: float, *remembered: float, lr: float) -> tuple[float, ...]:
        """As `adam_update` has it."""
        mean, square = remembered
        return adam_update(w, g, mean, square, t=self.steps + 1, lr=lr, betas=self.betas, eps=self.eps)


def _refuse_share(*, below: float = 1.0, **shares: Any) -> None:
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float | np.floating) or not 0.0 <= share < below:
            raise ValueError(f"{name} must be from 0 to below {below}, and it is {share!r:.60}.")
