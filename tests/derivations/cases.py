"""Cases: a graph, a right and a wrong derivation on it, and every single mistake that gives the same."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tests.derivations import writing
from tests.derivations.graphs import KINDS
from tests.derivations.mistakes import mistakes
from tests.derivations.tape import LR, Graph, Mistake, Node, Pass, numbers, symbols

POINTS = 24
SAME = 1e-9  # the relative difference of two answers that are one function
KEYS = (
    "sign_flipped", "factor_2_missing", "factor_half_ignored", "activation_derivative_missing",
    "activation_derivative_twice", "derivative_at_a_not_z", "derivative_at_z_not_a", "wrong_activation_derivative",
    "path_missing", "paths_multiplied_not_added", "updated_weights", "transposed_index", "bias_chain",
    "input_factor_missing", "weight_for_input", "weight_factor_missing", "stopped_early", "sum_for_mean", "mean_twice",
    "one_example_only", "product_of_means", "log10_for_ln", "softmax_diagonal_only", "softmax_sign",
    "softmax_label_everywhere", "ce_double_derivative", "ce_treated_as_squared", "ce_one_term_only",
    "chain_inner_missing", "chain_inner_at_derivative", "power_exponent_kept", "power_rule_on_exponential",
    "quotient_rule", "integrated_instead", "abs_sign_missing", "wrong_variable", "threshold_sign",
)  # fmt: skip


@dataclass
class Case:
    """A hand derivation. `accepted`: the mistakes, with their first wrong nodes, that give the same function."""

    kind: str  # of graph
    text: str
    ranges: dict[str, tuple[float, float]]
    values: dict[str, float]
    loss: str
    wrt: str
    correct: str
    answer: str
    style: str
    key: str = ""
    first_wrong_node: str = ""
    accepted: list[tuple[str, str]] | None = None
    shape: str = ""
    lr: float = LR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Found:
    """A mistake with the function that it gives and the nodes where it shows first."""

    mistake: Mistake
    answer: Any
    nodes: list[str]


class Problem:
    """A graph, one of its nodes, and every single mistake in the gradient of the loss by that node."""

    def __init__(self, kind: str, graph: Graph, wrt: Node, rng: random.Random) -> None:
        self.kind, self.graph, self.wrt = kind, graph, wrt
        self.numbers = numbers(graph, np.random.default_rng(rng.randrange(2**32)), POINTS)
        self.values = {name: round(rng.uniform(*bounds), 2) for name, bounds in graph.used_ranges.items()}

    @cached_property
    def symbols(self) -> Pass:
        return symbols(self.graph)

    @cached_property
    def right(self) -> Any:
        return np.broadcast_to(self.numbers.right[self.wrt], POINTS)

    @cached_property
    def sound(self) -> bool:
        """Whether the gradient has digits, and is not 0 throughout."""
        return bool(np.isfinite(self.right).all() and np.count_nonzero(np.abs(self.right) > 1e-9) >= POINTS // 4)

    @cached_property
    def found(self) -> list[Found]:
        """The mistakes that change the gradient."""
        result = []
        with np.errstate(all="ignore"):
            for mistake in mistakes(self.graph, self.wrt):
                adjoints = None if mistake.answer else self.numbers.backward(mistake)
                answer = adjoints[self.wrt] if adjoints is not None else self.numbers.answer(mistake, self.wrt)
                answer = np.broadcast_to(answer, POINTS)
                if not same(answer, self.right):
                    nodes = [self.wrt.name] if adjoints is None else self._first_wrong(adjoints)
                    result.append(Found(mistake, answer, nodes))
        return result

    def _first_wrong(self, adjoints: dict[Node, Any]) -> list[str]:
        """The named nodes between loss and variable that are wrong, and have none such between them and the loss."""
        wrong = [
            node
            for node in self.graph.known.values()
            if self.wrt in self.graph.below[node]
            and not same(np.broadcast_to(adjoints[node], POINTS), np.broadcast_to(self.numbers.right[node], POINTS))
        ]
        first = [
            node.name
            for node in wrong
            if not any(other is not node and node in self.graph.below[other] for other in wrong)
        ]
        return first

    def alike(self, answer: Any) -> list[tuple[str, str]]:
        """Every single mistake that gives this function, with each node where it shows first."""
        pairs = [
            (found.mistake.key, node) for found in self.found if same(found.answer, answer) for node in found.nodes
        ]
        return list(dict.fromkeys(pairs))

    def case(self, answer: str, style: str, **more: Any) -> Case:
        return Case(
            self.kind,
            self.graph.text,
            self.graph.used_ranges,
            self.values,
            self.graph.loss.name,
            self.wrt.name,
            writing.written(self.symbols.right[self.wrt]),
            answer,
            style,
            **more,
        )

    def names_at(self, point: int) -> dict[str, float]:
        """What the names of an answer stand for at one of the points."""
        values = {name: self.numbers.values[node][point] for name, node in self.graph.known.items()}
        return {name: float(number) for name, number in values.items()} | {"lr": LR}

    def check(self, text: str, answer: Any) -> None:
        """Raise AssertionError unless the text gives the answer at every point."""
        given = np.array([writing.value(text, self.names_at(point)) for point in range(POINTS)])
        defined = np.isfinite(given) & np.isfinite(answer)
        assert defined.sum() >= POINTS // 2, f"{text}\nof\n{self.graph.text}\nhas no value"
        assert np.allclose(given[defined], answer[defined], rtol=1e-7, atol=1e-9), (
            f"{text}\nis not what was meant for ∂/∂{self.wrt.name} of\n{self.graph.text}\n{given}\n{answer}"
        )

    def planted(self, found: Found, rng: random.Random) -> Case:
        """The case of a mistake."""
        expression = self.symbols.answer(found.mistake, self.wrt)
        text, style = writing.any_style(self.graph, expression, rng)
        self.check(text, found.answer)
        accepted = self.alike(found.answer)
        return self.case(
            text,
            style,
            key=found.mistake.key,
            first_wrong_node=found.nodes[0],
            accepted=accepted,
            shape=found.mistake.shape,
        )


def same(one: Any, other: Any) -> bool:
    """Whether two answers are one function, by their values at the points."""
    defined = np.isfinite(one) & np.isfinite(other)
    if defined.sum() < POINTS // 2 or (np.isfinite(one) != np.isfinite(other)).sum() > POINTS // 3:
        return False
    one, other = one[defined], other[defined]
    scale = np.abs(other).max(initial=0.0)
    return bool((np.abs(one - other) <= SAME * np.abs(other) + 1e-13 * scale + 1e-300).all())


def usable(answer: Any) -> bool:
    """Whether an answer is a function, and not a number: that would be compared at the given values alone."""
    return bool(np.isfinite(answer).sum() > POINTS // 2 and np.ptp(answer[np.isfinite(answer)]) > 0.0)


def problem(rng: random.Random, kinds: list[str] | None = None) -> Problem:
    """A random graph and a node of it."""
    while True:
        kind = rng.choice(kinds or list(KINDS))
        graph = KINDS[kind](rng)
        nodes = [node for node in graph.known.values() if node is not graph.loss and node not in graph.given]
        leaves = [node for node in nodes if node.op == "leaf"]
        chosen = leaves if rng.random() < 0.8 else nodes
        if chosen:
            made = Problem(kind, graph, rng.choice(chosen), rng)
            if made.sound:
                return made


KINDS_OF = {
    "updated_weights": ["chain", "net"],
    "transposed_index": ["net", "net", "softmax", "batch"],
    "bias_chain": ["neuron", "chain", "net"],
    "sum_for_mean": ["batch"],
    "mean_twice": ["batch"],
    "one_example_only": ["batch"],
    "product_of_means": ["batch"],
    "log10_for_ln": ["formulas", "softmax", "neuron"],
    "softmax_diagonal_only": ["softmax"],
    "softmax_sign": ["softmax"],
    "softmax_label_everywhere": ["softmax"],
    "ce_double_derivative": ["neuron", "chain", "softmax", "batch", "net"],
    "ce_treated_as_squared": ["neuron", "chain", "softmax", "batch", "net"],
    "ce_one_term_only": ["neuron", "chain", "batch", "net"],
    "chain_inner_missing": ["formulas", "tangle"],
    "chain_inner_at_derivative": ["formulas"],
    "power_rule_on_exponential": ["formulas"],
    "quotient_rule": ["formulas", "tangle", "softmax"],
    "integrated_instead": ["formulas"],
    "abs_sign_missing": ["neuron", "formulas"],
    "threshold_sign": ["neuron"],
}
PER_PROBLEM = 3
MOST_TRIES = 400


def planted(seed: int | str, count: int) -> Iterator[Case]:
    """Wrong derivations, of every key about as many."""
    rng = random.Random(f"planted {seed}")
    made: Counter[str] = Counter()
    while sum(made.values()) < count:
        wanted = min(KEYS, key=lambda key: (made[key], zlib.crc32(f"{seed} {key}".encode())))
        for _ in range(MOST_TRIES):
            drawn = problem(rng, KINDS_OF.get(wanted))
            by_key: dict[str, list[Found]] = {}
            for found in drawn.found:
                if found.mistake.planted and usable(found.answer):
                    by_key.setdefault(found.mistake.key, []).append(found)
            if wanted in by_key:
                break
        else:
            raise RuntimeError(f"no graph was found for {wanted}")
        keys = [wanted, *sorted((key for key in by_key if key != wanted), key=lambda key: made[key])]
        for key in keys[: min(PER_PROBLEM, count - sum(made.values()))]:
            made[key] += 1
            shape = rng.choice(sorted({found.mistake.shape for found in by_key[key]}))
            chosen = rng.choice([found for found in by_key[key] if found.mistake.shape == shape])
            yield drawn.planted(chosen, rng)
