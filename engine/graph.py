"""Structure only: topological order without recursion, names, and paths through a graph."""

from __future__ import annotations

from _thread import RLock  # as `threading` has it, without the milliseconds of importing that
from itertools import count

from engine.text import nearest, shorten

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol, TypeVar

    class Node(Protocol):
        """What the lower floors need to know of a `Value`.

        A node of one or two operands keeps them and their derivatives in four slots; a node of more keeps a tuple
        in each left slot. A leaf has None there. The derivative with respect to a constant is None.
        """

        data: float
        grad: float
        label: str
        _row: Any
        _left: Any
        _right: Any
        _d_left: Any
        _d_right: Any
        _mark: object

        @property
        def op(self) -> str:
            """The operation that made the node; empty for a leaf."""

        @property
        def parents(self) -> tuple[Any, ...]:
            """The operands, in order."""

        @property
        def is_constant(self) -> bool:
            """Whether it is a leaf that an expression brought along."""

    N = TypeVar("N", bound=Node)


def backward_order(root: N) -> list[N]:
    """The computed nodes under `root` that the chain rule reaches, every node before its parents."""
    computed, _, selects = search(root)
    return reached(computed) if selects else computed


def computed_nodes(root: N) -> list[N]:
    """All computed nodes under `root`, every node before its parents; branches that no condition takes too."""
    return search(root)[0]


def search(root: N) -> tuple[list[N], list[N], bool]:
    """All computed nodes under `root`, every node before its parents; all leaves; whether a condition is among them.

    Depth first and to the right first, without recursion. What is finished bears a mark of this search alone, which
    is faster and smaller than a set of what was seen; threads, which may share nodes, search one after the other.
    """
    with _SEARCHING:
        return _searched(root, object())


_SEARCHING = RLock()


def _searched(root: N, mark: object) -> tuple[list[N], list[N], bool]:
    order: list[N] = []
    leaves: list[N] = []
    selects = False
    waiting: list[N] = []
    wait, resume = waiting.append, waiting.pop
    node = root
    while True:
        left, right = node._left, node._right
        if left is None:
            leaves.append(node)
        elif right is not None:
            if right._mark is not mark:
                wait(node)
                if left._mark is not mark:
                    wait(left)
                node = right
                continue
            if left._mark is not mark:
                wait(node)
                node = left
                continue
            order.append(node)
        elif left.__class__ is tuple:
            ahead = [parent for parent in left if parent._mark is not mark]
            if ahead:
                wait(node)
                waiting += ahead
                node = resume()
                continue
            selects = selects or node._row.selects
            order.append(node)
        elif left._mark is not mark:
            wait(node)
            node = left
            continue
        else:
            order.append(node)
        node._mark = mark
        while waiting:
            node = resume()
            if node._mark is not mark:
                break
        else:
            break
    order.reverse()
    return order, leaves, selects


def reached(computed: list[N]) -> list[N]:
    """The nodes of a backward order without the branches that no condition takes."""
    met = {computed[0]}
    for node in computed:
        if node in met:
            met.update(parent for parent, _ in derivatives_by_parent(node))
    return [node for node in computed if node in met]


def forward_order(root: N) -> list[N]:
    """The computed nodes under `root`, every node after its parents, as the formula reads from left to right.

    The branches that no condition takes are among them.
    """
    if root._left is None:
        return []
    postorder: list[N] = []
    seen = set()
    stack: list[N | None] = [root]
    while stack:
        node = stack.pop()
        if node is None:  # a marker: the node under it has all its parents in the order
            postorder.append(stack.pop())  # type: ignore[arg-type]
        elif node not in seen:
            seen.add(node)
            stack += (node, None)
            for parent in reversed(node.parents):
                if parent._left is not None and parent not in seen:
                    stack.append(parent)
    return postorder


def leaves(forward: Iterable[N]) -> list[N]:
    """The leaves that feed the nodes of a forward order, constants too, as the forward pass meets them."""
    found: dict[N, None] = {}
    for node in forward:
        for parent in node.parents:
            if parent._left is None:
                found[parent] = None
    return list(found)


def nodes(root: N) -> list[N]:
    """Every node under `root`, leaves first, in the order of the forward pass."""
    forward = forward_order(root)
    return [*leaves(forward), *forward] if forward else [root]


def consumers(order: Iterable[N]) -> dict[N, list[tuple[N, float]]]:
    """For each node, which nodes it feeds and their derivative with respect to it, in backward order."""
    feeds: dict[N, list[tuple[N, float]]] = {}
    for node in order:
        for parent, derivative in derivatives_by_parent(node):
            feeds.setdefault(parent, []).append((node, derivative))
    return feeds


