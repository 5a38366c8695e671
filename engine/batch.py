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
                out = array(np.broadcast_to(node._row(*operands), self.size))
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

    def _local(self, node: Value, out: Array, operands: tuple[Any, ...], *, textbook: bool = False) -> Local:
        every = derivatives(node._row, out, operands, textbook=textbook)
        return tuple([None if p.is_constant else d for p, d in zip(node.parents, every, strict=True)])

    def valid(self) -> np.ndarray:
        """Where every node that the root needs is finite."""
        needed: dict[Value, Any] = {self.root: True}
        finite = np.ones(self.size, dtype=bool)
        for node in reversed(self.forward):
            if node not in needed:
                continue
            finite &= np.isfinite(self.values[node]) | ~np.broadcast_to(needed[node], self.size)
            for place, parent in enumerate(node.parents):
                wanted = needed[node]
                if node._row.selects and place >= 2:
                    wanted = (
                        wanted & (self.local[node][place] == 1.0) if self.local[node][place] is not None else wanted
                    )
                needed[parent] = needed.get(parent, False) | wanted
        return finite

    def adjoints(
        self,
        root: Value | None = None,
        changed: Mapping[tuple[Value, int], Any] | None = None,
        order: Iterable[Value] | None = None,
        own: Mapping[Value, Any] | None = None,
    ) -> dict[Value, Any]:
        """∂root/∂node of every node that it reaches, by the chain rule; with other local derivatives where `changed`.

        A changed derivative may have rows, one for each way to change it; so has the result then. What nodes pass on
        is `own` where it is given, and not what they have received.
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
                    if derivative is not None:
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
        product = factor * derivative
        if not self.selects:
            return product
        return np.where((np.asarray(factor) == 0.0) | (np.asarray(derivative) == 0.0), 0.0, product).view(Array)
