"""Exercises: fresh numbers for the same graph, that round well and lie away from all that spoils them."""

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Exercise, Value, build, compare, exercise, nodes
from engine.answers import read_answers
from engine.cli import main
from engine.exercise import is_weight
from engine.formula import Graph
from nn import MLP, binary_cross_entropy, cross_entropy, mse
from tests.strategies import WORKED, case, drawn_leaves, graph_of, graphs, worked

CIRCUIT = "x = -2\ny = 5\nz = -4\nq = x + y\nf = q*z\n"


def answers(one):
    return {answer.name: answer.given for answer in read_answers(one.answers)}


def data(graph):
    """The numbers of the leaves by name."""
    under = [node for node in nodes(graph.loss) if not (node.op or node.is_constant)]
    return {node.label: node.data for node in under}


def significant(number):
    return len(f"{number:.12g}".replace("-", "").replace(".", "").partition("e")[0].strip("0"))


def check(one, **options):
    compare(one.graph.loss, answers(one), digits=one.digits, **options).raise_if_wrong()
    assert data(one.graph)
    for node in nodes(one.graph.loss):
        assert math.isfinite(node.data)
        if node._row.kinks and node._row.name not in (">", "<", ">=", "<="):
            assert not node._row.at_kink([parent.data for parent in node.parents])


# The numbers


@settings(deadline=None, max_examples=60)
@given(graphs(most=10), st.integers(0, 10**6))
def test_the_key_of_any_exercise_is_all_right(drawn, seed):
    loss, leaves = drawn
    loss.zero_grad()
    before = [(node.data, node.grad, node.label, node.local_derivatives) for node in nodes(loss)]
    one = None
    with contextlib.suppress(ValueError):  # where no such numbers were found
        one = exercise(loss, seed)
    assert [(node.data, node.grad, node.label, node.local_derivatives) for node in nodes(loss)] == before
    if one is None:
        return
    check(one)
    old = {leaf.label: leaf.data for leaf in leaves}
    for name, number in data(one.graph).items():
        assert significant(number) <= 3
        assert number == old[name] if old[name] in (0.0, 1.0) else 0.4 <= abs(number / old[name]) <= 4.0
        assert number.is_integer() == old[name].is_integer()
        if 0.0 < old[name] < 1.0:
            assert 0.0 < number < 1.0
    assert build(one.formulas).loss.data == one.graph.loss.data


@pytest.mark.parametrize("path", WORKED, ids=lambda path: path.stem)
def test_every_published_example_makes_exercises(path):
    graph = graph_of(json.loads(path.read_text(encoding="utf-8")))
    made = [exercise(graph, seed, lr=0.5) for seed in range(4)]
    for one in made:
        check(one, lr=0.5)
        assert set(one.graph) == {node.label for node in nodes(graph.loss) if node.label}
        assert one.solution
        assert one.to_markdown(solution=True).startswith("# Backpropagation of $")
    assert len({one.formulas for one in made}) == 4


@pytest.mark.parametrize("example", case("mistakes.json"), ids=lambda example: example["id"])
def test_every_graph_of_the_cases_makes_exercises(example):
    graph = graph_of(example, drawn_leaves(example, 1))
    one = exercise(graph, 1)
    check(one)
    assert exercise(graph, 2).formulas != one.formulas


@pytest.mark.parametrize(
    "made",
    [
        lambda: mse(MLP(2, [4, 4, 1], "relu", "linear", seed=1)([0.5, -1.2]), 1.0),
        lambda: binary_cross_entropy(MLP(2, [3, 1], "tanh", "sigmoid", seed=1)([0.5, -1.2]), 1.0),
        lambda: cross_entropy(MLP(2, [3, 3], "sigmoid", "linear", seed=1)([0.5, -1.2]), 1),
    ],
)
def test_nets_make_exercises(made):
    loss = made()
    loss.label = "L"
    one = exercise(loss, 3)
    check(one)
    for node in nodes(one.graph.loss):
        if node.op in ("tanh", "sigmoid"):
            assert abs(node.local_derivatives[0]) >= 0.05


