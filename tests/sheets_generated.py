"""Generated students' worksheets: computed from their own rounded numbers, with slips planted in some cells.

The step is computed here by formulas of its own, and not by those of `nn`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nn import MLP, worksheet
from nn.worksheet import Worksheet


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1.0 - _sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0.0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0.0, z, 0.01 * z), lambda z: np.where(z > 0.0, 1.0, 0.01)),
    "softplus": (lambda z: np.log1p(np.exp(z)), _sigmoid),
    "linear": (lambda z: z, np.ones_like),
}
SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "half_squared_error": lambda a, t: a - t,
    "mse": lambda a, t: 2.0 * (a - t) / a.size,
    "binary_cross_entropy": lambda a, t: (a - t) / (a * (1.0 - a)) / a.size,
    "binary_cross_entropy_with_logits": lambda a, t: (_sigmoid(a) - t) / a.size,
}
LABELS = {
    "Z": "z{}", "A": "a{}", "f": "f'(z{})", "p": "p{}", "dA": "dL/da{}", "delta": "delta{}",
    "dW": "dL/dw{}", "dB": "dL/db{}", "new W": "new(w{})", "new B": "new(b{})",
}  # fmt: skip


@dataclass
class Case:
    """A net's worksheet, what a student wrote of it, and the cells where they slipped."""

    sheet: Worksheet
    written: dict[str, Any]
    slips: list[str] = field(default_factory=list)


@dataclass
class _Step:
    """One step of a net in rounded numbers; `slip` changes a cell on the way."""

    weights: list[Any]
    biases: list[Any]
    X: Any
    T: Any
    activations: list[str]
    loss: str
    lr: float
    rounded: Callable[[float], float]
    slip: Callable[[str, float, float], float]
    cells: dict[str, float] = field(default_factory=dict)

    def own(self, kind: str, layer: int, exact: Any, reach: Any) -> Any:
        """A matrix as the student writes it; `reach` is how far the roundings before it move its cells."""
        exact, reach = np.asarray(exact, dtype=float), np.broadcast_to(reach, np.shape(exact))
        written = np.empty_like(exact)
        for place in np.ndindex(*exact.shape):
            label = self._label(kind, layer, place)
            written[place] = self.slip(label, self.rounded(float(exact[place])), float(reach[place]))
            self.cells[label] = float(written[place])
        return written

    def _label(self, kind: str, layer: int, place: tuple[int, ...]) -> str:
        end = f"{layer}_{place[0] + 1}"
        if kind in ("dW", "new W"):
            end += f"_{place[1] + 1}"
        elif kind not in ("dB", "new B") and self.X.shape[1] > 1:
            end += f"_ex{place[1] + 1}"
        return LABELS[kind].format(end)

    def unit(self, numbers: Any) -> Any:
        """How far the last digit of numbers reaches, generously."""
        return np.vectorize(lambda x: abs(self.rounded(x * 1.0) - x) + 10.0 * self.last_place(x))(numbers)

    def last_place(self, x: float) -> float:
        return abs(self.rounded(x * 1.0 + self.rounded(1e-4)) - self.rounded(x)) or abs(x) * 1e-3 or 1e-4

    def run(self, *, columns: bool) -> dict[str, float]:
        last = len(self.weights)
        A: list[Any] = [self.X]
        f: list[Any] = [None]
        unit = self.unit
        for layer, (W, B, name) in enumerate(zip(self.weights, self.biases, self.activations, strict=True), 1):
            function, slope = ACTIVATIONS[name]
            Z = self.own("Z", layer, W @ A[-1] + B, abs(W) @ unit(A[-1]))
            A.append(self.own("A", layer, function(Z), abs(slope(Z)) * unit(Z)))
            if not (self.loss == "cross_entropy" and layer == last):
                bent = abs(slope(Z + unit(Z)) - slope(Z)) + abs(slope(Z - unit(Z)) - slope(Z)) + unit(A[-1])
                f.append(self.own("f", layer, slope(Z), bent))
        delta = None
        for layer in range(last, 0, -1):
            W = self.weights[layer - 1]
            if layer == last and self.loss == "cross_entropy":
                powers = np.exp(A[-1] - A[-1].max(axis=0))
                p = self.own("p", layer, powers / powers.sum(axis=0), unit(A[-1]).sum(axis=0))
                delta = self.own("delta", layer, (p - self.T) / self.X.shape[1], unit(p))
            else:
                if layer == last:
                    slope = SLOPES[self.loss](A[-1], self.T)
                    moved = SLOPES[self.loss](A[-1] + unit(A[-1]) * 0.1, self.T)
                    reach = 20.0 * abs(moved - slope)
                else:
                    after = self.weights[layer]
                    slope, reach = after.T @ delta, abs(after).T @ unit(delta)
                if columns:
                    slope = self.own("dA", layer, slope, reach)
                    reach = unit(slope)
                delta = self.own("delta", layer, slope * f[layer], reach * abs(f[layer]) + abs(slope) * unit(f[layer]))
            inputs = A[layer - 1]
            reach = unit(delta) @ abs(inputs).T + abs(delta) @ unit(inputs).T
            dW = self.own("dW", layer, delta @ inputs.T, reach)
            dB = self.own("dB", layer, delta.sum(axis=1), unit(delta).sum(axis=1))
            self.own("new W", layer, W - self.lr * dW, self.lr * unit(dW))
            self.own("new B", layer, self.biases[layer - 1][:, 0] - self.lr * dB, self.lr * unit(dB))
        return self.cells


