"""What is measured: training steps written once, for any scalar engine with `Value`, `.data`, `.grad` and operators."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

Step = Callable[[], float]
"""Does one training step and returns the loss before it."""


@cache
def moons(count: int = 100) -> tuple[list[tuple[float, float]], list[int]]:
    """Two half circles that reach into each other, and the class of each point, 1 or −1."""
    rng = random.Random(1)
    points, classes = [], []
    for number in range(count):
        angle = math.pi * rng.random()
        x, y = math.cos(angle), math.sin(angle)
        upper = number % 2 == 0
        x, y = (x, y) if upper else (1.0 - x, 0.5 - y)
        points.append((x + rng.gauss(0.0, 0.1), y + rng.gauss(0.0, 0.1)))
        classes.append(1 if upper else -1)
    return points, classes


SIZES = [2, 16, 16, 1]


def moons_parameters(value: Callable[[float], Any]) -> list[Any]:
    """The parameters of the 2-16-16-1 net, per neuron its weights and then its bias."""
    rng = random.Random(1337)
    return [
        value(0.0) if place == n_in else value(rng.uniform(-1.0, 1.0))
        for n_in, n_out in itertools.pairwise(SIZES)
        for _ in range(n_out)
        for place in range(n_in + 1)
    ]


def moons_loss(
    parameters: Sequence[Any],
    value: Callable[[float], Any],
    relu: Callable[[Any], Any],
    dot: Callable[..., Any] | None = None,
) -> Any:
    """Micrograd's demo: the hinge loss of a net with relu over 100 points, and L2 regularization.

    With `dot` a neuron's weighted sum is one node, else single products and sums.
    """
    following = iter(parameters)
    layers = [
        [([next(following) for _ in range(n_in)], next(following)) for _ in range(n_out)]
        for n_in, n_out in itertools.pairwise(SIZES)
    ]
    points, classes = moons()

    def score(xs: Sequence[Any]) -> Any:
        for depth, layer in enumerate(layers):
            if dot is None:
                zs = [sum((w * x for w, x in zip(weights, xs, strict=True)), bias) for weights, bias in layer]
            else:
                zs = [dot(weights, xs, bias) for weights, bias in layer]
            xs = [relu(z) for z in zs] if depth < len(layers) - 1 else zs
        return xs[0]

    scores = [score([value(x) for x in point]) for point in points]
    losses = [relu(1.0 + -y * s) for y, s in zip(classes, scores, strict=True)]
    return sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in parameters)


def moons_step(value: Callable[[float], Any], dot: Callable[..., Any] | None = None, cleared: Any = 0.0) -> Step:
    """A training step of the moons net. `cleared` is what an engine has for no gradient."""
    parameters = moons_parameters(value)

    def step() -> float:
        loss = moons_loss(parameters, value, lambda z: z.relu(), dot)
        for parameter in parameters:
            parameter.grad = cleared
        loss.backward()
        for parameter in parameters:
            parameter.data -= 0.1 * parameter.grad
        return float(loss.data)

    return step


NAMES = "ada alan barbara claude donald edsger fei grace john katherine leslie margaret niklaus radia tim yann".split()


WIDTH, HEADS, LONGEST = 16, 4, 8
LETTERS = sorted(set("".join(NAMES)))
END = len(LETTERS)


def tokens_of(name: str) -> list[int]:
    """The letters by number, between an end and an end."""
    return [END, *map(LETTERS.index, name), END][: LONGEST + 1]


def shifted_softmax(scores: list[Any]) -> list[Any]:
    """Shares, less the largest score as a number, so that no power overflows."""
    largest = max(score.data for score in scores)
    powers = [(score - largest).exp() for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def gpt(
    value: Callable[[float], Any], softmax: Callable[[list[Any]], list[Any]] = shifted_softmax
) -> tuple[list[Any], Callable[..., Any]]:
    """A GPT of single scalars: one block of 4 heads, 16 wide, with RMS norm and squared relu.

    Returns its parameters, and a function that gives the loss of letters and their targets, where `row_of` finds the
    row of a letter in a table and `share_of` the share of a target.
    """
    rng = random.Random(42)

    def matrix(rows: int, columns: int, spread: float = 0.02) -> list[list[Any]]:
        return [[value(rng.gauss(0.0, spread)) for _ in range(columns)] for _ in range(rows)]

    token_table, position_table, unembed = matrix(END + 1, WIDTH), matrix(LONGEST, WIDTH), matrix(END + 1, WIDTH)
    query, key, val = (matrix(WIDTH, WIDTH) for _ in range(3))
    mix, up, down = matrix(WIDTH, WIDTH, 0.0), matrix(4 * WIDTH, WIDTH), matrix(WIDTH, 4 * WIDTH, 0.0)
    every = (token_table, position_table, unembed, query, key, val, mix, up, down)

    def linear(xs: list[Any], rows: list[list[Any]]) -> list[Any]:
        return [sum(w * x for w, x in zip(row, xs, strict=True)) for row in rows]

    def normed(xs: list[Any]) -> list[Any]:
        scale = (sum(x * x for x in xs) / len(xs) + 1e-5) ** -0.5
        return [x * scale for x in xs]

    def attended(xs: list[Any], keys: list[list[Any]], values: list[list[Any]]) -> list[Any]:
        q, size = linear(xs, query), WIDTH // HEADS
        keys.append(linear(xs, key))
        values.append(linear(xs, val))
        out = []
        for head in range(HEADS):
            part = range(head * size, (head + 1) * size)
            scores = [sum(q[j] * earlier[j] for j in part) / size**0.5 for earlier in keys]
            weights = softmax(scores)
            out += [sum(w * earlier[j] for w, earlier in zip(weights, values, strict=True)) for j in part]
        return linear(out, mix)

    def loss_of(letters: Sequence[Any], targets: Sequence[Any], row_of: Any, share_of: Any) -> Any:
        keys: list[list[Any]] = []
        values: list[list[Any]] = []
        losses = []
        for letter, position, target in zip(letters, position_table, targets, strict=False):
            xs = normed([a + b for a, b in zip(row_of(token_table, letter), position, strict=True)])
            xs = [a + b for a, b in zip(attended(normed(xs), keys, values), xs, strict=True)]
            hidden = [x.relu() ** 2 for x in linear(normed(xs), up)]
            xs = [a + b for a, b in zip(linear(hidden, down), xs, strict=True)]
            losses.append(-share_of(softmax(linear(xs, unembed)), target).log())
        return (1.0 / len(losses)) * sum(losses)

    return [parameter for table in every for row in table for parameter in row], loss_of


def gpt_training(value: Callable[[float], Any]) -> tuple[Step, list[Any]]:
    """A step on a name with Adam, and the parameters."""
    parameters, loss_of = gpt(value)
    first, second = [0.0] * len(parameters), [0.0] * len(parameters)
    steps = 0

    def step() -> float:
        nonlocal steps
        tokens = tokens_of(NAMES[steps % len(NAMES)])
        loss = loss_of(tokens[:-1], tokens[1:], lambda table, letter: table[letter], lambda shares, one: shares[one])
        loss.backward()
        steps += 1
        for i, parameter in enumerate(parameters):
            first[i] = 0.9 * first[i] + 0.1 * parameter.grad
            second[i] = 0.95 * second[i] + 0.05 * parameter.grad**2
            average, square = first[i] / (1.0 - 0.9**steps), second[i] / (1.0 - 0.95**steps)
            parameter.data -= 0.01 * average / (square**0.5 + 1e-8)
            parameter.grad = 0.0
        return float(loss.data)

    return step, parameters


def gpt_step(value: Callable[[float], Any]) -> Step:
    """A training step of the GPT."""
    return gpt_training(value)[0]


def chain(value: Callable[[float], Any], length: int) -> tuple[Any, Any]:
    """A leaf, and a chain of single products that long."""
    x = y = value(1.0000001)
    for _ in range(length):
        y = y * x
    return x, y


def wide_sum(value: Callable[[float], Any], count: int) -> tuple[list[Any], Any]:
    """Leaves, and their sum by single additions."""
    xs = [value(1.0) for _ in range(count)]
    return xs, sum(xs[1:], xs[0])
