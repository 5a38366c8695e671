"""A recorded graph as arrays would compute it: sums rolled up, and what is alike computed together.

Structure only: which numbers stand in which rows of which array. `engine.program` computes with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from engine import ops
from engine.graph import forward_order
from engine.ops import Primitive
from engine.value import Value

NEVER, SOMETIMES, ALWAYS = range(3)
SUMS = (ops.ADD, ops.TOTAL, ops.DOT)
OF_MANY = (ops.TOTAL, ops.MEAN, ops.DOT, ops.LOGSUMEXP, ops.SOFTMAX)  # rows of any number of operands


@dataclass(eq=False, slots=True)
class Quantity:
    """One number of a program: a leaf, or what a row of the table makes of others.

    It is `shared` where all examples have the same, and `active` where a parameter moves it. A weighted sum has the row
    DOT, what varies as its operands, and the shared `weights`, one for each operand and a bias where there is one more.
    A leaf that never changes has its number as the `constant`. The backward pass reaches it ALWAYS, SOMETIMES, where it
    is under the branch of a condition, or NEVER, where conditions only compare it. `place` is its row in the array of
    the shared numbers, or in that of the numbers that vary.
    """

    row: Primitive
    operands: tuple[Quantity, ...]
    number: int
    shared: bool
    active: bool
    node: Value | None = None
    constant: float | None = None
    weights: tuple[Quantity, ...] = ()
    level: int = 0
    reach: int = ALWAYS
    place: int = -1

    @property
    def kind(self) -> str:
        """`S` and `C` for a shared number, `V` and `X` for one that varies: active, or not."""
        return ("S" if self.active else "C") if self.shared else ("V" if self.active else "X")

    @property
    def label(self) -> str:
        """The label of its node, if it has one."""
        return "" if self.node is None else self.node.label

    @property
    def bias(self) -> Quantity | None:
        """The bias of a weighted sum."""
        return self.weights[-1] if len(self.weights) > len(self.operands) else None


class Group:
    """Numbers that one row makes at one level, which are computed together and stand in rows that follow each other."""

    def __init__(self, row: Primitive, members: Sequence[Quantity]) -> None:
        self.row = row
        self.members = list(members)

    @property
    def shared(self) -> bool:
        """Whether all examples have the same."""
        return self.members[0].shared

    @property
    def active(self) -> bool:
        """Whether a parameter moves any of them."""
        return any([one.active for one in self.members])

    @property
    def operands(self) -> list[tuple[Quantity, ...]]:
        """Operand by operand, what the members have there."""
        return list(zip(*[one.operands for one in self.members], strict=True))

    @property
    def reach(self) -> int:
        """Whether the backward pass reaches the members, which are alike in this."""
        return self.members[0].reach

    @property
    def rows(self) -> slice:
        """Where the members stand."""
        first = self.members[0].place
        return slice(first, first + len(self.members))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.members)} {self.row.name}, level {self.members[0].level}>"


class MatrixProduct(Group):
    """Weighted sums of every column of X with every row of W: Z = W @ X + b.

    X has the numbers that vary; `columns` of it there is one, or more where the same weights are used several times in
    an example, each standing for all examples. The members go by row of W and, within it, by column of X.
    """

    def __init__(self, units: Sequence[Sequence[Quantity]]) -> None:
        super().__init__(ops.DOT, [member for unit in units for member in unit])
        self.columns = len(units[0])
        first = units[0]
        self.W = [unit[0].weights[: len(unit[0].operands)] for unit in units]
        self.X = [[one.operands[i] for one in first] for i in range(len(first[0].operands))]
        self.biases = [[one.bias for one in unit if one.bias is not None] for unit in units]
        self.ones = False
        """Whether rows of ones follow X, so that a bias is one weight more."""

    @property
    def has_bias(self) -> bool:
        """Whether each weighted sum has a bias."""
        return bool(self.biases[0])

    @property
    def bias_of_a_unit(self) -> bool:
        """Whether all columns have the same bias."""
        return self.has_bias and all(one is unit[0] for unit in self.biases for one in unit)

    @property
    def weights(self) -> list[Quantity]:
        """W, row by row."""
        return [one for row in self.W for one in row]

    @property
    def inputs(self) -> list[Quantity]:
        """X, row by row."""
        return [one for row in self.X for one in row]


@dataclass
class Rolled:
    """A program's structure: groups in an order in which they can be computed, and where everything stands."""

    groups: list[Group]
    inputs: list[Quantity]
    parameters: list[Quantity]
    constants: list[Quantity]
    targets: list[Quantity]
    selects: bool
    """Whether there is a condition, of which one branch need not have a value."""
    shared_rows: int = 0
    varying_rows: int = 0
    ones: list[int] = field(default_factory=list)
    """The rows, among those that vary, that hold ones."""


