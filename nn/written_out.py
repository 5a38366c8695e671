"""The line of a derivation that gives one cell of a worksheet, in matrix terms and in a student's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

from engine.text import factor, number
from nn.following import Own
from nn.matrices import Cell, Matrix

MOST_TERMS = 4  # of a sum that is written out


def written_out(cell: Cell, own: Own, digits: int) -> tuple[str, str]:
    """The right side of a cell's formula, in symbols and in numbers; empty where it is a line of its own kind."""
    (kind, layer), row, column = cell
    matrices, lr = own.chapter.matrices, own.chapter.lr

    def at(kind: str, layer: int, row: int, column: int) -> tuple[str, str]:
        place = Cell(Matrix(kind, layer), row, column)
        return matrices.written(place), factor(float(own[place.matrix].number[place.at]), digits)

    def product(*factors: tuple[str, str]) -> tuple[str, str]:
        return "·".join(symbol for symbol, _ in factors), "·".join(value for _, value in factors)

    def summed(symbols: str, terms: Sequence[tuple[str, str]], more: str = "") -> tuple[str, str]:
        shown = [value for _, value in terms[:MOST_TERMS]] + ["…"] * (len(terms) > MOST_TERMS)
        return symbols, " + ".join([*shown, *([more] if more else [])])

    def symbol(kind: str, layer: int) -> str:
        return matrices.symbol(Matrix(kind, layer))

    def length(kind: str, layer: int) -> range:
        return range(len(matrices.right[Matrix(kind, layer)]))

    if kind == "Z":
        terms = [product(at("W", layer, row, i), at("A", layer - 1, i, column)) for i in length("A", layer - 1)]
        bias = at("B", layer, row, 0) if Matrix("B", layer) in matrices.right else None
        text = f"Σ {symbol('W', layer)}[{row + 1}, i]·{symbol('A', layer - 1)}[i]"
        return summed(text, terms) if bias is None else summed(f"{text} + {bias[0]}", terms, bias[1])
    if kind == "dA" and layer < matrices.count:
        after = layer + 1
        terms = [product(at("W", after, k, row), at("delta", after, k, column)) for k in length("delta", after)]
        return summed(f"Σ {symbol('W', after)}[k, {row + 1}]·{symbol('delta', after)}[k]", terms)
    inner_delta = "delta_N" if Matrix("delta_N", layer) in matrices.right else "delta"
    if kind == inner_delta and Matrix("dA", layer) in matrices.right:
        return product(at("dA", layer, row, column), at("f_prime", layer, row, column))
    if kind == "dW":
        terms = [product(at("delta", layer, row, e), at("A", layer - 1, column, e)) for e in range(matrices.examples)]
        if len(terms) == 1:
            return product(at("delta", layer, row, 0), at("A", layer - 1, column, 0))
        return summed(f"Σ {symbol('delta', layer)}[{row + 1}, e]·{symbol('A', layer - 1)}[{column + 1}, e]", terms)
    if kind in ("dB", "dbeta"):
        source = "delta" if kind == "dB" else "delta_N"
        terms = [at(source, layer, row, e) for e in range(matrices.examples)]
        return terms[0] if len(terms) == 1 else summed(f"Σ {symbol(source, layer)}[{row + 1}, e]", terms)
    if kind.startswith("new_"):
        old, slope = at(kind[4:], layer, row, column), at(f"d{kind[4:]}", layer, row, column)
        rate = number(lr or 0.0, digits)
        return f"{old[0]} − lr·{slope[0]}", f"{old[1].strip('()')} − {rate}·{slope[1]}"
    if kind in ("A", "f_prime"):
        inner = at("N" if Matrix("N", layer) in matrices.right else "Z", layer, row, column)
        name = own.chapter.layers[layer - 1].activation.name
        name = "σ" if name == "sigmoid" else name
        prime = "′" * (kind == "f_prime")
        return f"{name}{prime}({inner[0]})", f"{name}{prime}({inner[1].strip('()')})"
    return "", ""
