"""Where things stand in a graph's formulas."""

from __future__ import annotations

from tests.derivations.tape import Edge, Graph, Node


def stands_in(line: Node, node: Node) -> bool:
    stack = [line]
    while stack:
        one = stack.pop()
        if one is node:
            return True
        stack += [arg for arg in one.args if not arg.name]
    return False


def between(line: Node, node: Node) -> list[Edge]:
    """The edges from a line down to a node within its formula."""
    if line is node:
        return []
    for i, arg in enumerate(line.args):
        if not arg.name and stands_in(arg, node):
            return [(line, i), *between(arg, node)]
    raise LookupError(f"{node} is not in {line}")


def operands_of(node: Node) -> list[Node]:
    """The names directly in a formula."""
    found: dict[Node, None] = {}
    stack = list(reversed(node.args))
    while stack:
        one = stack.pop()
        if one.name:
            found.setdefault(one)
        else:
            stack += reversed(one.args)
    return list(found)


def by_line(graph: Graph, uses: list[Edge]) -> list[list[Edge]]:
    """The uses of a node by the line that they stand in."""
    lines: dict[Node, list[Edge]] = {}
    for edge in uses:
        line = next((line for line in graph.lines if stands_in(line, edge[0])), edge[0])
        lines.setdefault(line, []).append(edge)
    return list(lines.values())


def factors_beside(graph: Graph, edge: Edge) -> list[Node]:
    """What the weights of the sum are multiplied by, to which an edge belongs."""
    line = next((line for line in graph.lines if stands_in(line, edge[0])), edge[0])
    found, stack = [], [line]
    while stack:
        node = stack.pop()
        if node.op == "*":
            found += [node.args[1 - i] for i in (0, 1) if node.args[i] in graph.weights]
        stack += [arg for arg in node.args if not arg.name]
    return list(dict.fromkeys(reversed(found)))
