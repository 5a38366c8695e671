"""Where the nodes under a loss are at home: in which part of the net, before it, or behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine import Value, nodes
from engine.text import shorten
from nn.activations import ACTIVATIONS
from nn.layers import MLP, Layer, Neuron, without_example
from nn.module import Module, Steps, ways_to_parameters
from nn.norm import BatchNorm

INPUTS, LOSS = "inputs", "loss"
_SEVERAL = -1
"""The number of no group: what leads to several."""


def groups(model: Module, loss: Value) -> dict[Value, str]:
    """The path of every node under `loss` but the loss itself, by the rules that `Module.groups` tells."""
    if not isinstance(loss, Value):
        raise TypeError(
            f"groups takes the loss, one Value computed from the model's outputs, not {type(loss).__name__} "
            f"{loss!r:.60}."
        )
    parts = _Parts(model)
    graph = _Graph(parts, loss)
    _refuse_stranger(model, parts, graph)
    return graph.paths()


def _refuse_stranger(model: Module, parts: _Parts, graph: _Graph) -> None:
    name = type(model).__name__
    if not parts.of:
        raise ValueError(f"This {name} has no parameters, and so no node is at home in it.")
    if not any(node in parts.of for node in graph.every):
        raise ValueError(
            f"None of the parameters of this {name} is under {shorten(repr(graph.every[-1]))}: that comes from another "
            "net, from a copy, or from outputs without their graph (`.data`). Pass a loss that is computed from this "
            "model's outputs, such as mse(model(x), target)."
        )


class _Parts:
    """The groups of a model by number: 0 is the inputs, then come its parts as its parameters do, and then the loss."""

    def __init__(self, model: Module) -> None:
        self.of: dict[Value, int] = {}  # the group of each parameter
        self.labelled: dict[tuple[int, str], tuple[int, bool]] = {}
        numbers: dict[str, int] = {}
        neurons: dict[str, Neuron] = {}
        for steps, parameter in ways_to_parameters(model):
            path, holder = _home(steps)
            self.of[parameter] = numbers.setdefault(path, len(numbers) + 1)
            if isinstance(holder, Neuron):
                neurons[path] = holder
        self.paths = [INPUTS, *numbers, LOSS]
        for path, neuron in neurons.items():
            z, n, a = neuron.labels
            unit, norm = numbers[path], numbers.get(f"{path}.norm", numbers[path])
            linear = neuron.activation is ACTIVATIONS["linear"]
            # To which group a node of that label belongs that is made of that group, and whether it is a unit's output.
            self.labelled |= {(unit, z): (unit, linear), (norm, n): (unit, linear)}
            if not linear:
                self.labelled[unit, a] = (unit, True)


def _home(steps: Steps) -> tuple[str, Module]:
    """The path of the module that holds a parameter, and that module."""
    last = max(place for place, (holder, _) in enumerate(steps) if isinstance(holder, Module))
    module = steps[last][0]
    match steps:
        case (*outer, (Layer() as layer, "norm"), (BatchNorm(), _), (list(), unit)):
            return f"{_spelled((*outer, (layer, 'neurons'), (layer.neurons, unit)))}.norm", module
    return _spelled(steps[:last]) or type(module).__name__.lower(), module


def _spelled(steps: Steps) -> str:
    """Names joined by dots; numbers count from 1, and are part of the name before them."""
    path = ""
    for holder, name in steps:
        match holder, name:
            case MLP(), "layers":
                name = "layer"
            case Layer(), "neurons":
                name = "unit"
        if isinstance(holder, Module | Mapping):
            path += "." * bool(path) + name
        else:
            numbers = "_".join(str(int(number) + 1) for number in name.split("."))
            path += "_" * path[-1].isdecimal() + numbers
    return path


class _Graph:
    """The nodes under a loss, what is known of them, and from that their groups."""

    def __init__(self, parts: _Parts, loss: Value) -> None:
        self.parts = parts
        self.inputs, self.loss = 0, len(parts.paths) - 1
        self.every = nodes(loss)
        self.operands = {node: node.parents for node in self.every if node.op}
        self.settled: dict[Value, int] = {}  # the group of what its parameters or its label tell of
        self.outputs: set[Value] = set()  # of units
        self.source = dict(parts.of)  # the last part that a node is computed from
        self._settle()
        self.goal: dict[Value, int] = {}  # the part that a node leads to first, or _SEVERAL
        self.user: dict[Value, Value | None] = {}  # the only node that uses it
        self._look_ahead()

    def _settle(self) -> None:
        """Forward: what uses parameters, or bears the label of its unit, is at home there."""
        of, source = self.parts.of, self.source
        for node, operands in self.operands.items():
            used = [of[operand] for operand in operands if operand in of]
            settles = bool(used) and _puts_to_use(node, operands, len(used))
            made_of = used if settles else [source[operand] for operand in operands if operand in source]
            group = max(made_of, default=self.inputs)
            if node.label and (told := self.parts.labelled.get((group, without_example(node.label)[0]))):
                group, ends = told
                settles = True
                if ends:
                    self.outputs.add(node)
            source[node] = group
            if settles:
                self.settled[node] = group

    def _look_ahead(self) -> None:
        """Backward: where every node leads, as far as the next that is settled, and who uses it."""
        goals, users = self.goal, self.user
        for node, operands in reversed(self.operands.items()):
            goal = self.settled.get(node) or goals.get(node)
            for operand in operands:
                users[operand] = node if users.setdefault(operand, node) is node else None
                if goal is not None:
                    goals[operand] = goal if goals.setdefault(operand, goal) == goal else _SEVERAL

    def paths(self) -> dict[Value, str]:
        """The path of every node but the loss."""
        group = self._groups()
        example = self._examples(group)
        names = self.parts.paths
        found = {node: names[group[node]] + (f".ex{number}" if number else "") for node, number in example.items()}
        using: dict[Value, str] = {}  # the path of what uses a constant; empty where there are several
        for node, operands in self.operands.items():
            for operand in operands:
                if operand.is_constant:
                    using[operand] = found[node] if using.setdefault(operand, found[node]) == found[node] else ""
        found |= {constant: path or names[group[constant]] for constant, path in using.items()}
        return {node: found[node] for node in self.every[:-1]}

    def _groups(self) -> dict[Value, int]:
        group = {leaf: self.inputs if leaf in self.goal else self.loss for leaf in self.every}
        group |= self.parts.of
        for node, operands in self.operands.items():
            group[node] = self._group(node, operands, group)
        return group

    def _group(self, node: Value, operands: Sequence[Value], group: Mapping[Value, int]) -> int:
        if node in self.settled:
            return self.settled[node]
        if node.op in ACTIVATIONS:  # with the constants that belong to it, such as the slope of leaky_relu
            operands = [operand for operand in operands if not operand.is_constant]
        found = {group[operand] for operand in operands}
        if len(found) == 1 and self.inputs not in found and self._only_here(node, operands):
            return found.pop()
        goal = self.goal.get(node, self.loss)
        return self.source[node] if goal == _SEVERAL else goal

    def _only_here(self, node: Value, operands: Sequence[Value]) -> bool:
        return all([self.user[operand] is node and operand not in self.outputs for operand in operands])

    def _examples(self, group: Mapping[Value, int]) -> dict[Value, str]:
        """The number of the one example that a node belongs to; empty for a node of several, or none."""
        told = self._told_examples()
        using: dict[Value, str] = {}  # the example that uses a node
        for node, operands in reversed(self.operands.items()):
            number = told.setdefault(node, using.get(node, ""))
            for operand in operands:
                using[operand] = number if using.setdefault(operand, number) == number else ""
        told = using | told | dict.fromkeys(self.parts.of, "")
        for node, operands in self.operands.items():  # what meets in the inputs or in the loss stays together
            home = group[node]
            if told[node] and home in (self.inputs, self.loss):
                shared = [one for one in operands if group[one] == home and not told[one]]
                told[node] = "" if shared else told[node]
        return told

    def _told_examples(self) -> dict[Value, str]:
        """The example that a node's label tells of, or else those of its operands, if it is one."""
        told: dict[Value, str] = {}
        for node in self.every:
            number = without_example(node.label)[1] if node.label and node not in self.parts.of else ""
            found = {told[operand] for operand in self.operands.get(node, ()) if told.get(operand)}
            if number or found:
                told[node] = number or (found.pop() if len(found) == 1 else "")
        return told


def _puts_to_use(node: Value, operands: Sequence[Value], parameters: int) -> bool:
    """Whether a node of so many parameters has something else to use them on: p*p and p**2, a penalty's, have not."""
    others = len(operands) - parameters
    return others > (node.op == "**" and operands[1].is_constant)
