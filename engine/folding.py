"""Folding: the nodes of one group drawn as one box."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from engine.graph import names
from engine.text import nearest, shorten
from engine.value import Value

MANY_NODES = 300  # above this a drawing with groups folds itself
READABLE = 30  # boxes of a drawing that folds itself: beyond, the arrows between them run together

Groups: TypeAlias = Mapping[Any, str] | Callable[[Value], str | None]
"""A dotted path, such as `layer2.unit1`, for each node or for its name; a node without one is drawn as itself."""


@dataclass(frozen=True, eq=False)
class Fold:
    """A box that stands for the nodes of a group."""

    path: str
    members: tuple[Value, ...]

    @cached_property
    def leaves(self) -> tuple[Value, ...]:
        """Its leaves that are no constants."""
        return tuple([node for node in self.members if not node.op and not node.is_constant])

    @property
    def gradient_norm(self) -> float:
        """The Euclidean norm of the gradients of its leaves, or of all its nodes where it has none."""
        return math.hypot(*[node.grad for node in self.leaves or self.members])


Box: TypeAlias = Value | Fold


@dataclass(frozen=True)
class Folding:
    """How the nodes of a graph are drawn: `box[node]` is the node itself, or the fold it is in.

    `note` tells that the drawing has folded itself; empty where a person has chosen.
    """

    box: dict[Value, Box]
    note: str = ""

    @property
    def boxes(self) -> list[Box]:
        """What is drawn, each once, in the order of the nodes."""
        return list(dict.fromkeys(self.box.values()))


def folded(
    loss: Value,
    nodes: Sequence[Value],
    groups: Groups | None,
    collapse: int | None,
    expand: str | Iterable[str],
) -> Folding:
    """Fold each group of `nodes` to the first `collapse` parts of its path; those named in `expand` by one part more.

    Without `collapse` nothing is folded but where there are more than 300 nodes. The loss and groups of one node are
    never folded. Raises ValueError for a depth below 1, a name or a fold to open that is not there, or options
    without groups; TypeError for groups, or names of folds, of another kind.
    """
    opened = _opened(expand)
    if groups is None:
        if collapse is not None or opened:
            raise ValueError(
                "collapse and expand fold groups, and there are none: pass groups=model.groups(loss), or a mapping "
                "from nodes or names to paths such as 'layer1.unit2'."
            )
        return Folding({node: node for node in nodes})
    if collapse is not None and (not isinstance(collapse, int) or isinstance(collapse, bool) or collapse < 1):
        raise ValueError(f"collapse is the depth to fold to, a whole number from 1 on, and it is {collapse!r:.60}.")
    parts = _parts(loss, nodes, groups)
    _refuse_unknown(opened, parts.values())
    if collapse is None and len(nodes) > MANY_NODES:
        return _folded_by_itself(nodes, parts, opened)
    if collapse is None and not opened:
        return Folding({node: node for node in nodes})
    return Folding(_boxes(nodes, parts, collapse or 1, opened))


def _opened(expand: Any) -> list[str]:
    """The names of the folds to open."""
    try:
        opened = [expand] if isinstance(expand, str) else list(expand)
    except TypeError:
        opened = [expand]
    if not all(isinstance(name, str) for name in opened):
        raise TypeError(
            f"expand names the folds to open, such as 'layer1' or ['layer1', 'layer2'], not {expand!r:.60}."
        )
    return opened


def _parts(loss: Value, nodes: Sequence[Value], groups: Groups) -> dict[Value, tuple[str, ...]]:
    """The parts of each node's path, for the nodes that have one."""
    named = names(loss)
    if isinstance(groups, Mapping):
        _refuse_unknown_keys(groups, named)
        found = {node: groups.get(node, groups.get(named[node])) for node in nodes}
    elif callable(groups):
        found = {node: groups(node) for node in nodes}
    else:
        raise TypeError(f"groups maps nodes or names to paths, or is a function of a node, not {groups!r:.60}.")
    for node, path in found.items():
        if path is not None and (not isinstance(path, str) or not all(path.split("."))):
            raise ValueError(
                f"The group of {shorten(named[node])} is a dotted path such as 'layer1.unit2', not {path!r:.60}."
            )
    return {node: tuple(path.split(".")) for node, path in found.items() if path is not None and node is not loss}


def _refuse_unknown_keys(groups: Mapping[Any, str], named: Mapping[Value, str]) -> None:
    """Groups may hold nodes of a larger graph, but none of another, and no name that is not in this one."""
    known = dict.fromkeys(named.values())
    for key in groups:
        if not isinstance(key, Value | str):
            raise TypeError(f"groups maps nodes or their names to paths, and {key!r:.60} is neither.")
        if isinstance(key, str) and key not in known:
            raise ValueError(f"groups: no node is called {shorten(key)!r}. {nearest(key, known)}")
    if groups and not any(isinstance(key, str) or key in named for key in groups):
        raise ValueError(
            "groups has no node of this graph: they are those of another. Ask for the groups of this loss."
        )


def _refuse_unknown(opened: Iterable[str], parts: Iterable[tuple[str, ...]]) -> None:
    known = {".".join(path[:depth]): None for path in parts for depth in range(1, len(path) + 1)}
    for name in opened:
        if name not in known:
            raise ValueError(f"No fold is called {shorten(str(name))!r}. {nearest(str(name), known)}")


def _boxes(
    nodes: Sequence[Value], parts: Mapping[Value, tuple[str, ...]], depth: int, opened: Iterable[str]
) -> dict[Value, Box]:
    wide = {tuple(name.split(".")[:length]) for name in opened for length in range(1, name.count(".") + 2)}
    place: dict[Value, tuple[str, ...]] = {}
    for node, path in parts.items():
        length = min(depth, len(path))
        while path[:length] in wide and length <= len(path):
            length += 1
        if length <= len(path):
            place[node] = path[:length]
    size = Counter(place.values())
    members: dict[tuple[str, ...], list[Value]] = {}
    for node in nodes:
        if node in place and size[place[node]] > 1:
            members.setdefault(place[node], []).append(node)
    folds = {path: Fold(".".join(path), tuple(inside)) for path, inside in members.items()}
    return {node: folds.get(place[node], node) if node in place else node for node in nodes}


def _folded_by_itself(nodes: Sequence[Value], parts: Mapping[Value, tuple[str, ...]], opened: Iterable[str]) -> Folding:
    """As deep as is still readable, and then what is to be open."""
    deepest = max(map(len, parts.values()), default=1)
    depth = deepest
    while depth > 1 and len(Folding(_boxes(nodes, parts, depth, [])).boxes) > READABLE:
        depth -= 1
    found = Folding(_boxes(nodes, parts, depth, opened))
    first = next((box.path for box in found.boxes if isinstance(box, Fold)), None)
    if first is None:
        return found
    more = f"collapse={depth + 1} folds less, " if depth < deepest else ""
    return Folding(
        found.box,
        f"{len(nodes):,} nodes, folded to depth {depth} of {deepest}: {more}"
        f'expand="{shorten(first)}" opens a box, and without groups every node is drawn.',
    )
