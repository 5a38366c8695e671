"""A rolled-up graph as a person would write it with matrices: the forward pass, and the chapter's formulas backward.

What is printed is true of the graph. `A1[0, 0, 2] += …` adds to a row as often as it is listed; where places would not
fit a line they are left out: `A1[…]`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count

from engine import ops
from engine.rolled import OF_MANY, Group, MatrixProduct, Quantity, Rolled
from engine.symbols import PRODUCT, SUM, Symbol
from engine.text import counted, listed, number, shorten
from engine.value import Value

MOST_LINES = 60  # of each pass
_BESIDE = 44  # the column in which the sizes of matrices stand
_WIDEST = 150  # characters of a line
_INLINE = 60  # characters of a gradient that needs no line of its own
_FEW = 6  # places and names that are listed


def written(structure: Rolled, loss: Value) -> str:
    """The program, a line for each group of numbers forward and for each gradient backward."""
    text = _Text(structure, loss)
    inputs = listed([shorten(one.label) for one in structure.inputs if one.label], _FEW)
    title = f"Replay of {text.loss} for {text.n} examples: {counted(len(structure.inputs), 'input')}"
    title += f" ({inputs})" * bool(inputs) + f", {counted(len(structure.parameters), 'parameter')}"
    passes = ["forward", *_cut(text.forward())]
    if structure.targets[0].active:
        passes += ["", "backward" + f", with δ = ∂{text.loss}/∂Z" * bool(text.products), *_cut(text.backward())]
    return "\n".join([title, "", *passes])


def _cut(lines: Sequence[str]) -> list[str]:
    shown = [f"  {line}" for line in lines[:MOST_LINES]]
    return shown + [f"  … and {counted(len(lines) - MOST_LINES, 'line')} more"] * (len(lines) > MOST_LINES)


def _line(left: str, right: str, sizes: str = "", sign: str = "=") -> str:
    text = f"{left} {sign} {right}"
    return f"{text if len(text) <= _WIDEST else text[: _WIDEST - 1] + '…':<{_BESIDE}} {sizes}".rstrip()


def _summed(amount: Symbol) -> Symbol:
    return Symbol(f"Σ {amount.within(PRODUCT)}", SUM)


Column = Sequence[Quantity]
"""What the members of a group have at one operand, in the order of the members."""


class _Text:
    def __init__(self, structure: Rolled, loss: Value) -> None:
        self.structure = structure
        self.products = {group: i for i, group in enumerate(_products(structure), 1)}
        self.home: dict[Quantity, Group] = {one: group for group in structure.groups for one in group.members}
        self._inputs = {one: i for i, one in enumerate(structure.inputs)}
        self._parameters = {one: i for i, one in enumerate(structure.parameters)}
        others = [group for group in structure.groups if not isinstance(group, MatrixProduct)]
        shown = [one for group in others for member in group.members for one in (member, *member.operands)]
        self._taken = {shorten(one.label) for one in (*shown, *self._inputs) if one.label}
        self.n = self._free("n")
        self.loss = shorten(loss.label) or self._free("L")
        self.names: dict[Group, str] = {}
        self._numbers = (f"{i}" for i in count(1) if f"v{i}" not in self._taken and f"V{i}" not in self._taken)
        self.sets: dict[tuple[Quantity, ...], str] = {}
        self._first_of: dict[object, int] = {}  # the product that a W or b was first read by
        matrices = [one for product in self.products for one in set(product.weights)]
        self._readers = Counter(matrices)  # how many products read a weight
        self._name_groups()
        self._received: dict[Group, list[tuple[str, Symbol | None]]] = {}
        self._delivered: set[Quantity] = set()

    def _free(self, name: str) -> str:
        """The name, with a prime for each label that is called so."""
        while name in self._taken:
            name += "′"
        return name

    def _name_groups(self) -> None:
        used: set[str] = set()
        for product, i in self.products.items():
            self.names[product] = self._free(f"Z{i}")
        for group in self.structure.groups:
            label = shorten(group.members[0].label) if len(group.members) == 1 else ""
            of = self._activated(group)
            named = self._free(f"A{self.products[of]}") if of else ""
            if self.structure.targets[0] in group.members:
                self.names[group] = self.loss
            elif named and named not in used:
                self.names[group] = named
                used.add(named)
            elif group not in self.names:
                self.names[group] = label or ("v" if len(group.members) == 1 else "V") + next(self._numbers)

    def _activated(self, group: Group) -> MatrixProduct | None:
        """The matrix product to whose numbers, all of them in order, a function of one number is applied."""
        if group.row in OF_MANY or len(group.members[0].operands) != 1:
            return None
        operands = [one.operands[0] for one in group.members]
        home = self.home.get(operands[0])
        return home if isinstance(home, MatrixProduct) and home.members == operands else None

    # Operands by name.

    def _of(self, column: Column) -> Symbol:
        """What the members of a group take as an operand, in their order; one number that all of them take alone."""
        numbers = {None if one.label else one.constant for one in column}
        if None not in numbers:
            return Symbol.of(numbers.pop()) if len(numbers) == 1 else Symbol("constants")
        if all([one is column[0] for one in column]):
            return Symbol(self._single(column[0]))
        home = self.home.get(column[0])
        if home is not None and all([self.home.get(one) is home for one in column]):
            return Symbol(self._within(home, column))
        return Symbol(self._set(tuple(column)))

    def _single(self, one: Quantity) -> str:
        if one in self.home:
            return self._within(self.home[one], [one])
        if one.label or one.constant is not None:
            return shorten(one.label) or number(one.constant or 0.0)
        return f"x[{self._inputs[one]}]" if one in self._inputs else f"P[{self._parameters[one]}]"

    def _of_sums(self, group: Group, column: Column) -> Symbol:
        """What the sums of a group add up; where they go down the columns of a matrix, that matrix."""
        home, sums = self.home.get(column[0]), len(group.members)
        if home is not None and sums > 1 and len(column) == len(home.members) and len(column) % sums == 0:
            down = [home.members[at] for first in range(sums) for at in range(first, len(column), sums)]
            if list(column) == down:
                return Symbol(self.names[home])
        return self._of(column)

    def _within(self, home: Group, column: Column) -> str:
        """A group, or members of it in some order."""
        name, size = self.names[home], len(home.members)
        places = [one.place - home.members[0].place for one in column]
        if places == list(range(size)) or (self._is_row(size) and places == list(range(size)) * (len(places) // size)):
            return name
        if isinstance(home, MatrixProduct) and home.columns > 1:  # by its rows
            rows = places[:: home.columns]
            if places != [at for row in rows for at in range(row, row + home.columns)] or rows[0] % home.columns:
                return f"{name}[…]"
            places = [row // home.columns for row in rows]
        if len(places) > 1 and places == list(range(places[0], places[0] + len(places))):
            return f"{name}[{places[0]}:{places[-1] + 1}]"
        return f"{name}[{', '.join(map(str, places))}]" if len(places) <= _FEW else f"{name}[…]"

    def _is_row(self, size: int) -> bool:
        """Whether so many numbers are a row that NumPy would repeat down the rows of a matrix of the program."""
        return size > 1 and any([product.columns == size for product in self.products])

    def _set(self, several: tuple[Quantity, ...], role: str = "") -> str:
        """A name for several leaves: X for what a layer reads, P for all parameters, Y for y1 and y2; or a list."""
        if several not in self.sets:
            stems = {one.label.rstrip("_0123456789") for one in several}
            from_batch = all([one in self._inputs for one in several])
            name = role
            if list(several) == self.structure.parameters:
                name = "P"
            elif from_batch and not role:
                name = stems.pop().upper() if len(stems) == 1 else ""
                name = name or "X" * (not several[0].label)
            name = self._free(name) if name else ""
            if role or (name and not several[0].label):
                used = set(self.sets.values())
                name = next(one for one in chain([name], (f"{name}{i}" for i in count(2))) if one not in used)
            if not name or name in self.sets.values():
                return f"({', '.join([self._single(one) for one in several[:_FEW]])}{', …' * (len(several) > _FEW)})"
            self.sets[several] = name
        return self.sets[several]

    def _matrix_of_inputs(self, product: MatrixProduct) -> str:
        inputs = tuple(product.inputs)
        return self._set(inputs, "X") if all([one in self._inputs for one in inputs]) else str(self._of(inputs))

    def _index(self, product: MatrixProduct, part: str) -> str:
        """W or b by the number of the first product that reads the same numbers."""
        key = (part, *map(tuple, product.W if part == "W" else product.biases))
        first = self._first_of.setdefault(key, self.products[product])
        return self._free(f"{part}{first}")

    # The passes.

    def forward(self) -> list[str]:
        """A line for each group, after those that say what a name stands for."""
        lines = [line for group in self.structure.groups for line in self._forward(group)]
        return [self._listed(several, name) for several, name in self.sets.items()] + lines

    def _listed(self, several: Column, name: str) -> str:
        if list(several) == self.structure.parameters:
            return f"{name} = all {len(several)} parameters"
        if not several[0].label:
            return f"{name} = {counted(len(several), 'input')}"
        return f"{name} = ({', '.join([shorten(one.label) for one in several[:_FEW]])}{', …' * (len(several) > _FEW)})"

    def _forward(self, group: Group) -> list[str]:
        name = self.names[group]
        if isinstance(group, MatrixProduct):
            W, units, width = self._index(group, "W"), len(group.W), len(group.W[0])
            bias = f" + {self._index(group, 'b')}" if group.has_bias else ""
            sizes = f"({units}×{width} · {width}×{self._examples(group)})"
            first = self._first_of["W", *group.W] == self.products[group]
            untold = any([one in self.home or self._readers[one] > 1 for one in group.weights])
            told = [_line(W, str(self._of(group.weights)), f"({units}×{width})")] if first and untold else []
            biases = [one for unit in group.biases for one in unit]
            if any([one in self.home for one in biases]):
                told.append(_line(self._index(group, "b"), str(self._of(biases))))
            return [*told, _line(name, f"{W} @ {self._matrix_of_inputs(group)}{bias}", sizes)]
        if group.row in OF_MANY:
            return [self._forward_of_many(group, name)]
        return [_line(name, str(group.row(*map(self._of, group.operands))))]

    def _examples(self, product: MatrixProduct) -> str:
        return f"{product.columns}{self.n}" if product.columns > 1 else self.n

    def _forward_of_many(self, group: Group, name: str) -> str:
        one, other = self._sides(group)
        lengths = sorted({len(member.operands) // (2 if other else 1) for member in group.members})
        span = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        sizes = f"({counted(len(group.members), 'sum')} of {span})" if len(group.members) > 1 else ""
        if group.row is ops.TOTAL and len(group.members) == 1 and self._is_listed(one):
            times = Counter(one)
            terms = [float(times[term]) * Symbol(self._single(term)) for term in times]
            return _line(name, str(sum(terms[1:], start=terms[0])))
        inner = self._of_sums(group, one)
        inner = inner * self._of_sums(group, other) if other else inner
        symbol = {"total": "Σ ", "dot": "Σ ", "mean": "mean "}.get(group.row.name, f"{group.row.name} ")
        return _line(name, f"{symbol}{inner}", sizes)

    def _is_listed(self, column: Column) -> bool:
        """Whether a sum is best written as a sum: of few, from here and there or several times the same."""
        homes = {self.home.get(one) for one in column}
        return len(set(column)) <= 3 and (len(homes) > 1 or None in homes or len(set(column)) < len(column))

    def _sides(self, group: Group) -> tuple[Column, Column]:
        """All operands of a row of many, those of sums of products by side; in order where that is free."""
        if group.row is ops.DOT:
            pairs = [
                pair
                for one in group.members
                for left, right, _ in [ops.halves(one.operands)]
                for pair in zip(left, right, strict=True)
            ]
            if len(group.members) == 1:
                pairs.sort(key=lambda pair: pair[0].place)
            return [left for left, _ in pairs], [right for _, right in pairs]
        operands = [operand for one in group.members for operand in one.operands]
        if len(group.members) == 1 and group.row is not ops.SOFTMAX and all([one in self.home for one in operands]):
            operands.sort(key=lambda one: one.place)
        return operands, []

    def backward(self) -> list[str]:
        """A line for each gradient, from the loss to the parameters."""
        lines: list[str] = []
        target = self.structure.targets[0]
        self._received = {
            self.home[target]: [(self.names[self.home[target]], Symbol(self.n) if target.shared else Symbol.of(1.0))]
        }
        for group in reversed(self.structure.groups):
            if group.active and group in self._received:
                self._backward(group, self._adjoint(group, lines), lines)
        return lines

    def _adjoint(self, group: Group, lines: list[str]) -> Symbol:
        """∂L/∂group, with its lines written: none where what it receives is short enough to stand in its place."""
        received, name = self._received[group], self.names[group]
        own = f"δ{self.products[group]}" if isinstance(group, MatrixProduct) else f"∂{self.loss}/∂{name}"
        if any([amount is None or target != name for target, amount in received]):
            for target, amount in received:
                if amount is not None:
                    lines.append(_line(f"∂{self.loss}/∂{target}", str(amount), sign="+="))
            if own[0] == "δ":
                lines.append(_line(own, f"∂{self.loss}/∂{name}"))
            return Symbol(own)
        total = Symbol.of(0.0)
        for _, amount in received:
            total = total if amount is None else total + amount
        if not isinstance(group, MatrixProduct) and len(received) == 1 and total.length <= _INLINE:
            return total
        lines.append(_line(own, str(total)))
        return Symbol(own)

    def _backward(self, group: Group, adjoint: Symbol, lines: list[str]) -> None:
        if isinstance(group, MatrixProduct):
            self._backward_of_product(group, adjoint, lines)
            return
        amounts: dict[tuple[Quantity, ...], list[Symbol]] = {}
        if group.row in OF_MANY:
            one, other = self._sides(group)
            for side, beside in ((one, other), (other, one)):
                if any([operand.active for operand in side]):
                    amounts.setdefault(tuple(side), []).append(self._amount_of_many(group, adjoint, side, beside))
        else:
            operands = list(map(self._of, group.operands))
            for place, column in enumerate(group.operands):
                if any([one.active for one in column]) and not (group.row.selects and place < 2):
                    amounts.setdefault(column, []).append(adjoint * self._slope(group, operands, place))
        for column, several in amounts.items():
            same = all([one == several[0] for one in several])  # x·x
            for amount in [float(len(several)) * several[0]] if same else several:
                self._receive(column, amount, group, lines)

    def _backward_of_product(self, product: MatrixProduct, delta: Symbol, lines: list[str]) -> None:
        W, units, width = self._index(product, "W"), len(product.W), len(product.W[0])
        weights = product.weights
        if any([one.active for one in weights]):
            sizes = f"({units}×{self._examples(product)} · {self._examples(product)}×{width})"
            amount = f"{delta} @ {self._matrix_of_inputs(product)}ᵀ"
            lines.append(_line(f"∂{self.loss}/∂{W}", amount, sizes, self._sign(weights)))
            if any([one in self.home for one in weights]):
                self._pass_on(weights, Symbol(f"∂{self.loss}/∂{W}"))
        biases = [one for unit in product.biases for one in unit]
        if any([one.active for one in biases]):
            b = self._index(product, "b")
            lines.append(_line(f"∂{self.loss}/∂{b}", f"Σ {delta}", sign=self._sign(biases)))
            if any([one in self.home for one in biases]):
                self._pass_on(biases, Symbol(f"∂{self.loss}/∂{b}"))
        if any([one.active for one in product.inputs]):
            self._receive(product.inputs, Symbol(f"{W}ᵀ @ {delta}", SUM), product, lines)

    def _sign(self, receiving: Column) -> str:
        """`+=` where one of them has received something before."""
        before = not self._delivered.isdisjoint(receiving)
        self._delivered.update(receiving)
        return "+=" if before else "="

    def _amount_of_many(self, group: Group, adjoint: Symbol, side: Column, beside: Column) -> Symbol:
        if beside:
            return adjoint * self._of_sums(group, beside)
        if group.row is ops.SOFTMAX:
            return Symbol(f"(∂{self.names[group]}/∂{self._of_sums(group, side)})ᵀ @ {adjoint.within(PRODUCT)}", SUM)
        if group.row is ops.LOGSUMEXP:
            return adjoint * Symbol(f"softmax({self._of_sums(group, side)})")
        if group.row is ops.MEAN:
            lengths = [len(one.operands) for one in group.members for _ in one.operands]
            if len(set(lengths)) == 1:
                return adjoint / Symbol.of(float(lengths[0]))
            shown = f"({', '.join(map(str, lengths[:_FEW]))}{', …' * (len(lengths) > _FEW)})"
            return Symbol(f"{adjoint.within(PRODUCT)}/{shown}", PRODUCT)
        times = set(Counter(side).values()) if len(group.members) == 1 else {1}
        return float(times.pop()) * adjoint if len(times) == 1 else adjoint

    def _slope(self, group: Group, operands: Sequence[Symbol], place: int) -> Symbol:
        """The local derivative; of a function of one number f′, as the chapter has it."""
        row = group.row
        if row.selects:
            test = f"{operands[0]} {row.name.removeprefix('if ')} {operands[1]}"
            return Symbol(f"[{test}]" if place == 2 else f"[not {test}]")
        if len(operands) == 1 and row not in (ops.NEGATE, ops.IDENTITY):
            return Symbol(f"{row.symbol}′({operands[0]})")
        return Symbol.of(row.derivatives(Symbol(self.names[group]), tuple(operands), textbook=True)[place])

    def _receive(self, column: Column, amount: Symbol, group: Group, lines: list[str]) -> None:
        """Note what operands receive; a parameter's gradient is a line at once."""
        distinct = list(dict.fromkeys(column))
        target = self._of_sums(group, column)
        if len(distinct) == 1 and len(group.members) > 1:  # one number that all members use
            amount = float(len(column)) * amount if not amount.text else _summed(amount)
        elif len(distinct) < len(column) and self._is_row(len(distinct)) and list(column[: len(distinct)]) == distinct:
            target, amount = self._of(distinct), _summed(amount)  # a row that is repeated down a matrix
        elif group.row is ops.TOTAL and len(group.members) == 1 and len(set(Counter(column).values())) == 1:
            target = self._of(distinct)  # as often as the amount says
        if column[0].shared and not group.shared:  # over all examples
            amount = amount * Symbol(self.n) if not amount.text else _summed(amount)
        if not amount.text and not amount.coefficient:
            return
        homes = list(dict.fromkeys([self.home.get(one) for one in distinct]))
        if len(homes) == 1 and homes[0] is not None:
            self._received.setdefault(homes[0], []).append((str(target), amount))
            return
        lines.append(_line(f"∂{self.loss}/∂{target}", str(amount), sign="+="))
        self._delivered.update(distinct)
        self._pass_on(distinct, None)

    def _pass_on(self, column: Column, amount: Symbol | None) -> None:
        """What was told in a line, to the groups that are among its targets."""
        for home in dict.fromkeys([self.home.get(one) for one in column]):
            if home is not None:
                part = [one for one in column if self.home.get(one) is home]
                name = self._within(home, part)
                whole = amount is not None and len(part) == len(column)
                self._received.setdefault(home, []).append((name, amount if whole else None))


def _products(structure: Rolled) -> list[MatrixProduct]:
    return [group for group in structure.groups if isinstance(group, MatrixProduct)]
