"""The numbers of a step that a student can be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.backprop import Contribution
from engine.graph import recorded_derivatives
from engine.value import Value
from engine.walk import Step

Asked: TypeAlias = Literal["sum", "local", "contribution"]
SUM_OF_PATHS = "sum of paths"


@dataclass(frozen=True)
class Blank:
    """A number of a step, left blank: a node's sum over its paths, a local derivative, or a contribution.

    `question` ends in `?`; `line`, which is the step's in place `row`, is the same with its number. `operand` is the
    place of the parent that it is about among the node's, and `contribution` what that receives; neither is there for a
    sum.
    """

    step: Step
    asks: Asked
    question: str
    line: str
    row: int
    expected: float
    operand: int = -1
    contribution: Contribution | None = None

    @property
    def node(self) -> Value:
        """The node of the step."""
        return self.step.node

    @property
    def noise(self) -> float:
        """How far from 0 rounding alone may leave the number: that of the terms of a sum."""
        return 8.0 * math.ulp(max(map(abs, self.step.received))) if self.asks == "sum" else 0.0

    @property
    def operation(self) -> str:
        """The kind of operation that is practised, such as `"sigmoid"`."""
        return SUM_OF_PATHS if self.asks == "sum" else self.node.op


def blanks(step: Step) -> list[Blank]:
    """What can be asked at a step, in the order of its lines; a number that is not finite cannot be."""
    (gradient, sign, total), *rest = step.rows.rows
    found = []
    if len(step.received) > 1:
        line = f"{gradient} {sign} {total}"
        found.append(Blank(step, "sum", f"{gradient} {sign} ?", line, 0, step.grad))
    operands = [place for place, derivative in enumerate(recorded_derivatives(step.node)) if derivative is not None]
    pairs = zip(rest[::2], rest[1::2], operands, step.contributions, strict=False)  # the lines are of the first twelve
    for place, (local, contribution, operand, one) in enumerate(pairs):
        which = f"operand {operand + 1}: " if step.node.parents.count(one.parent) > 1 else ""
        asked_here: list[tuple[int, Asked, tuple[str, str, str], float]] = [
            (2 * place + 1, "local", local, one.local_derivative),
            (2 * place + 2, "contribution", contribution, one.amount),
        ]
        for row, asks, (left, sign, right), expected in asked_here:
            asked = which if asks == "contribution" else ""  # the other line says it itself
            question, line = f"{asked}{left} {sign} ?", f"{left} {sign} {right}"
            found.append(Blank(step, asks, question, line, row, expected, operand, one))
    return [blank for blank in found if math.isfinite(blank.expected)]
