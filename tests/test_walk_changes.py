"""The walk while its leaves change: set, update, restart, other hands, and Ctrl-C at any moment."""

import copy
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Backprop, DomainError, Value, build, dot, maximum
from engine.graph import nodes
from tests.strategies import graphs, worked

BRANCHES = """h = sin(a*b) if a > b else b*tanh(a)
g = (h*a + c if c > 0 else exp(h) - a)*b
L = max(g, c*h) + relu(h - a)"""
NUMBERS = st.floats(-2.0, 2.0).map(lambda x: round(x, 3))


@st.composite
def branching_graphs(draw):
    """A graph whose conditions take one branch or the other, and its leaves."""
    graph = build(BRANCHES, {name: draw(NUMBERS) for name in "abc"})
    return graph.loss, [graph[name] for name in "abc"]


def state(walk):
    """All that a person sees of a walk: data and gradients to the last bit, the place, and the words."""
    numbers = [(node.data.hex(), node.grad.hex()) for node in nodes(walk.loss)]
    forward = [walk.words.forward_line(node) for node in walk.order]
    following = walk.step()
    contributions = [] if following is None else [(c.amount.hex(), c.after.hex()) for c in following.contributions]
    told = str(following), contributions, repr(walk)
    if following is not None:
        walk.back()
    return numbers, walk.position, [walk.names[node] for node in walk.order], forward, told


def fresh(original, walk):
    """A new walk on a graph that was built with the leaves' present values, at the same position."""
    loss = copy.deepcopy(original)
    loss.zero_grad()
    for built, present in zip(nodes(loss), nodes(walk.loss), strict=True):
        if not built.op:
            built.data = present.data
    loss.refresh()
    return Backprop(loss).goto(walk.position)


@settings(max_examples=150)
@given(graphs(most=15) | branching_graphs(), st.data())
def test_after_any_changes_the_walk_is_a_fresh_one_on_a_graph_built_so(graph, data):
    loss, leaves = graph
    loss.zero_grad()
    original = copy.deepcopy(loss)
    walk = Backprop(loss)
    leaves = [leaf for leaf in leaves if leaf in walk.names and not leaf.op]
    moves = ["back", "goto", "step", "next", "run", "restart", "why", *(["set", "set", "update"] if leaves else [])]
    for move in data.draw(st.lists(st.sampled_from(moves), max_size=8)):
        if move == "set":
            walk.set(data.draw(st.sampled_from(leaves)), data.draw(NUMBERS))
        elif move == "update":
            walk.run().update(0.125, data.draw(st.lists(st.sampled_from(leaves), min_size=1, unique_by=id)))
            assert walk.position == 0
        elif move == "goto":
            walk.goto(data.draw(st.integers(0, len(walk))))
        elif move == "why":
            walk.why(data.draw(st.sampled_from(nodes(loss))))
        else:
            getattr(walk, move)()
        assert state(walk) == state(fresh(original, walk))


@given(graphs(most=15) | branching_graphs(), st.data())
def test_set_keeps_the_place(graph, data):
    loss, leaves = graph
    loss.zero_grad()
    walk = Backprop(loss)
    leaves = [leaf for leaf in leaves if leaf in walk.names and not leaf.op]
    if not leaves:
        return
    walk.goto(data.draw(st.integers(0, len(walk))))
    order, here = walk.order, walk.position
    walk.set(data.draw(st.sampled_from(leaves)), data.draw(NUMBERS))
    if here == len(order):
        assert walk.position == len(walk)
    elif order[here] in walk.order:
        assert walk.order[walk.position] is order[here]
    else:  # behind the last step done that is still one
        done = [node for node in order[:here] if node in walk.order]
        assert walk.order[walk.position - 1] is done[-1]


def test_set_takes_the_other_branch_of_a_condition():
    graph = build("h = a*a\nL = tanh(h)*2 if a > 1 else 3*h + 1", a=0.5)
    walk = Backprop(graph.loss).goto(1)
    assert [node.op for node in walk.order] == ["if >", "dot", "*"]
    walk.set("a", 2.0)
    assert [node.op for node in walk.order] == ["if >", "*", "tanh", "*"]
    assert walk.position == 1  # after the condition, at the branch that is taken now
    walk.run()
    assert graph["a"].grad == pytest.approx(2.0 * (1.0 - math.tanh(4.0) ** 2) * 4.0, rel=1e-12)


def test_a_whole_training_step_can_be_walked_again_and_again():
    graph, other = worked("mazur_2_2_2"), worked("mazur_2_2_2")
    weights = [f"w{number}" for number in range(1, 9)]
    walk = Backprop(graph["E"])
    for _ in range(3):
        walk.run().update(0.5, weights)
        other["E"].zero_grad()
        other["E"].backward()
        for name in weights:
            other[name].data -= 0.5 * other[name].grad
        other["E"].refresh()
        assert walk.position == 0
        assert [graph[name].data for name in graph] == [other[name].data for name in graph]
    assert graph["w5"].data < 0.4