def rolled(
    targets: Sequence[Value],
    inputs: Sequence[Value],
    parameters: Sequence[Value],
    constants: Mapping[Value, float],
) -> Rolled:
    """The graph under the targets, with inputs that vary from example to example and parameters that all share.

    `constants` has the numbers of the other leaves.
    """
    rolling = _Rolling(targets, inputs, parameters, constants)
    selects = any([one.row.selects for one in rolling.made])
    if selects:
        _mark_reach([rolling.quantities[node] for node in targets], [*rolling.quantities.values(), *rolling.made])
    found = Rolled(
        _grouped(rolling.made),
        [rolling.quantities[node] for node in inputs],
        [rolling.quantities[node] for node in parameters],
        rolling.constants,
        [rolling.quantities[node] for node in targets],
        selects,
    )
    _place(found)
    return found


# From nodes to quantities. A part of a sum is the node of a term and the factors of it: one, or two.

Part: TypeAlias = tuple[Value, tuple[Value, ...]]


class _Rolling:
    """The graph as quantities, its chains of products and sums as weighted sums."""

    def __init__(
        self,
        targets: Sequence[Value],
        inputs: Sequence[Value],
        parameters: Sequence[Value],
        constants: Mapping[Value, float],
    ) -> None:
        self.quantities: dict[Value, Quantity] = {}
        self.made: list[Quantity] = []
        self._numbers = count()
        self._varying_twins: dict[Quantity, Quantity] = {}
        order = list(dict.fromkeys(node for target in targets for node in forward_order(target)))
        for node in inputs:
            self._leaf(node, ops.LEAF, shared=False)
        for node in parameters:
            self._leaf(node, ops.LEAF, active=True)
        self.constants: list[Quantity] = []
        for node in dict.fromkeys([*targets, *(parent for one in order for parent in one.parents)]):
            if not node.op and node not in self.quantities:
                leaf = self._leaf(node, ops.CONSTANT)
                leaf.constant = constants[node]
                self.constants.append(leaf)
        varying = set(inputs)
        for node in order:
            if not varying.isdisjoint(node.parents):
                varying.add(node)
        sums, absorbed = _sums(order, varying, targets)
        for node in order:
            if node in sums:
                self.quantities[node] = self._named(self._sum(sums[node]), node)
            elif node not in absorbed:
                self.quantities[node] = self._named(self._plain(node), node)

    def _leaf(self, node: Value, row: Primitive, *, shared: bool = True, active: bool = False) -> Quantity:
        self.quantities[node] = leaf = Quantity(row, (), next(self._numbers), shared, active, node)
        return leaf

    def _make(self, row: Primitive, operands: Sequence[Quantity], weights: Sequence[Quantity] = ()) -> Quantity:
        every = (*operands, *weights)
        shared = all([one.shared for one in every])
        active = any([one.active for one in every])
        level = 1 + max([one.level for one in every if one.shared == shared], default=0)
        made = Quantity(row, tuple(operands), next(self._numbers), shared, active, weights=tuple(weights), level=level)
        self.made.append(made)
        return made

    def _named(self, made: Quantity, node: Value) -> Quantity:
        if made.node is not None:  # a sum of one term
            made = self._make(ops.IDENTITY, (made,))
        made.node = node
        return made

    def _varying(self, one: Quantity) -> Quantity:
        """A shared number as one that varies, for a row that takes many operands of either kind."""
        if not one.shared:
            return one
        if one not in self._varying_twins:
            twin = Quantity(ops.IDENTITY, (one,), next(self._numbers), False, one.active, level=1)
            self._varying_twins[one] = twin
            self.made.append(twin)
        return self._varying_twins[one]

    def _plain(self, node: Value) -> Quantity:
        operands = [self.quantities[parent] for parent in node.parents]
        if node._row in OF_MANY and not all([one.shared for one in operands]):
            operands = list(map(self._varying, operands))
        if node._row is ops.DOT:
            left, right, bias = ops.halves(operands)
            if bias:
                return self._make(ops.ADD, (self._make(ops.DOT, [*left, *right]), *bias)) if left else bias[0]
        return self._make(node._row, operands)

    def _sum(self, parts: Sequence[Part]) -> Quantity:
        """The sum of some parts, as a weighted sum, a sum of products, and what is added to them."""
        terms = self._sorted(parts)
        added = terms.varying
        if len(terms.products) == 1 or any([one.shared for one, _, _ in terms.products]):
            added = [*[self._product(*factors) for factors in terms.products], *added]
        elif terms.products:
            left, right, _ = zip(*terms.products, strict=True)
            added = [self._make(ops.DOT, [*left, *right]), *added]
        shared = [self._make(ops.TOTAL, terms.shared)] if len(terms.shared) > 1 else terms.shared
        if terms.weighted:  # in one order, whatever order a neuron lists its inputs in
            terms.weighted.sort(key=lambda factors: factors[1].number)
            weights, inputs, _ = zip(*terms.weighted, strict=True)
            added = [self._make(ops.DOT, inputs, [*weights, *shared]), *added]
            shared = []
        alike = len({(one.row, one.level) for one in added}) == 1 and len(set(added)) == len(added)
        if len(added) > 1 and (alike or len(added) + len(shared) > 2):
            added = [self._make(ops.TOTAL, added)]
        added = [*added, *shared]
        return self._make(ops.ADD, added) if len(added) == 2 else added[0]

    def _sorted(self, parts: Sequence[Part]) -> _Terms:
        terms = _Terms()
        for node, factors in parts:
            one, *others = [self.quantities[factor] for factor in factors]
            if not others:
                (terms.shared if one.shared else terms.varying).append(one)
                continue
            (other,) = others
            if one.shared and other.shared:
                terms.shared.append(self._make(ops.MULTIPLY, (one, other)))
            elif one.shared or other.shared:
                terms.weighted.append((one, other, node) if one.shared else (other, one, node))
            else:
                terms.products.append((one, other, node))
        if not any([w.active or node._row is ops.DOT for w, _, node in terms.weighted]):  # 0.5·a² + 0.5·b² is no neuron
            terms.products, terms.weighted = [*terms.products, *terms.weighted], []
        return terms

    def _product(self, one: Quantity, other: Quantity, node: Value) -> Quantity:
        made = self._make(ops.MULTIPLY, (one, other))
        made.node = node if node._row is ops.MULTIPLY else None
        return made


