"""Peers that compute with matrices: NumPy by hand, PyTorch, JAX, and CasADi with one example's graph for the batch.

Each takes a problem and returns a `Training`, whose step is one of gradient descent on the mean loss of the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True)
class Problem:
    """What a net learns from where: `start` has per neuron its weights, then its bias; examples are the rows of X."""

    sizes: tuple[int, ...]
    loss: Literal["hinge", "cross_entropy"]
    X: Array
    y: Array
    start: Array
    decay: float = 0.0
    rate: float = 0.1

    def layers(self) -> list[tuple[Array, Array]]:
        """W, a row for each neuron, and b of every layer at the start."""
        found, begin = [], 0
        for n_in, n_out in itertools.pairwise(self.sizes):
            end = begin + n_out * (n_in + 1)
            rows = self.start[begin:end].reshape(n_out, n_in + 1)
            found.append((rows[:, :-1].copy(), rows[:, -1].copy()))
            begin = end
        return found


@dataclass(frozen=True)
class Training:
    """A step of training, which returns the loss before it, and the parameters as they are, in the problem's order."""

    step: Callable[[], float]
    parameters: Callable[[], Array]


def flat(parameters: Sequence[Any]) -> Array:
    """W and b of every layer, W and b of the next, …, in the problem's order."""
    pairs = zip(parameters[::2], parameters[1::2], strict=True)
    return np.concatenate([np.column_stack([np.asarray(W), np.ravel(b)]).ravel() for W, b in pairs])


Update: TypeAlias = Callable[[Sequence[Array]], float]
"""Subtracts the slopes, and those of the L2 term, from the parameters; returns the L2 term before."""


def array_by_array(problem: Problem) -> tuple[list[Array], Update]:
    """W1, b1, W2, …, biases as columns, and their update."""
    parameters = [array for W, b in problem.layers() for array in (W, b[:, np.newaxis])]
    decay, rate = problem.decay, problem.rate

    def update(slopes: Sequence[Array]) -> float:
        penalty = decay * sum((p * p).sum() for p in parameters) if decay else 0.0
        for p, slope in zip(parameters, slopes, strict=True):
            p -= rate * (slope + 2.0 * decay * p) if decay else rate * slope
        return float(penalty)

    return parameters, update


def in_one_vector(problem: Problem) -> tuple[list[Array], Update]:
    """The same, where the parameters are views of one vector, so that L2 and update take a few calls for all."""
    arrays, _ = array_by_array(problem)
    vector = np.concatenate([array.ravel() for array in arrays])
    places = itertools.pairwise(itertools.accumulate((array.size for array in arrays), initial=0))
    parameters = [vector[slice(*place)].reshape(array.shape) for place, array in zip(places, arrays, strict=True)]
    decay, rate = problem.decay, problem.rate

    def update(slopes: Sequence[Array]) -> float:
        slope = np.concatenate([slope.ravel() for slope in slopes])
        penalty = decay * (vector @ vector) if decay else 0.0
        vector[:] -= rate * (slope + 2.0 * decay * vector) if decay else rate * slope
        return float(penalty)

    return parameters, update


def numpy_moons(problem: Problem, kept: Callable[[Problem], tuple[list[Array], Update]] = array_by_array) -> Training:
    """The moons net in NumPy, its backward pass derived by hand; examples are columns."""
    parameters, update = kept(problem)
    W1, b1, W2, b2, W3, b3 = parameters
    X, y = problem.X.T.copy(), problem.y
    n = len(y)

    def step() -> float:
        Z1 = W1 @ X + b1
        A1 = np.maximum(Z1, 0.0)
        Z2 = W2 @ A1 + b2
        A2 = np.maximum(Z2, 0.0)
        margins = 1.0 - y * (W3 @ A2 + b3)
        loss = np.maximum(margins, 0.0).sum() / n

        dZ3 = np.where(margins > 0.0, -y, 0.0) / n
        dZ2 = (W3.T @ dZ3) * (Z2 > 0.0)
        dZ1 = (W2.T @ dZ2) * (Z1 > 0.0)
        slopes = [
            dZ1 @ X.T, dZ1.sum(axis=1, keepdims=True),
            dZ2 @ A1.T, dZ2.sum(axis=1, keepdims=True),
            dZ3 @ A2.T, dZ3.sum(axis=1, keepdims=True),
        ]  # fmt: skip
        return float(loss + update(slopes))

    return Training(step, lambda: flat(parameters))