REFUSED = [
    (lambda walk: walk.set("z", 1.0), ValueError, r"z is computed: a·x\. Only a leaf can be set"),
    (lambda walk: walk.set("y", 1.0), LookupError, "No node is called 'y'"),
    (lambda walk: walk.set("a", "1"), TypeError, "one real number, not str '1'"),
    (lambda walk: walk.set("a", math.nan), ValueError, "nan is none"),
    (lambda walk: walk.set("a", -1.0), DomainError, "the logarithm needs a number above 0"),
    (lambda walk: walk.set("x", 0.0), DomainError, "the logarithm needs a number above 0"),
    (lambda walk: walk.set(walk.loss.parents[1], 1.0), ValueError, "a constant of an expression"),
    (lambda walk: walk.update(0.5, ["a"]), ValueError, r"this one is at step 1 of 3: run\(\) goes to its end"),
    (lambda walk: walk.run().update(0.0, ["a"]), ValueError, "a finite number above 0"),
    (lambda walk: walk.run().update(math.inf, ["a"]), ValueError, "a finite number above 0"),
    (lambda walk: walk.run().update(0.5, "a"), TypeError, "a list of names or Values"),
    (lambda walk: walk.run().update(0.5, []), ValueError, "no parameters"),
    (lambda walk: walk.run().update(0.5, ["a", "a"]), ValueError, "a is among the parameters twice"),
    (lambda walk: walk.run().update(0.5, ["a", "z"]), ValueError, "Only a leaf can be updated"),
    (lambda walk: walk.run().update(1e308, ["a"]), FloatingPointError, r"a would become -inf.*No parameter"),
    (lambda walk: walk.run().update(2.0, ["a"]), DomainError, "the logarithm needs a number above 0"),
]


@pytest.mark.parametrize(("change", "error", "said"), REFUSED, ids=[said[:30] for _, _, said in REFUSED])
def test_a_change_that_is_refused_changes_nothing(change, error, said):
    walk = Backprop(build("z = a*x\nL = log(z)*9", a=3.0, x=0.5).loss).goto(1)
    before = state(walk)
    with pytest.raises(error, match=said):
        change(walk)
    assert state(walk.goto(1)) == before


def test_a_gradient_without_a_value_leaves_all_as_it_was():
    walk = Backprop(build("L = sqrt(x)*c", x=4.0, c=2.0).loss).run()
    walk.set("x", 1.0)
    before = state(walk.set("c", 0.0))
    with pytest.raises(FloatingPointError, match="gradient of x has no value"):
        walk.set("x", 0.0)  # 0 · ∞
    assert state(walk) == before


CHANGES = {
    "step": (4, lambda walk: walk.step()),
    "why": (4, lambda walk: walk.why("w1")),
    "set": (4, lambda walk: walk.set("w5", 0.1)),
    "update": (15, lambda walk: walk.update(0.5, ["w5"])),
}
MEDDLING = [
    lambda graph: setattr(graph["out_o1"], "data", 0.5),
    lambda graph: (setattr(graph["w5"], "data", 3.0), graph["E"].refresh()),
    lambda graph: graph["E"].zero_grad(),
    lambda graph: graph["E"].backward(),
]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("meddle", MEDDLING)
def test_what_something_else_has_changed_is_told_and_restart_mends_it(name, meddle):
    graph = worked("mazur_2_2_2")
    position, change = CHANGES[name]
    walk = Backprop(graph["E"]).goto(position)
    meddle(graph)
    before = [(node.data, node.grad) for node in nodes(walk.loss)]
    with pytest.raises(ValueError, match=r"restart\(\) computes everything from the leaves and begins anew\."):
        change(walk)
    assert (walk.position, [(node.data, node.grad) for node in nodes(walk.loss)]) == (position, before)
    assert state(walk.restart()) == state(fresh(copy.deepcopy(graph["E"]), walk))


def test_restart_without_a_value_changes_nothing():
    graph = build("L = log(x)", x=2.0)
    walk = Backprop(graph.loss).run()
    graph["x"].data = -1.0
    with pytest.raises(DomainError):
        walk.restart()
    assert (walk.position, graph["x"].data, graph["x"].grad) == (1, -1.0, 0.5)


def interrupted(work, at):
    """Do the work with a KeyboardInterrupt at the `at`-th operation of the interpreter; whether it came to that."""
    left = at

    def trace(frame, event, _):
        nonlocal left
        if "engine" not in frame.f_code.co_filename and frame.f_code.co_name != "work":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize(
    ("work", "start"),
    [
        (lambda walk: walk.step(), 1),
        (lambda walk: walk.back(), 2),
        (lambda walk: walk.goto(0), 4),
        (lambda walk: walk.why("a"), 1),
        (lambda walk: walk.set("a", 0.25), 1),
        (lambda walk: walk.update(0.5, ["a", "w"]), 4),
        (lambda walk: walk.restart(), 2),
    ],
    ids=["step", "back", "goto", "why", "set", "update", "restart"],
)
def test_an_interrupt_at_any_moment_leaves_the_walk_whole(work, start):
    """Each operation of the interpreter is interrupted once; work is then done or not done, and never half done."""
    at = 1
    while True:
        a, w = Value(0.5, "a"), Value(-2.0, "w")
        loss = maximum(dot([a, w, a], [w, a, 1.5]), a * a).tanh()
        original = copy.deepcopy(loss)
        walk = Backprop(loss).goto(start)
        before = state(walk)
        came = interrupted(lambda walk=walk: work(walk), at)
        after = state(walk)
        assert after == state(fresh(original, walk)), f"at operation {at}"
        if work.__code__.co_names[0] == "why":
            assert after == before
        if not came:
            break
        at += 1 if at < 150 else 13
    assert at > 20