Factors: TypeAlias = tuple[Quantity, Quantity, Value]
"""Two factors, and the node of their product."""


@dataclass
class _Terms:
    """What a sum adds up: weights times what varies, products of what varies, and terms, shared ones and others."""

    weighted: list[Factors] = field(default_factory=list)
    products: list[Factors] = field(default_factory=list)
    shared: list[Quantity] = field(default_factory=list)
    varying: list[Quantity] = field(default_factory=list)


def _sums(
    order: Sequence[Value], varying: Collection[Value], targets: Sequence[Value]
) -> tuple[dict[Value, list[Part]], set[Value]]:
    """The parts of every sum that varies, and the nodes that become part of one: sums and products used there alone.

    A DOT has a part of two factors for each pair of its operands.
    """
    uses = Counter(parent for node in order for parent in node.parents)
    asked = set(targets)
    sums: dict[Value, list[Part]] = {}
    absorbed: set[Value] = set()
    for node in reversed(order):
        if node._row not in SUMS or node not in varying or node in absorbed:
            continue
        parts: list[Part] = []
        waiting = [node]
        while waiting:
            term = waiting.pop()
            joins = term is node or (uses[term] == 1 and term in varying and term not in asked)
            if joins and term._row in (ops.ADD, ops.TOTAL):
                waiting += reversed(term.parents)
            elif joins and term._row is ops.DOT:
                left, right, bias = ops.halves(term.parents)
                parts += [(term, pair) for pair in zip(left, right, strict=True)]
                waiting += bias
            elif joins and term._row is ops.MULTIPLY:
                parts.append((term, term.parents))
            else:
                parts.append((term, (term,)))
                continue
            absorbed.add(term)
        sums[node] = parts
    return sums, absorbed


def _mark_reach(targets: Sequence[Quantity], every: Sequence[Quantity]) -> None:
    """Say of every quantity whether the backward pass reaches it; a condition passes nothing to what it compares."""
    for one in every:
        one.reach = NEVER
    for one in targets:
        one.reach = ALWAYS
    for one in sorted(set(every), key=lambda one: -one.number):
        for place, operand in enumerate((*one.operands, *one.weights)):
            reach = one.reach
            if one.row.selects:
                reach = NEVER if place < 2 else min(reach, SOMETIMES)
            operand.reach = max(operand.reach, reach)
        one.active = one.active and one.reach > NEVER


