"""The walk: forward, back, break, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Backprop, Value, build, total
from engine.graph import nodes
from tests.strategies import graphs, worked


def grads(loss):
    """Every gradient, to the last bit and the sign of a zero."""
    return [node.grad.hex() for node in nodes(loss)]


@pytest.fixture
def mazur():
    return Backprop(worked("mazur_2_2_2")["E"])


@given(graphs(), st.data())
def test_back_restores_every_gradient_bit_for_bit(graph, data):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    seen = [grads(loss), *(grads(loss) for _ in walk)]
    assert len(seen) == len(walk) + 1
    for position in data.draw(st.lists(st.integers(0, len(walk)), max_size=8)):
        walk.goto(position)
        assert (walk.position, grads(loss)) == (position, seen[position])
    walk.run()
    for position in reversed(range(len(walk))):
        walk.back()
        assert grads(loss) == seen[position]


@given(graphs())
def test_a_finished_walk_has_the_gradients_of_backward(graph):
    loss, _ = graph
    loss.zero_grad()
    loss.backward()
    expected = grads(loss)
    loss.zero_grad()
    Backprop(loss).run()
    assert grads(loss) == expected


@given(graphs(most=12))
def test_why_sums_to_the_gradient_and_leaves_the_walk_where_it_is(graph):
    loss, leaves = graph
    loss.zero_grad()
    walk = Backprop(loss).goto(0)
    for _ in range(len(walk) // 2):
        walk.step()
    before = grads(loss)
    in_graph = [leaf for leaf in leaves if leaf in nodes(loss)]
    reasons = {leaf: walk.why(leaf) for leaf in in_graph}
    assert grads(loss) == before
    walk.run()
    for leaf, why in reasons.items():
        assert why.gradient == leaf.grad
        if why.count <= 10:
            assert sum(path.product for path in why.paths) == pytest.approx(why.gradient, rel=1e-9, abs=1e-12)


def test_contributions_account_for_every_change():
    x = Value(3.0, label="x")
    step = Backprop(x * x).step()
    first, second = step.contributions
    assert (first.parent, first.local_derivative, first.amount, first.before, first.after) == (x, 3.0, 3.0, 0.0, 3.0)
    assert (second.before, second.after, x.grad) == (3.0, 6.0, 6.0)
    assert (step.index, step.grad) == (1, 1.0)


def test_a_step_in_words_shows_symbols_numbers_and_the_sum_over_paths(mazur):
    mazur.run_to("out_h1")
    assert str(mazur.step()) == (
        "step 12 of 15 · out_h1 = σ(net_h1)\n"
        "  ∂E/∂out_h1       = 0.0363503  (sum of 2 paths: 0.0553994 − 0.0190491)\n"
        "  ∂out_h1/∂net_h1  = out_h1·(1 − out_h1) = 0.241301\n"
        "  ∂E/∂net_h1      += 0.0363503 × 0.241301 = 0.00877135"
    )


def test_next_goes_on_to_the_next_labelled_node(mazur):
    assert [step.node.label for step in mazur.next()] == ["E"]
    line = mazur.next()
    assert [step.node.label for step in line] == ["E_o1", "", ""]
    assert str(line).endswith(
        "together, from E_o1\n"
        "  ∂E/∂t1     += ∂E/∂E_o1·(t1 − out_o1) = −0.741365\n"
        "  ∂E/∂out_o1 += −∂E/∂E_o1·(t1 − out_o1) = 0.741365"
    )
    mazur.run()
    assert mazur.next() == []
    assert mazur.step() is None
    assert str(mazur.next()) == "The walk is at its end."


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a = w*x\nL = (y - a)^2 + lam*w^2", {"x": 2, "w": 0.5, "y": 3, "lam": 0.1}),
        ("h = y + y\nL = h + x*x*y", {"x": 2, "y": 3}),
        ("h = x*x + 1\nL = (x + 1)*h + 2*(x*x*x)", {"x": 2}),
    ],
)
def test_steps_that_are_no_line_of_a_derivation_are_not_taken_together(text, values):
    """What other nodes have sent passes between the two labelled nodes as well, so no single line is true."""
    walk = Backprop(build(text, values).loss)
    walk.next()
    assert "together" not in str(walk.next())


def test_a_tie_is_told_as_its_number():
    walk = Backprop(build("m = max(x, y)\nL = 3*m", x=2.0, y=2.0).loss)
    walk.step()
    assert "∂m/∂x  = 0.5\n" in str(walk.step())


def test_a_condition_passes_its_gradient_to_the_branch_it_takes():
    graph = build("L = sqrt(x) if x > 0 else 3*x", x=0.0)  # √0 has an infinite derivative, and is not taken
    walk = Backprop(graph.loss)
    assert walk.words.forward_line(graph["L"]) == "L = (sqrt(x) if x > 0 else 3·x) = (sqrt(0) if 0 > 0 else 3·0) = 0"
    assert [step.node.op for step in walk] == ["if >", "*"]
    assert graph["x"].grad == 3.0


def test_an_infinite_gradient_is_warned_of_once():
    x = Value(0.0, label="x")
    walk = Backprop(x.sqrt() * 2.0)
    walk.step()
    with pytest.warns(RuntimeWarning, match="gradient of x is infinite"):
        walk.step()
    walk.back().step()  # no warning again
    assert x.grad == float("inf")


def test_why_over_15_000_diamonds_counts_in_powers_of_ten():
    x = Value(1.0, label="x")
    y = x
    for _ in range(15_000):
        y = y * 0.5 + y.tanh() * 0.25
    assert "about 2.81·10^4515 paths" in str(Backprop(y).why("x"))


def test_run_to_stops_where_a_gradient_is_complete_and_not_yet_passed_on(mazur):
    mazur.run_to("out_h1")
    out_h1, net_h1, w5 = (mazur.find(name) for name in ("out_h1", "net_h1", "w5"))
    assert out_h1.grad == pytest.approx(0.036350306393144678, rel=1e-14)
    assert net_h1.grad == 0.0
    mazur.run_to("w5")  # passed already: it goes back
    assert mazur.position == 6
    assert w5.grad == pytest.approx(0.082167040564230779, rel=1e-14)
    assert repr(mazur) == "<Backprop of E, at step 6 of 15; next is E_o2, with ∂E/∂E_o2 = 1>"
    assert repr(mazur.run()) == "<Backprop of E, at its end: all 15 steps are done>"


def test_why_lists_the_paths_and_their_products(mazur):
    why = mazur.why("w1")
    assert why.count == 2
    assert [path.product for path in why.paths] == pytest.approx([0.000668396, -0.000229828], rel=1e-5)
    assert "∂E/∂w1 = 0.000438568, the sum over 2 paths" in str(why)
    assert "E → E_o1 → v2 → v1 → out_o1 → net_o1 → out_h1 → net_h1 → w1" in str(why)
    assert mazur.position == 0


def test_why_counts_2_to_the_200_paths_without_listing_them():
    x = Value(1.0, label="x")
    y = x
    for _ in range(200):
        y = y * 0.5 + y.tanh() * 0.25
    why = Backprop(y).why("x")
    assert why.count == 2**200
    assert len(why.paths) == 10
    assert why.rest == pytest.approx(why.gradient - sum(path.product for path in why.paths))
    assert "about 1.60·10^60 paths" in str(why)


def test_a_chain_of_100_000_nodes_walks_to_its_middle_and_back():
    x = Value(1.0, label="x")
    y = x
    for number in range(50_000):
        y = y * 1.00001 + 0.00001
        if number == 25_000:
            y.label = "middle"
    walk = Backprop(y)
    assert len(walk) == 100_000
    walk.run_to("middle")
    assert 49_000 < walk.position < 51_000
    before = x.grad
    walk.goto(0)
    assert (walk.position, before, y.grad) == (0, 0.0, 1.0)
    assert walk.run() is walk
    assert x.grad == pytest.approx(1.00001**50_000, rel=1e-9)
    assert walk.why("middle").count == 1
    assert "nodes …" in str(walk.why("x"))


def test_gradients_that_were_not_zero_are_told_and_reset():
    x = Value(2.0, label="x")
    loss = x * x
    loss.backward()
    with pytest.warns(UserWarning, match="2 gradients were not 0"):
        walk = Backprop(loss)
    assert (x.grad, loss.grad) == (0.0, 1.0)
    assert [step.index for step in walk] == [1]
    assert x.grad == 4.0


def test_names_that_mean_no_node_or_two_are_refused():
    a, b = Value(1.0, label="w"), Value(2.0, label="w")
    walk = Backprop(a * b + 0.5)
    with pytest.raises(LookupError, match="'w' names 2 nodes"):
        walk.run_to("w")
    with pytest.raises(LookupError, match=r"No node is called 'q'\. Known names: w, v1, v2\."):
        walk.why("q")
    with pytest.raises(LookupError, match="not part of the graph"):
        walk.why(Value(3.0))
    with pytest.raises(IndexError, match="2 steps; there is no position 3"):
        walk.goto(3)
    with pytest.raises(TypeError, match="a loss that is a Value, not float"):
        Backprop(3.0)


def test_nodes_without_a_label_get_short_names_that_avoid_labels():
    x = Value(2.0, label="v1")
    walk = Backprop((x * 3.0).tanh())
    assert [walk.words.names[node] for node in walk.order] == ["v3", "v2"]


def test_a_step_into_nan_raises_and_changes_nothing():
    x = Value(0.0, label="x")
    root = x.sqrt()
    walk = Backprop(root * 0.0)
    walk.step()
    with pytest.raises(FloatingPointError, match="gradient of x has no value"):
        walk.step()
    assert (walk.position, x.grad) == (1, 0.0)


def test_a_node_of_many_parents_is_told_in_a_few_lines():
    xs = [Value(float(i), label=f"x{i}") for i in range(1, 101)]
    text = str(Backprop(total(xs)).step())
    assert "and 88 parents more" in text
    assert len(text.splitlines()) < 30


def test_a_leaf_alone_is_a_walk_of_no_steps():
    walk = Backprop(Value(2.0, label="x"))
    assert (len(walk), walk.step(), walk.why("x").gradient) == (0, None, 1.0)


@pytest.mark.parametrize("go_on", ["step", "next", "back", "run", "why"])
@pytest.mark.parametrize("change", ["refresh", "edit", "zero_grad", "backward"])
def test_a_walk_ends_where_its_graph_or_its_gradients_are_changed_by_something_else(go_on, change):
    graph = build("a = x*y\nb = a + x\nc = a*b\nd = tanh(c)", x=0.5, y=3.0)
    walk = Backprop(graph.loss)
    walk.goto(2)
    if change in ("refresh", "edit"):
        graph["x"].data = 1.0
    if change != "edit":
        getattr(graph.loss, change)()
    before = [node.grad for node in nodes(graph.loss)]
    with pytest.raises(ValueError, match=r"restart\(\) computes everything from the leaves and begins anew"):
        getattr(walk, go_on)(*(["x"] if go_on == "why" else []))
    assert (walk.position, [node.grad for node in nodes(graph.loss)]) == (2, before)
    assert walk.restart().position == 0
    walk.run()
    fresh = build("a = x*y\nb = a + x\nc = a*b\nd = tanh(c)", x=graph["x"].data, y=3.0)
    fresh.loss.backward()
    assert grads(graph.loss) == grads(fresh.loss)


def test_a_number_of_steps_is_a_whole_number_and_a_leaf_is_finite():
    walk = Backprop(build("L = x*x", x=0.5).loss)
    for position in ("L", 1.0, True, None):
        with pytest.raises(TypeError, match=r"goto takes the number of steps done, from 0 to 1, not .*run_to"):
            walk.goto(position)
    for number in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"finite|nan"):
            walk.set("x", number)
    with pytest.raises(TypeError, match=r"has it as `\.loss`"):
        Backprop(build("L = x*x", x=0.5))
    with pytest.raises(TypeError, match=r"A node or its name, such as 'w5', not 3\."):
        walk.predict(3, 3)