def test_the_same_seed_gives_the_same_exercise_and_another_one_others():
    graph = worked("mazur_2_2_2")
    assert exercise(graph, 7).text == exercise(graph, 7).text == exercise(worked("mazur_2_2_2"), 7).text
    assert len({exercise(graph, seed).formulas for seed in range(100)}) == 100


def test_the_graph_stays_as_it_is():
    graph = worked("mazur_2_2_2")
    graph["E"].backward()
    before = [(node.data, node.grad, node.label) for node in nodes(graph["E"])]
    one = exercise(graph, 1)
    assert one.solution
    assert [(node.data, node.grad, node.label) for node in nodes(graph["E"])] == before
    assert not set(nodes(one.graph.loss)) & set(nodes(graph["E"]))


def test_labels_stay_shares_stay_shares_and_whole_numbers_stay_whole():
    graph = build("L = 0.5*(t - w*x)**2 + y*n*u + k*b", t=0.01, w=0.4, x=0.6, y=1.0, n=3.0, u=-1.7, k=0.0, b=0.2)
    made = [data(exercise(graph, seed).graph) for seed in range(40)]
    for numbers in made:
        assert (numbers["y"], numbers["k"]) == (1.0, 0.0)
        assert numbers["n"].is_integer()
        assert all(0.0 < numbers[name] < 1.0 for name in ("t", "x"))
        assert not numbers["u"].is_integer()
    for name in ("w", "b", "n", "u"):
        assert {numbers[name] > 0.0 for numbers in made} == {True, False}, name
    named = build("L = (t - v*w)**2\nparameters: v", t=0.2, v=0.4, w=0.6)
    made = [data(exercise(named, seed).graph) for seed in range(20)]
    assert {numbers["v"] > 0.0 for numbers in made} == {True, False}
    assert all(0.0 < numbers["w"] < 1.0 for numbers in made)


def test_numbers_are_of_different_sizes():
    for seed in range(20):
        numbers = data(exercise(worked("mazur_2_2_2"), seed).graph)
        assert len({abs(number) for number in numbers.values()}) == len(numbers)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("z = w*x + b\na = relu(z)\nL = (a - t)**2", {"w": 0.3, "x": 1.5, "b": -0.2, "t": 0.7}),
        ("a = max(u, v)\nL = a*abs(u - v)", {"u": 2.3, "v": 2.2}),
        ("L = sigmoid(w*x)", {"w": 2.4, "x": 1.1}),
        ("L = u*u if u > v else v*u", {"u": 0.5, "v": 0.45}),
        ("L = log(p)*sqrt(q)/(r - s)", {"p": 0.5, "q": 1.5, "r": 2.2, "s": 2.1}),
    ],
)
def test_numbers_lie_away_from_kinks_saturation_and_poles(text, given):
    graph = build(text, given)
    for seed in range(30):
        one = exercise(graph, seed)
        for node in nodes(one.graph.loss):
            if node._row.kinks:
                assert all(abs(gap) > 0.01 for gap in node._row.kinks(*[parent.data for parent in node.parents]))
            if node.op == "sigmoid":
                assert node.local_derivatives[0] >= 0.05
        assert all(abs(number) >= 1e-3 for number in one.expected if number)
        check(one)


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("L = relu(x*y)*w", {"x": 0.0, "y": 1.0, "w": 0.5}, "often: relu(x*y) is at its kink"),
        ("L = sigmoid(w + 40)", {"w": 0.5}, "L, which is sigmoid, is saturated."),
        ("L = x*y", {"x": 0.0, "y": 1.0}, "Every leaf of the graph is 0 or 1, and these stay as they are."),
    ],
)
def test_where_no_numbers_are_found_it_says_why(text, given, said):
    with pytest.raises(ValueError, match=r"Give .* value") as error:
        exercise(build(text, given), 0)
    assert said in str(error.value)


def test_large_whole_numbers_have_few_digits():
    for seed in range(20):
        one = exercise(build("L = n*w", n=1_000_000, w=0.5), seed, digits=1)
        assert len(f"{one.graph['n'].data:.0f}".strip("-0")) <= 3
        assert "Answer with numbers of 1 significant digit, or with formulas." in one.text


