"""The line of a derivation that gives one cell of a worksheet, in matrix terms and in a student's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.text import factor, number
from nn.following import Own
from nn.matrices import Cell, Matrix

MOST_TERMS = 4  # of a sum that is written out


class _Side(NamedTuple):
    """The right side of a formula in symbols and in numbers, and the matrix in it whose sign it has."""

    symbols: str
    numbers: str
    like: Matrix | None = None


class Lines:
    """Writes lines in a student's numbers; `sign` is −1 for matrices that they give with the sign turned."""

    def __init__(self, own: Own, digits: int, sign: Callable[[Matrix], float]) -> None:
        self._own, self._digits, self._sign = own, digits, sign
        self._matrices = own.chapter.matrices

    def line(self, cell: Cell, result: float) -> str:
        """`δ1[1] = ∂L/∂A1[1]·f′(Z1[1]) = 0.0363·0.241 = 0.00877`; `result` is in the sign of a gradient."""
        kind = cell.matrix.kind
        write = _WRITERS.get("new" if kind.startswith("new_") else kind)
        side = _Side("", "") if write is None else write(self, cell)
        sign = self._sign(cell.matrix)
        if sign * (1.0 if side.like is None else self._sign(side.like)) < 0.0 and side.symbols:
            side = _Side(f"−({side.symbols})", f"−({side.numbers})")
        parts = [self._matrices.written(cell), side.symbols, side.numbers, number(sign * result, self._digits)]
        return " = ".join(part for part in parts if part)

    # What the lines are made of

    def _at(self, kind: str, layer: int, row: int, column: int) -> _Side:
        place = Cell(Matrix(kind, layer), row, column)
        value = self._sign(place.matrix) * float(self._own[place.matrix].number[place.at])
        return _Side(self._matrices.written(place), factor(value, self._digits), place.matrix)

    def _row(self, kind: str, layer: int, index: str, column: int) -> str:
        """A matrix with an index that runs, in a column: A1[i], and of the second example A1[i, 2]."""
        written = self._matrices.written(Cell(Matrix(kind, layer), 0, column))
        return written.replace("[1", f"[{index}", 1)

    def _length(self, kind: str, layer: int) -> range:
        return range(len(self._matrices.right[Matrix(kind, layer)]))

    def _has(self, kind: str, layer: int) -> bool:
        return Matrix(kind, layer) in self._matrices.right

    def _sum(self, symbols: str, terms: Sequence[_Side], like: Matrix | None, more: Sequence[_Side] = ()) -> _Side:
        shown = [term.numbers for term in terms[:MOST_TERMS]] + ["…"] * (len(terms) > MOST_TERMS)
        symbols = " + ".join([symbols, *(one.symbols for one in more)])
        return _Side(symbols, " + ".join([*shown, *(one.numbers for one in more)]), like)

    # The formulas, by kind

    def _weighted_sum(self, cell: Cell) -> _Side:
        (_, layer), row, column = cell
        inputs = self._length("A", layer - 1)
        terms = [_times(self._at("W", layer, row, i), self._at("A", layer - 1, i, column)) for i in inputs]
        weights = self._matrices.written(Cell(Matrix("W", layer), row, 0)).replace(", 1]", ", i]")
        bias = [self._at("B", layer, row, 0)] if self._has("B", layer) else []
        return self._sum(f"Σ {weights}·{self._row('A', layer - 1, 'i', column)}", terms, None, bias)

    def _activated(self, cell: Cell) -> _Side:
        (kind, layer), row, column = cell
        inner = self._at("N" if self._has("N", layer) else "Z", layer, row, column)
        name = self._own.chapter.layers[layer - 1].activation.name
        f = ("σ" if name == "sigmoid" else name) + "′" * (kind == "f_prime")
        return _Side(f"{f}({inner.symbols})", f"{f}({_bare(inner.numbers)})")

    def _upstream(self, cell: Cell) -> _Side:
        (_, layer), row, column = cell
        if layer == self._matrices.count:
            return _Side("", "")
        units = self._length("delta", layer + 1)
        terms = [_times(self._at("W", layer + 1, k, row), self._at("delta", layer + 1, k, column)) for k in units]
        weights = self._matrices.written(Cell(Matrix("W", layer + 1), 0, row)).replace("[1,", "[k,")
        return self._sum(f"Σ {weights}·{self._row('delta', layer + 1, 'k', column)}", terms, Matrix("delta", layer + 1))

    def _delta(self, cell: Cell) -> _Side:
        (kind, layer), row, column = cell
        if not self._has("dA", layer) or (kind == "delta_N") != self._has("delta_N", layer):
            return _Side("", "")
        return _times(self._at("dA", layer, row, column), self._at("f_prime", layer, row, column))

    def _of_weight(self, cell: Cell) -> _Side:
        (_, layer), row, column = cell
        terms = [
            _times(self._at("delta", layer, row, e), self._at("A", layer - 1, column, e))
            for e in range(self._matrices.examples)
        ]
        if len(terms) == 1:
            return terms[0]
        delta, inputs = self._matrices.symbol(Matrix("delta", layer)), self._matrices.symbol(Matrix("A", layer - 1))
        return self._sum(f"Σ {delta}[{row + 1}, e]·{inputs}[{column + 1}, e]", terms, Matrix("delta", layer))

    def _of_bias(self, cell: Cell) -> _Side:
        (kind, layer), row, _ = cell
        source = "delta" if kind == "dB" else "delta_N"
        terms = [self._at(source, layer, row, e) for e in range(self._matrices.examples)]
        if len(terms) == 1:
            return terms[0]._replace(numbers="")
        delta = Matrix(source, layer)
        return self._sum(f"Σ {self._matrices.symbol(delta)}[{row + 1}, e]", terms, delta)

    def _updated(self, cell: Cell) -> _Side:
        (kind, layer), row, column = cell
        name = kind.removeprefix("new_")
        old, slope = self._at(name, layer, row, column), self._at(f"d{name}", layer, row, column)
        sign = "−" if self._sign(Matrix(f"d{name}", layer)) > 0.0 else "+"
        rate = number(self._own.chapter.lr or 0.0, self._digits)
        return _Side(f"{old.symbols} {sign} lr·{slope.symbols}", f"{_bare(old.numbers)} {sign} {rate}·{slope.numbers}")


_WRITERS = {
    "Z": Lines._weighted_sum,
    "A": Lines._activated,
    "f_prime": Lines._activated,
    "dA": Lines._upstream,
    "delta": Lines._delta,
    "delta_N": Lines._delta,
    "dW": Lines._of_weight,
    "dB": Lines._of_bias,
    "dbeta": Lines._of_bias,
    "new": Lines._updated,
}


def _times(left: _Side, right: _Side) -> _Side:
    """A product, with the sign of its left factor, or of its right one after a weight."""
    like = right.like if left.like is not None and left.like.kind == "W" else left.like
    return _Side(f"{left.symbols}·{right.symbols}", f"{left.numbers}·{right.numbers}", like)


def _bare(text: str) -> str:
    """A factor without the parentheses around it."""
    return text.removeprefix("(").removesuffix(")")
