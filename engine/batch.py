"""A recorded graph at many points at once: values, local derivatives, adjoints and tangents, each an array."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.arrays import Array, array, derivatives, quiet
from engine.graph import computed_nodes, forward_order
from engine.value import Value

Local = tuple[Any, ...]
"""The derivatives of one node, by operand: arrays or numbers, None for a constant."""


class Batch:
    """The nodes under `root` at many points: `leaves` gives the values of its leaves, arrays of one length.

    Leaves that are not given keep their data. The graph itself is not touched.
    """

    def __init__(self, root: Value, leaves: Mapping[Value, Any], *, forward: Sequence[Value] | None = None) -> None:
        self.root = root
        self.forward = forward_order(root) if forward is None else forward
        self.size = max((np.size(data) for data in leaves.values()), default=1)
        self.values: dict[Value, Any] = {leaf: array(np.broadcast_to(data, self.size)) for leaf, data in leaves.items()}
        self.local: dict[Value, Local] = {}
        self.selects = any(node._row.selects for node in self.forward)
        with quiet():
            for node in self.forward:
                operands = self.operands(node)
                out = node._row(*operands)
                if getattr(out, "shape", None) != (self.size,):
                    out = array(np.broadcast_to(out, self.size))
                self.values[node] = out
                self.local[node] = self._local(node, out, operands)

    def __contains__(self, node: Value) -> bool:
        return node in self.values

    def value(self, node: Value) -> Any:
        """The node's values; a constant's, and that of a leaf which was not given, is one number."""
        return self.values.get(node, node.data)

    def operands(self, node: Value) -> tuple[Any, ...]:
        """The values of a node's parents."""
        return tuple([self.value(parent) for parent in node.parents])

    def _local(self, node: Value, out: Array, operands: tuple[Any, ...]) -> Local:
        wanted = [not parent.is_constant for parent in node.parents]
        every = derivatives(node._row, out, operands, wanted=wanted)
        return tuple([d if one else None for d, one in zip(every, wanted, strict=True)])

    def needed(self) -> dict[Value, Any]:
        """Where the root rests on a node; True where it does everywhere. A branch that is not taken it leaves alone."""
        if not self.selects:
            return dict.fromkeys([*self.forward, *self.values], True)
        needed: dict[Value, Any] = {self.root: True}
        for node in reversed(self.forward):
            for place, parent in enumerate(node.parents if node in needed else ()):
                taken = self.local[node][place] if node._row.selects and place >= 2 else None
                used = needed[node] if taken is None else needed[node] & (taken == 1.0)
                needed[parent] = needed.get(parent, False) | used
        return needed

    def valid(self) -> np.ndarray:
        """Where every node that the root needs is finite."""
        needed = self.needed()
        finite = np.ones(self.size, dtype=bool)
        for node in self.forward:
            if node in needed:
                here = np.isfinite(self.values[node])
                finite &= here if needed[node] is True else here | np.logical_not(needed[node])
        return finite.view(np.ndarray)

    def adjoints(
        self,
        root: Value | None = None,
        changed: Mapping[tuple[Value, int], Any] | None = None,
        order: Iterable[Value] | None = None,
        own: Mapping[Value, Any] | None = None,
        towards: Collection[Value] | None = None,
    ) -> dict[Value, Any]:
        """∂root/∂node of every node that it reaches, by the chain rule; with other local derivatives where `changed`.

        A changed derivative may have rows, one for each way to change it; so has the result then. `order` holds the
        nodes at which the chain rule is applied, and nothing is passed on but `towards` some, where they are given.
        What nodes pass on is `own` where it is given, and not what they have received.
        """
        root = self.root if root is None else root
        changed, own = changed or {}, own or {}
        adjoints: dict[Value, Any] = {root: 1.0}
        with quiet():
            for node in computed_nodes(root) if order is None else order:
                if node not in adjoints:
                    continue
                adjoint = own.get(node, adjoints[node])
                for operand, (parent, derivative) in enumerate(zip(node.parents, self.local[node], strict=True)):
                    if derivative is not None and (towards is None or parent in towards):
                        amount = self.times(adjoint, changed.get((node, operand), derivative))
                        adjoints[parent] = adjoints[parent] + amount if parent in adjoints else amount
        return adjoints

    def tangents(
        self, source: Value, forward: Iterable[Value] | None = None, stops: Collection[Value] = ()
    ) -> dict[Value, Any]:
        """∂node/∂source of every node that depends on it; what depends on it through `stops` alone is left out."""
        tangents: dict[Value, Any] = {source: 1.0}
        with quiet():
            for node in self.forward if forward is None else forward:
                if node is source:
                    continue
                terms = [
                    self.times(tangents[parent], derivative)
                    for parent, derivative in zip(node.parents, self.local[node], strict=True)
                    if derivative is not None and parent in tangents and (parent is source or parent not in stops)
                ]
                if terms:
                    tangents[node] = sum(terms[1:], start=terms[0])
        return tangents

    def times(self, factor: Any, derivative: Any) -> Any:
        """The product; 0 where a factor is, since a branch that is not taken need not have a value."""
        if derivative.__class__ is float and derivative == 1.0:
            return factor
        product = factor * derivative
        if not self.selects:
            return product
        return np.where((np.asarray(factor) == 0.0) | (np.asarray(derivative) == 0.0), 0.0, product).view(Array)
