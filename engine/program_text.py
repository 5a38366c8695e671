"""A rolled-up graph as a person would write it with matrices: the forward pass, and the chapter's formulas backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count

from engine import ops
from engine.rolled import OF_MANY, Group, MatrixProduct, Quantity, Rolled
from engine.symbols import PRODUCT, SUM, Symbol
from engine.text import counted, listed, number, shorten
from engine.value import Value

MOST_LINES = 60  # of each pass
_BESIDE = 44  # the column in which the sizes of matrices stand
_WIDEST = 150  # characters of a line
_INLINE = 60  # characters of a gradient that needs no line of its own


def written(structure: Rolled, loss: Value) -> str:
    """The program, a line for each group of numbers forward and for each gradient backward."""
    text = _Text(structure, loss)
    inputs = listed([shorten(one.label) for one in structure.inputs if one.label], 6)
    title = f"Replay of {text.loss} for n examples: {counted(len(structure.inputs), 'input')}"
    title += f" ({inputs})" * bool(inputs) + f", {counted(len(structure.parameters), 'parameter')}"
    passes = ["forward", *_cut(text.forward())]
    if text.active:
        passes += ["", "backward, with δ = ∂L/∂Z" * text.has_products or "backward", *_cut(text.backward())]
    return "\n".join([title, "", *passes])


def _cut(lines: Sequence[str]) -> list[str]:
    shown = [f"  {line}" for line in lines[:MOST_LINES]]
    return shown + [f"  … and {counted(len(lines) - MOST_LINES, 'line')} more"] * (len(lines) > MOST_LINES)


def _line(left: str, right: str, sizes: str = "") -> str:
    text = f"{left} = {right}"
    return f"{text if len(text) <= _WIDEST else text[: _WIDEST - 1] + '…':<{_BESIDE}} {sizes}".rstrip()


class _Text:
    def __init__(self, structure: Rolled, loss: Value) -> None:
        self.structure = structure
        self.loss = shorten(loss.label) or "L"
        self.active = structure.targets[0].active
        self.products = [group for group in structure.groups if isinstance(group, MatrixProduct)]
        self.has_products = bool(self.products)
        self.home: dict[Quantity, Group] = {one: group for group in structure.groups for one in group.members}
        self.names: dict[Group, str] = {}
        labels = {one.label for one in [*self.home, *structure.inputs, *structure.parameters]}
        fresh = (name for name in (f"v{i}" for i in count(1)) if name not in labels | {name.upper() for name in labels})
        for i, product in enumerate(self.products, 1):
            self.names[product] = f"Z{i}"
        for group in structure.groups:
            label = group.members[0].label if len(group.members) == 1 else ""
            if structure.targets[0] in group.members:
                self.names[group] = self.loss
            elif group not in self.names:
                of = self._activated(group)
                name = f"A{self.names[of][1:]}" if of else shorten(label) or next(fresh)
                self.names[group] = name if of or len(group.members) == 1 else name.upper()
        self.sets: dict[tuple[Quantity, ...], str] = {}
        self._received: dict[Group, list[tuple[str, Symbol | None]]] = {}

    def _activated(self, group: Group) -> Group | None:
        """The matrix product whose numbers, all of them, a function of one number is applied to."""
        if group.row in OF_MANY or len(group.members[0].operands) != 1:
            return None
        operands = [one.operands[0] for one in group.members]
        home = self.home.get(operands[0])
        named = f"A{self.names[home][1:]}" if home in self.names else ""
        whole = isinstance(home, MatrixProduct) and set(home.members) == set(operands)
        return home if whole and named not in self.names.values() else None

    # Operands by name.

    def _of(self, operands: Sequence[Quantity]) -> Symbol:
        """What several members of a group take as an operand."""
        first = operands[0]
        distinct = list(dict.fromkeys(operands))
        numbers = {None if one.label else one.constant for one in distinct}
        if None not in numbers:
            return Symbol.of(numbers.pop()) if len(numbers) == 1 else Symbol("constants")
        home = self.home.get(first)
        if home is not None and all([self.home.get(one) is home for one in distinct]):
            return Symbol(self._within(home, distinct))
        if len(distinct) == 1:
            return Symbol(self._single(first))
        return Symbol(self._set(tuple(distinct)))

    def _set(self, several: tuple[Quantity, ...]) -> str:
        """A name for several leaves: X for what the first layer reads, P for all parameters, Y for y1 and y2."""
        if several not in self.sets:
            stems = {one.label.rstrip("_0123456789") for one in several}
            name = ""
            if list(several) == self.structure.parameters:
                name = "P"
            elif all([one in self.structure.inputs for one in several]) and len(stems) == 1:
                name = "X" if self.products and list(several) == self.products[0].inputs else stems.pop().upper()
            names = self.sets.values()
            if not name and all([one in self.structure.inputs for one in several]) and not several[0].label:
                name = next(f"X{i}" for i in count(1) if f"X{i}" not in names)
            if not name or name in names:
                return f"({', '.join([self._single(one) for one in several[:3]])}{', …' * (len(several) > 3)})"
            self.sets[several] = name
        return self.sets[several]

    def _single(self, one: Quantity) -> str:
        if one in self.home:
            return self._within(self.home[one], [one])
        return shorten(one.label) or ("?" if one.constant is None else number(one.constant))

    def _within(self, home: Group, some: Sequence[Quantity]) -> str:
        """A group, or the part of it that these members are."""
        name = self.names[home]
        if len(some) == len(home.members):
            return name
        places = [one.place - home.members[0].place for one in some]
        if isinstance(home, MatrixProduct) and home.columns > 1:  # by its rows
            first = [place for place in places if place % home.columns == 0]
            if len(places) != len(first) * home.columns:
                return f"{name}[…]"
            places = [place // home.columns for place in first]
        if len(places) == 1:
            return f"{name}[{places[0]}]"
        run = places == list(range(places[0], places[0] + len(places)))
        return f"{name}[{places[0]}:{places[-1] + 1}]" if run else f"{name}[…]"

    def _operands(self, group: Group) -> list[Symbol]:
        return [self._of(column) for column in zip(*[one.operands for one in group.members], strict=True)]

    def _halves(self, group: Group) -> tuple[list[Quantity], list[Quantity]]:
        """All operands of a row of many, those of sums of products by side."""
        lists = [one.operands for one in group.members]
        if group.row is not ops.DOT:
            return [one for operands in lists for one in operands], []
        return (
            [one for operands in lists for one in operands[: len(operands) // 2]],
            [one for operands in lists for one in operands[len(operands) // 2 :]],
        )

    # The passes.

    def forward(self) -> list[str]:
        """A line for each group."""
        lines = [self._forward(group) for group in self.structure.groups]
        return [self._listed(several, name) for several, name in self.sets.items()] + lines

    def _listed(self, several: Sequence[Quantity], name: str) -> str:
        if name == "P" or not several[0].label:
            return f"{name} = " + (f"all {len(several)} parameters" if name == "P" else counted(len(several), "input"))
        labels = [shorten(one.label) for one in several[:6]]
        return f"{name} = ({', '.join(labels)}{', …' * (len(several) > 6)})"

    def _forward(self, group: Group) -> str:
        name = self.names[group]
        if isinstance(group, MatrixProduct):
            index = self._index(group)
            bias = f" + b{index}" if group.has_bias else ""
            units, width = len(group.W), len(group.W[0])
            examples = f"{group.columns}n" if group.columns > 1 else "n"
            return _line(name, f"W{index} @ {self._of(group.inputs)}{bias}", f"({units}×{width} · {width}×{examples})")
        of_one = group.members[0].operands
        several = len({self.home.get(one) for one in of_one}) > 1 or len(set(of_one)) < len(of_one)
        if group.row is ops.TOTAL and len(group.members) == 1 and len(of_one) < 4 and several:
            terms = [Symbol(self._single(one)) for one in of_one]
            return _line(name, str(sum(terms[1:], start=terms[0])))
        if group.row in OF_MANY:
            one, other = self._halves(group)
            inner = str(self._of(one) * self._of(other)) if other else str(self._of(one))
            symbol = {"total": "Σ ", "dot": "Σ ", "mean": "mean "}.get(group.row.name, f"{group.row.name} ")
            sums = counted(len(group.members), "sum")
            sizes = f"({sums} of {len(one) / len(group.members):.3g})" if len(group.members) > 1 else ""
            return _line(name, f"{symbol}{inner}", sizes)
        return _line(name, str(group.row(*self._operands(group))))

    def _index(self, product: MatrixProduct) -> int:
        return self.products.index(product) + 1

    def backward(self) -> list[str]:
        """A line for each gradient, from the loss to the parameters."""
        lines: list[str] = []
        target = self.home[self.structure.targets[0]]
        self._received = {target: [(self.names[target], Symbol("n") if target.shared else Symbol.of(1.0))]}
        for group in reversed(self.structure.groups):
            if any([one.active for one in group.members]) and group in self._received:
                self._backward(group, self._adjoint(group, lines), lines)
        return lines

    def _adjoint(self, group: Group, lines: list[str]) -> Symbol:
        """∂L/∂group, with its lines written: none where what it receives is short enough to stand in its place."""
        received = self._received[group]
        name = self.names[group]
        own = f"δ{self._index(group)}" if isinstance(group, MatrixProduct) else f"∂{self.loss}/∂{name}"
        if any([amount is None or target != name for target, amount in received]):
            for target, amount in received:
                if amount is not None:
                    lines.append(self._added(target, amount))
            return Symbol(f"∂{self.loss}/∂{name}")
        total = Symbol.of(0.0)
        for _, amount in received:
            total = total if amount is None else total + amount
        if not isinstance(group, MatrixProduct) and len(received) == 1 and total.length <= _INLINE:
            return total
        lines.append(_line(own, str(total)))
        return Symbol(own)

    def _added(self, target: str, amount: Symbol) -> str:
        return _line(f"∂{self.loss}/∂{target}", str(amount)).replace(" = ", " += ", 1)

    def _backward(self, group: Group, adjoint: Symbol, lines: list[str]) -> None:
        if isinstance(group, MatrixProduct):
            index, X = self._index(group), self._of(group.inputs)
            examples = f"{group.columns}n" if group.columns > 1 else "n"
            if any([one.active for row in group.W for one in row]):
                sizes = f"({len(group.W)}×{examples} · {examples}×{len(group.W[0])})"
                lines.append(_line(f"∂{self.loss}/∂W{index}", f"{adjoint} @ {X}ᵀ", sizes))
            if any([one.active for unit in group.biases for one in unit]):
                lines.append(_line(f"∂{self.loss}/∂b{index}", f"Σ {adjoint}"))
            if any([one.active for one in group.inputs]):
                self._receive(group.inputs, Symbol(f"W{index}ᵀ @ {adjoint}", SUM), group, lines)
            return
        if group.row in OF_MANY:
            one, other = self._halves(group)
            for side, beside in ((one, other), (other, one)):
                if any([operand.active for operand in side]):
                    amount = adjoint * self._slope_of_many(group, side, beside)
                    times = set(Counter(group.members[0].operands).values()) if not beside else {1}
                    self._receive(side, float(times.pop()) * amount if len(times) == 1 else amount, group, lines)
            return
        operands = self._operands(group)
        columns = list(zip(*[one.operands for one in group.members], strict=True))
        amounts: dict[tuple[Quantity, ...], list[Symbol]] = {}
        for place, column in enumerate(columns):
            if any([one.active for one in column]) and not (group.row.selects and place < 2):
                amounts.setdefault(column, []).append(adjoint * self._slope(group, operands, place))
        for column, several in amounts.items():
            same = all([one == several[0] for one in several])  # x·x
            for amount in [float(len(several)) * several[0]] if same else several:
                self._receive(column, amount, group, lines)

    def _slope_of_many(self, group: Group, side: Sequence[Quantity], beside: Sequence[Quantity]) -> Symbol:
        if beside:
            return self._of(beside)
        if group.row is ops.MEAN:
            return Symbol.of(1.0) / Symbol.of(len(side) / len(group.members))
        if group.row in (ops.LOGSUMEXP, ops.SOFTMAX):
            return Symbol(f"softmax{'′' * (group.row is ops.SOFTMAX)}({self._of(side)})")
        return Symbol.of(1.0)

    def _slope(self, group: Group, operands: Sequence[Symbol], place: int) -> Symbol:
        """The local derivative; of a function of one number f′, as the chapter has it."""
        row = group.row
        if row.selects:
            test = f"{operands[0]} {row.name.removeprefix('if ')} {operands[1]}"
            return Symbol(f"[{test}]" if place == 2 else f"[not {test}]")
        if len(operands) == 1 and row not in (ops.NEGATE, ops.IDENTITY):
            return Symbol(f"{row.symbol}′({operands[0]})")
        return Symbol.of(row.derivatives(Symbol(self.names[group]), tuple(operands), textbook=True)[place])

    def _receive(self, operands: Sequence[Quantity], amount: Symbol, group: Group, lines: list[str]) -> None:
        """Note what operands receive; a parameter's gradient is a line at once."""
        distinct = list(dict.fromkeys(operands))
        if len(distinct) == 1 and len(group.members) > 1:  # one number that all members use
            amount = (
                Symbol.of(amount) * float(len(group.members))
                if not amount.text
                else Symbol(f"Σ {amount.within(PRODUCT)}", SUM)
            )
        if operands[0].shared and not group.shared:  # over all examples
            amount = Symbol.of(amount) * Symbol("n") if not amount.text else Symbol(f"Σ {amount.within(PRODUCT)}", SUM)
        homes = list(dict.fromkeys([self.home.get(one) for one in distinct]))
        if len(homes) > 1 or homes[0] is None:
            lines.append(self._added(str(self._of(operands)), amount))
        for home in homes:
            if home is not None:
                part = [one for one in distinct if self.home.get(one) is home]
                told = (str(self._of(operands)), amount) if len(homes) == 1 else (self._within(home, part), None)
                self._received.setdefault(home, []).append(told)