def derivatives_by_parent(node: N) -> list[tuple[N, float]]:
    """The parents that the chain rule reaches, each with the recorded derivative; constants are left out."""
    pairs = zip(node.parents, recorded_derivatives(node), strict=True)
    return [(parent, derivative) for parent, derivative in pairs if derivative is not None]


def recorded_derivatives(node: Node) -> tuple[float | None, ...]:
    """The derivative with respect to each parent as the node keeps it; None for a constant."""
    if node._left is None:
        return ()
    if node._left.__class__ is tuple:
        return node._d_left  # type: ignore[no-any-return]
    return (node._d_left,) if node._right is None else (node._d_left, node._d_right)


def names(root: N) -> dict[N, str]:
    """A name for every node: its label, a constant's number, or a short stable one (`v1`, `v2`, …)."""
    every = nodes(root)
    taken = {node.label for node in every}
    fresh = (name for name in (f"v{number}" for number in count(1)) if name not in taken)
    return {node: node.label or (f"{node.data:.6g}" if node.is_constant else next(fresh)) for node in every}


def find(named: dict[N, str], name: str) -> N:
    """The one node of that name. Raises LookupError where there is none, or more than one."""
    found = [node for node, its_name in named.items() if its_name == name and not node.is_constant]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(f"{node._row.name or 'leaf'} = {node.data:.6g}" for node in found)
        raise LookupError(
            f"{name!r} names {len(found)} nodes ({places}). A name must mean one node: give them labels of their own."
        )
    raise LookupError(f"No node is called {shorten(name)!r}. {nearest(name, named_nodes(named))}")


def named_nodes(named: dict[N, str]) -> list[str]:
    """The names a person may ask for, in forward order."""
    return [name for node, name in named.items() if not node.is_constant]


def leading_to(target: N, order: Sequence[N], operands: Callable[[N], Iterable[tuple[Any, N]]] | None = None) -> set[N]:
    """`target`, and the nodes of a backward order whose derivative by it is not 0 by structure alone.

    `operands` tells which operands of a node count, each with something else; those that the chain rule reaches if not.
    """
    leading = {target}
    for node in reversed(order):
        reached = [p for p, _ in derivatives_by_parent(node)] if operands is None else [p for _, p in operands(node)]
        if any(parent in leading for parent in reached):
            leading.add(node)
    return leading


class Path:
    """One way from the loss down to a node: the nodes it passes, and the product of the derivatives between them."""

    __slots__ = ("nodes", "product")

    def __init__(self, nodes: tuple[Any, ...], product: float) -> None:
        self.nodes = nodes
        self.product = product

    def __repr__(self) -> str:
        return f"Path(nodes={self.nodes!r}, product={self.product!r})"


def paths(root: N, target: N, *, limit: int = 10) -> tuple[list[Path], int]:
    """The `limit` paths from `root` to `target` with the largest products, and how many there are in all.

    The work grows with the edges of the graph, never with the number of paths.
    """
    order = backward_order(root)
    between = leading_to(target, order)
    if root not in between:
        return [], 0
    return _best_paths(root, [node for node in order if node in between and node is not target], between, limit)[target]


def paths_to_all(root: N, *, limit: int = 10) -> dict[N, tuple[list[Path], int]]:
    """As `paths`, to every node that the chain rule reaches, in one go over the graph."""
    return _best_paths(root, backward_order(root), None, limit)


def _best_paths(root: N, order: Iterable[N], between: set[N] | None, limit: int) -> dict[N, tuple[list[Path], int]]:
    """The best paths to each node from `root` by way of a backward order, and their number.

    Only nodes `between` are passed, and what they have passed on is forgotten; None passes and keeps all.
    """
    number = {root: 1}
    best: dict[N, list[tuple[float, Any]]] = {root: [(1.0, (root, None))]}  # the product, and a linked list of nodes
    for node in order:
        for parent, derivative in derivatives_by_parent(node):
            if between is None or parent in between:
                number[parent] = number.get(parent, 0) + number[node]
                further = [(product * derivative, (parent, path)) for product, path in best[node]]
                best[parent] = sorted(best.get(parent, []) + further, key=_by_size)[:limit]
        if between is not None and node is not root:  # counts kept would grow with the square of the depth
            del best[node], number[node]
    return {
        node: ([Path(_unlinked(path), product) for product, path in found], number[node])
        for node, found in best.items()
    }


def _by_size(path: tuple[float, Any]) -> float:
    product = path[0]
    return -abs(product) if product == product else float("-inf")


def _unlinked(path: Any) -> tuple[Any, ...]:
    passed = []
    while path is not None:
        node, path = path
        passed.append(node)
    return tuple(reversed(passed))