# From quantities to groups.


def _grouped(made: Sequence[Quantity]) -> list[Group]:
    """Groups of what is alike, shared ones first, each after those that it needs."""
    alike: dict[tuple[object, ...], list[Quantity]] = {}
    columns: dict[tuple[object, ...], list[Quantity]] = {}
    for one in made:
        if one.weights:
            columns.setdefault((one.level, one.operands, one.bias is None, one.reach), []).append(one)
        else:
            alike.setdefault((one.level, one.row, one.shared, one.reach, *_likeness(one)), []).append(one)
    groups = [Group(members[0].row, members) for members in alike.values()] + list(_matrix_products(columns.values()))
    return sorted(groups, key=lambda group: (not group.shared, group.members[0].level))


def _likeness(one: Quantity) -> tuple[object, ...]:
    """What else must agree for two quantities of one row to be computed together."""
    if one.row is ops.SOFTMAX:
        return (len(one.operands),)
    if one.row in OF_MANY:
        return ()
    exponent = one.operands[1].constant if one.row is ops.POWER else None
    return (*[operand.kind for operand in one.operands], exponent)


def _matrix_products(columns: Iterable[list[Quantity]]) -> Iterable[MatrixProduct]:
    """Columns of X that meet the same rows of W make one product."""
    products: dict[tuple[object, ...], list[list[Quantity]]] = {}
    for column in columns:
        column.sort(key=lambda one: [weight.number for weight in one.weights])
        first = column[0]
        weights = tuple([one.weights[: len(one.operands)] for one in column])
        active = tuple([x.active for x in first.operands])
        products.setdefault((first.level, first.bias is None, first.reach, active, weights), []).append(column)
    for found in products.values():
        yield MatrixProduct(list(zip(*found, strict=True)))


# Where everything stands.


def _place(found: Rolled) -> None:
    """Give every quantity its row, such that matrices stand as they are multiplied wherever that can be."""
    rows = count()
    for leaf in [*found.parameters, *found.constants]:
        leaf.place = next(rows)
    home: dict[Quantity, Group | None] = {one: group for group in found.groups for one in group.members}
    home |= dict.fromkeys(found.inputs)  # None: the batch
    wished: dict[Group | None, list[MatrixProduct]] = {}
    for group in found.groups:
        if isinstance(group, MatrixProduct):
            homes = {home[one] for one in group.inputs}
            if len(homes) == 1 and len(set(group.inputs)) == len(group.inputs):
                wished.setdefault(homes.pop(), []).append(group)
    for group in found.groups:
        if group.shared:
            group.members.sort(key=_by_operands)
            for one in group.members:
                one.place = next(rows)
    found.shared_rows = next(rows)
    rows = count()
    _place_block(found, found.inputs, wished.get(None, []), rows, computed=False)
    for group in found.groups:
        if not group.shared:
            if not isinstance(group, MatrixProduct):
                group.members.sort(key=_by_operands)
            fixed = isinstance(group, MatrixProduct)
            group.members = _place_block(found, group.members, wished.get(group, []), rows, fixed=fixed)
    found.varying_rows = next(rows)


def _by_operands(one: Quantity) -> list[int]:
    return [operand.place for operand in one.operands]


def _place_block(
    found: Rolled,
    members: list[Quantity],
    products: Sequence[MatrixProduct],
    rows: Iterable[int],
    *,
    fixed: bool = False,
    computed: bool = True,
) -> list[Quantity]:
    """Give the members rows in an order that the products which read them want, with ones after it for their biases.

    The members of a matrix product are in a `fixed` order. Ones may stand amid inputs, but not amid `computed` members,
    whose rows follow each other.
    """
    wanted = products[0].inputs if products else []
    if fixed:
        wanted = wanted if members[: len(wanted)] == wanted else []
    else:
        first = set(wanted)
        members = [*wanted, *[one for one in members if one not in first]]
    follow = bool(wanted) and (not computed or len(wanted) == len(members))
    rows = iter(rows)
    for number, one in enumerate(members, 1):
        one.place = next(rows)
        if follow and number == len(wanted):
            same = [product for product in products if product.inputs == wanted and product.bias_of_a_unit]
            for product in same:
                product.ones = True
            found.ones += [next(rows) for _ in range(max([product.columns for product in same], default=0))]
    return members