def test_a_weight_is_known_by_its_name():
    names = "w w1 W2_1_3 b b_h bias bias1 weight_out batch width box y beta".split()
    assert [name for name in names if is_weight(name)] == names[:8]


# The sheets


def test_a_sheet_has_the_numbers_the_formulas_and_blanks():
    one = exercise(build(CIRCUIT), 3, questions=["df/dx", "local(f, q)", "value(q)"])
    numbers = data(one.graph)
    assert one.formulas == (
        f"x = {numbers['x']:.0f}\ny = {numbers['y']:.0f}\nz = {numbers['z']:.0f}\n\nq = x + y\nf = q*z\n"
    )
    assert one.blank == "df/dx =\nlocal(f, q) =\nvalue(q) =\n"
    task = "# Answer with numbers of 4 significant digits, or with formulas."
    assert one.text == f"# Exercise 3\n\n{one.formulas}\n{task}\n\n{one.blank}"
    assert str(one) == one.text
    assert one.answers == f"df/dx = {numbers['z']:.3f}\nlocal(f, q) = {numbers['z']:.3f}\nvalue(q) = " + (
        f"{numbers['x'] + numbers['y']:#.4g}\n"
    )
    assert f"∂f/∂q  = z = {numbers['z']:.0f}".replace("-", "−") in one.solution
    assert "| `df/dx` |  |" in one.to_markdown()
    assert one.formulas in one.to_markdown()
    assert isinstance(one, Exercise)
    assert isinstance(one.graph, Graph)


def test_all_labelled_nodes_are_asked_from_the_loss_on_and_the_updates():
    text = "w = 0.5\nx = 1.5\nz = w*x\nL = z**2 + 1\nparameters: w\n"
    assert exercise(build(text), 0, lr=0.1).questions == ("dL/dz", "dL/dw", "dL/dx", "new(w)")
    assert exercise(build(text.replace("parameters: w\n", "")), 0, lr=0.1).questions[-1] == "new(w)"
    one = exercise(build(text), 0, lr=0.1)
    assert "The learning rate is 0.1." in one.text
    assert "Updates, learning rate 0.1" in one.solution
    assert one.formulas.endswith("\nparameters: w\n")


def test_the_blank_is_all_unanswered_and_the_key_keeps_its_zeros():
    one = exercise(worked("mazur_2_2_2"), 1)
    blank = {answer.name: answer.given for answer in read_answers(one.blank)}
    report = compare(one.graph.loss, blank)
    assert all("This is not answered." in row.message for row in report.values())
    assert "dE/dE_o1 = 1.000\n" in one.answers
    assert exercise(build("L = w*x", w=0.5, x=2.5), 1, digits=6).answers.count(".") == 2


def test_graphs_of_values_with_shared_and_unlabelled_nodes_are_written_out():
    x, w, u = Value(0.7, "x"), Value(-1.3, "w"), Value(2.4, "u")
    shared = (x * w).tanh()
    loss = (shared + shared * u - 1e-05) ** 3 / (shared + 3.25) + abs(w) ** 1.5 - (-u)
    one = exercise(loss, 5)
    check(one)
    kept = [line.partition(" = ")[0] for line in one.formulas.splitlines() if line]
    assert len(kept) == 5  # three leaves, what is shared, and the loss


def test_arguments_without_meaning_are_refused():
    graph = build(CIRCUIT)
    with pytest.raises(TypeError, match="a loss that is a Value, not float"):
        exercise(3.0, 1)
    for seed in ("1", 1.5, True, None):
        with pytest.raises(TypeError, match="The seed of an exercise is a whole number"):
            exercise(graph, seed)
    with pytest.raises(ValueError, match="this one is a leaf"):
        exercise(Value(2.0, "x"), 1)
    with pytest.raises(ValueError, match="The question 'g' can't be read"):
        exercise(graph, 1, questions=["g"])
    with pytest.raises(ValueError, match="no questions"):
        exercise(graph, 1, questions=[])
    strange = Value(2.5, "a b") * 3.0
    with pytest.raises(ValueError, match="can't be written as formulas"):
        exercise(strange, 1)
    graph["x"].data = 9.0
    with pytest.raises(ValueError, match="edited after the forward pass"):
        exercise(graph, 1)