def numpy_digits(problem: Problem, kept: Callable[[Problem], tuple[list[Array], Update]] = array_by_array) -> Training:
    """The digits net in NumPy, its backward pass derived by hand; examples are columns."""
    parameters, update = kept(problem)
    W1, b1, W2, b2 = parameters
    X, y = problem.X.T.copy(), problem.y
    n = len(y)
    columns = np.arange(n)

    def step() -> float:
        Z1 = W1 @ X + b1
        A1 = np.maximum(Z1, 0.0)
        Z2 = W2 @ A1 + b2
        powers = np.exp(Z2 - Z2.max(axis=0))
        shares = powers / powers.sum(axis=0)
        loss = -np.log(shares[y, columns]).sum() / n

        dZ2 = shares
        dZ2[y, columns] -= 1.0
        dZ2 /= n
        dZ1 = (W2.T @ dZ2) * (Z1 > 0.0)
        slopes = [
            dZ1 @ X.T, dZ1.sum(axis=1, keepdims=True),
            dZ2 @ A1.T, dZ2.sum(axis=1, keepdims=True),
        ]  # fmt: skip
        return float(loss + update(slopes))

    return Training(step, lambda: flat(parameters))


def torch_net(problem: Problem) -> Training:
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    parameters = [torch.tensor(array, requires_grad=True) for pair in problem.layers() for array in pair]
    X, y = torch.tensor(problem.X), torch.tensor(problem.y)

    def step() -> float:
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = functional.relu(functional.linear(A, W, b))
        outputs = functional.linear(A, *parameters[-2:])
        if problem.loss == "hinge":
            loss = functional.relu(1.0 - y * outputs[:, 0]).mean()
        else:
            loss = functional.cross_entropy(outputs, y)
        loss.backward()
        with torch.no_grad():
            if problem.decay:  # as the weight decay of torch.optim, which is faster than to differentiate the L2 term
                loss = loss + problem.decay * sum((p * p).sum() for p in parameters)
            for p in parameters:
                slope = p.grad.add_(p, alpha=2.0 * problem.decay) if problem.decay else p.grad
                p.sub_(slope, alpha=problem.rate)
                p.grad = None
        return float(loss.item())

    return Training(step, lambda: flat([p.detach().numpy() for p in parameters]))


def jax_net(problem: Problem) -> Training:
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # else a step waits for a second thread

    def loss_of(parameters: list[Any], X: Any, y: Any) -> Any:
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = jax.nn.relu(A @ W.T + b)
        W, b = parameters[-2:]
        outputs = A @ W.T + b
        if problem.loss == "hinge":
            loss = jax.nn.relu(1.0 - y * outputs[:, 0]).mean()
        else:
            loss = (jax.nn.logsumexp(outputs, axis=1) - jnp.take_along_axis(outputs, y[:, None], axis=1)[:, 0]).mean()
        return loss + problem.decay * sum((p * p).sum() for p in parameters) if problem.decay else loss

    @jax.jit
    def after(parameters: list[Any], X: Any, y: Any) -> tuple[Any, list[Any]]:
        loss, slopes = jax.value_and_grad(loss_of)(parameters, X, y)
        return loss, [p - problem.rate * slope for p, slope in zip(parameters, slopes, strict=True)]

    parameters = [jnp.asarray(array) for pair in problem.layers() for array in pair]
    X, y = jnp.asarray(problem.X), jnp.asarray(problem.y)

    def step() -> float:
        nonlocal parameters
        loss, parameters = after(parameters, X, y)
        return float(loss)

    return Training(step, lambda: flat(parameters))


def casadi_net(problem: Problem) -> Training:
    """One example's loss and gradient as a graph of scalars, which CasADi's virtual machine runs over the batch."""
    import casadi

    n, (n_inputs, *_, n_outputs) = len(problem.y), problem.sizes
    p, x = casadi.SX.sym("p", len(problem.start)), casadi.SX.sym("x", n_inputs)
    hinge = problem.loss == "hinge"
    t = casadi.SX.sym("t", 1 if hinge else n_outputs)
    z, begin = x, 0
    for n_in, n_out in itertools.pairwise(problem.sizes):
        end = begin + n_out * (n_in + 1)
        rows = casadi.reshape(p[begin:end], n_in + 1, n_out).T
        z = rows[:, :-1] @ (casadi.fmax(z, 0.0) if begin else z) + rows[:, -1]
        begin = end
    loss = casadi.fmax(1.0 - t * z, 0.0) if hinge else casadi.logsumexp(z) - casadi.dot(t, z)
    loss += problem.decay * casadi.dot(p, p)
    example = casadi.Function("example", [p, x, t], [loss, casadi.gradient(loss, p)])
    batch = example.map("batch", "serial", n, [0], [0, 1])

    numbers, X = casadi.DM(problem.start), casadi.DM(problem.X.T)
    targets = casadi.DM((problem.y if hinge else np.eye(n_outputs)[:, problem.y]).reshape(-1, n))

    def step() -> float:
        nonlocal numbers
        loss, slopes = batch(numbers, X, targets)
        numbers = numbers - problem.rate / n * slopes
        return float(loss) / n

    return Training(step, lambda: numbers.full().ravel())