def cases(count: int, slips: int, seed: int = 0) -> Iterator[Case]:
    """So many sheets, with so many slips in each, larger than what rounding can do."""
    for number in range(count):
        yield _case(random.Random(f"{seed} {slips} {number}"), slips)


def _case(rng: random.Random, slips: int) -> Case:
    generator = np.random.default_rng(rng.randrange(2**32))
    loss = rng.choice([*SLOPES, "cross_entropy"])
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(1, 4))]
    if loss == "cross_entropy":
        sizes[-1] = max(sizes[-1], 2)
    hidden = rng.choice([name for name in ACTIVATIONS if name != "linear"])
    output = {"binary_cross_entropy": "sigmoid", "half_squared_error": rng.choice([*ACTIVATIONS]), "mse": "tanh"}.get(
        loss, "linear"
    )
    inputs, examples, lr = rng.randint(1, 4), rng.randint(1, 3), rng.choice([0.1, 0.5, 1.0])
    model = MLP(inputs, sizes, hidden, output, seed=rng.randrange(1000))
    for parameter in model.parameters():
        parameter.data = round(float(generator.uniform(-1.5, 1.5)), 2)
    X = generator.uniform(-2.0, 2.0, (examples, inputs)).round(2)
    T = generator.uniform(0.0, 1.0, (examples, sizes[-1])).round(2)
    if loss == "cross_entropy":
        T = np.eye(sizes[-1])[generator.integers(0, sizes[-1], examples)]
    one = examples == 1 and rng.random() < 0.8
    sheet = worksheet(model, X[0] if one else X, T[0] if one else T, loss, lr)
    one_example_named = not one and examples == 1
    significant = rng.random() < 0.6
    columns = rng.random() < 0.5

    def rounded(x: float) -> float:
        return float(f"{x:.4g}") if significant else round(x, 4)

    def computed(slip: Callable[[str, float, float], float]) -> dict[str, float]:
        weights = [np.array([[w.data for w in row] for row in layer.weights]) for layer in model.layers]
        biases = [np.array([[b.data] for b in layer.biases]) for layer in model.layers]
        activations = [hidden] * (len(sizes) - 1) + [output]
        step = _Step(weights, biases, X.T, T.T, activations, loss, lr, rounded, slip)
        with np.errstate(all="ignore"):
            return step.run(columns=columns)

    if not all(map(math.isfinite, computed(lambda label, x, reach: x).values())):
        return _case(rng, slips)  # a sigmoid that is 1 to all digits
    made: list[str] = []
    names = list(computed(lambda label, x, reach: x))
    chosen = set(rng.sample(names, min(slips, len(names))))

    def slip(label: str, x: float, reach: float) -> float:
        if label not in chosen:
            return x
        made.append(label)
        size = 20.0 * reach + abs(x) * rng.uniform(0.05, 0.5) + 0.002 * (1.0 if not significant or x == 0.0 else abs(x))
        wrong = rounded(x + rng.choice([-1.0, 1.0]) * size)
        return wrong if wrong else rounded(2.0 * size)

    cells = computed(slip)
    style = rng.choice(["floats", "digits", "kept zeros"])
    written = {
        (f"{label}_ex1" if one_example_named and _of_example(label) else label): _written(x, style, significant)
        for label, x in cells.items()
    }
    slipped = [f"{label}_ex1" if one_example_named and _of_example(label) else label for label in made]
    return Case(sheet, {_renamed(name): x for name, x in written.items()}, [_renamed(name) for name in slipped])


def _of_example(label: str) -> bool:
    return not ("w" in label or "dL/db" in label or "new" in label)


def _renamed(name: str) -> str:
    """`f'(z1_1)_ex1` is `f'(z1_1_ex1)`."""
    return name if ")_ex" not in name else name.replace(")_ex1", "_ex1)")


def _written(x: float, style: str, significant: bool) -> Any:
    if style == "floats":
        return x
    if style == "digits":
        return f"{x:.10g}"
    if not significant:
        return f"{x:.4f}"
    decimals = 3 - math.floor(math.log10(abs(x))) if x else 3
    return f"{x:.{max(decimals, 0)}f}"


@dataclass
class Tally:
    """How many sheets were flagged exactly where a slip was planted, and those that were not."""

    exact: int = 0
    others: list[tuple[Case, list[str]]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.exact / max(self.exact + len(self.others), 1)


def flagged(case: Case) -> list[str]:
    """The cells that are not right."""
    report = case.sheet.compare(case.written)
    return [name for name, row in report.items() if row.verdict != "right"]


def tally(count: int, slips: int, seed: int = 0) -> Tally:
    """Judge so many generated sheets: benchmarks run 1,000 of each kind."""
    found = Tally()
    for case in cases(count, slips, seed):
        wrong = flagged(case)
        if sorted(wrong) == sorted(case.slips):
            found.exact += 1
        else:
            found.others.append((case, wrong))
    return found