# The command


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in a folder with a circuit; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circuit.txt").write_text(CIRCUIT)

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


def test_the_command_prints_the_sheet_the_key_or_the_solution(run):
    one = exercise(build(CIRCUIT), 7)
    assert run("exercise", "circuit.txt", "--seed", 7) == (0, one.text, "")
    assert run("exercise", "circuit.txt", "--seed", 7, "--key") == (0, one.answers, "")
    assert run("exercise", "circuit.txt", "--seed", 7, "--solution") == (0, one.solution, "")


def test_each_student_gets_a_graph_of_their_own_and_is_graded_by_it(run, tmp_path):
    (tmp_path / "names.txt").write_text("\ufeffAnna\n# not here\nBen Müller\r\n../C\n", encoding="utf-8")
    status, out, err = run("exercise", "circuit.txt", "--students", "names.txt", "-o", "class")
    assert (status, out) == (0, "wrote 3 exercises to class\n")
    assert err == "note: the files of ../C are called _C\n"
    names = ["Anna", "Ben Müller", "_C"]
    assert sorted(path.stem for path in (tmp_path / "class").glob("*.txt")) == sorted(names)
    graphs = {name: (tmp_path / "class" / f"{name}.txt").read_text(encoding="utf-8") for name in names}
    assert len({text.partition("\n\n")[2] for text in graphs.values()}) == 3
    for name in names:
        assert run("check", f"class/{name}.txt", f"class/keys/{name}.txt")[0] == 0
        assert "Backpropagation of" in (tmp_path / "class" / "keys" / f"{name}.md").read_text(encoding="utf-8")
    status, out, _ = run("grade", "class", "class/keys/*.txt")
    assert (status, out.count("4 of 4")) == (0, 4)
    (tmp_path / "class" / "answers" / "Anna.txt").write_text("df/dq = 99\ndf/dx =\ndf/dy =\ndf/dz =\n")
    status, out, _ = run("grade", "class", "class/answers/*.txt")
    assert status == 0
    assert "3 students, 4 questions, mean credit 0 of 4" in out
    (tmp_path / "class" / "Anna.txt").write_text("z = (")
    (tmp_path / "class" / "_C.txt").unlink()
    status, out, _ = run("grade", "class", "class/keys/*.txt")
    assert status == 2
    assert "Anna: class/Anna.txt, line 1" in out
    assert "_C: there is no exercise for _C: no file class/_C.txt." in out
    assert "3 students (2 not read)" in out


def test_no_file_is_replaced(run, tmp_path):
    assert run("exercise", "circuit.txt", "-o", "out")[0] == 0
    filled = tmp_path / "out" / "answers" / "exercise.txt"
    filled.write_text("df/dx = 3\n")
    status, _, err = run("exercise", "circuit.txt", "-o", "out", "--seed", 2)
    assert status == 2
    assert "is there already. Write to another folder." in err
    assert filled.read_text() == "df/dx = 3\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [("A\nA\n", "The name 'A' is there twice."), ("...\n", "The name '...' names no file."),
     ("# none\n", "There are no students."), ("a\nA\n", "is there twice")],
)  # fmt: skip
def test_names_that_no_files_can_have_are_told(run, tmp_path, names, said):
    (tmp_path / "names.txt").write_text(names)
    status, out, err = run("exercise", "circuit.txt", "--students", "names.txt", "-o", "out")
    assert (status, out) == (2, "")
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_graph_with_too_few_numbers_for_all_is_told(run, tmp_path):
    (tmp_path / "small.txt").write_text("n = 3\nL = n*n\n")
    (tmp_path / "names.txt").write_text("\n".join(f"s{i}" for i in range(30)))
    status, _, err = run("exercise", "small.txt", "--students", "names.txt", "-o", "out")
    assert status == 2
    assert "The graph has too few different numbers for all" in err
    assert "--students needs a folder" in run("exercise", "small.txt", "--students", "names.txt")[2]
