"""Formulas in LaTeX and the solution sheet: true, typeset, and the same each time, whatever a label holds."""

import math
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.mathtext import MathTextParser

from engine import Backprop, Value, build, logsumexp, nodes, ops, total
from engine.backprop import gradients
from engine.explain import Words, derivation, through_unlabelled, unlabelled_below
from engine.text import in_markdown, in_notation, latex_number
from engine.value import record
from nn import MLP, mse
from tests.reference import ROWS, points
from tests.strategies import WORKED, case, graph_of, graphs, programs, worked

ROOT = Path(__file__).parents[1]
LABELS = [
    *case("hostile_inputs.json")["labels"],
    *[r"\begin{aligned}", r"\end{aligned} $$ text", "$$", "`code`", "**bold**", "__x__", "a_b_", "~~x~~", "![i](j)"],
    *["[a](http://x.y)", "http://example.com", "a@example.com", "x^2", "100%", "#1", "& b", r"\\"],
    *["|", "- item", " ", "x" * 400],
]  # fmt: skip
PARSER = MathTextParser("path")


def cells(latex):
    """The formulas in a block of LaTeX as mathtext, which has no environments, can typeset them."""
    innermost = re.compile(r"\\begin\{cases\}((?:(?!\\begin).)*?)\\end\{cases\}", re.DOTALL)
    while innermost.search(latex):
        latex = innermost.sub(_in_braces, latex)
    body = re.sub(r"\\(begin|end)\{aligned\}", "", latex).replace(r"\mathrel{+}=", "+=")
    return [cell.strip() for row in re.split(r"\\\\\s", body) for cell in row.split("&") if cell.strip()]


def d(of, by):
    """A derivative in LaTeX, where net and out are upright."""
    upright = [re.sub(r"(net|out)", r"\\mathrm{\1}", name) for name in (of, by)]
    return rf"\frac{{\partial {upright[0]}}}{{\partial {upright[1]}}}"


def _in_braces(found):
    return re.sub(r"\\\\\s", ";", f"{{{found[1]}}}").replace("&", r"\quad")


@cache
def typeset_formula(formula):
    PARSER.parse(f"${formula}$")


def typeset(latex):
    """Typeset every cell; raises where one can't be. Which digits it has makes no difference."""
    for cell in cells(latex.replace(r"\&", "and").translate({ord('"'): "”", ord("`"): "‘"})):  # it lacks these
        typeset_formula(re.sub(r"\d+", "1", cell))


def formulas_of(sheet):
    """The blocks and the inline formulas of a sheet."""
    blocks = re.findall(r"^\$\$\n(.*?)\n\$\$$", sheet, re.S | re.M)
    return blocks, re.findall(r"\$([^$\n]+)\$", re.sub(r"^\$\$\n.*?\n\$\$$", "", sheet, flags=re.S | re.M))


def evaluated(latex, values):
    """A formula of LaTeX in numbers, by a reading that knows nothing of symbols; None where a ∂ is left in it."""
    text = latex
    for name in sorted([name for name in values if name in latex], key=len, reverse=True):
        text = re.sub(rf"(?<![\\A-Za-z]){re.escape(name)}(?![A-Za-z_])", f"({values[name]!r})", text)
    if r"\partial" in text:
        return None
    before = ""
    while text != before:
        before = text
        for pattern, meaning in MEANINGS:
            text = pattern.sub(meaning, text)
    return float(eval(text, {"__builtins__": {}}, KNOWN))


ARGUMENT = r"\{([^{}]*)\}"
MEANINGS = [
    (r"\\log_\{(\d+)\}", r"log\1"),
    (r"(\d)\\pi", r"\1*pi"),
    (r"\\mathrm\{(\w+)\\ (\w+)\}", r"\1_\2"),  # leaky relu
    (rf"\\mathrm{ARGUMENT}", r"\1"),
    (rf"\\frac{ARGUMENT}{ARGUMENT}", r"((\1)/(\2))"),
    (rf"\\sqrt\[3\]{ARGUMENT}", r"cbrt(\1)"),
    (rf"\\sqrt{ARGUMENT}", r"sqrt(\1)"),
    (rf"\^{ARGUMENT}", r"**(\1)"),
    (
        r"\\begin\{cases\} ((?:(?!\\begin).)*?) & \\text\{if \} ((?:(?!\\begin).)*?) \\\\ "
        r"((?:(?!\\begin).)*?) & \\text\{otherwise\} \\end\{cases\}",
        r"((\1) if (\2) else (\3))",
    ),
    (r"\\left\|", "abs("),
    (r"\\right\|", ")"),
    (r"\\cdot", "*"),
    (r"\\geq", ">="),
    (r"\\leq", "<="),
    (r"\\neq", "!="),
    (r" = ", " == "),
    (r"\\(left|right)\b", ""),
    (r"\\([a-z]+)(?=\(|\b)(?<!begin)(?<!text)(?<!frac)(?<!sqrt)(?<!mathrm)(?<!end)(?<!log)", r"\1"),
]
MEANINGS = [(re.compile(pattern), meaning) for pattern, meaning in MEANINGS]
KNOWN = ops.TABLE | {"max": max, "min": min, "ln": ops.LOG, "sigma": ops.SIGMOID, "pi": math.pi, "e": math.e}
KNOWN |= {"arcsin": ops.ASIN, "arccos": ops.ACOS, "arctan": ops.ATAN}
KNOWN |= {"arsinh": ops.ASINH, "arcosh": ops.ACOSH, "artanh": ops.ATANH}


# The table in LaTeX.


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_and_its_derivatives_are_typeset_and_true(row):
    for point in points(row):
        leaves = [Value(x, f"x{place}") for place, x in enumerate(point)]
        node = record(row, leaves)
        node.label = "y"
        words = Words(node, notation="latex", digits=17)
        values = {"y": node.data} | {f"x_{{{place}}}": x for place, x in enumerate(point)}
        formula = words.formula(node)
        typeset(formula)
        assert evaluated(formula, values) == pytest.approx(node.data, rel=1e-9)
        for local, recorded in zip(words.local_derivatives(node), node.local_derivatives, strict=True):
            typeset(str(local))
            assert evaluated(str(local), values) == pytest.approx(recorded, rel=1e-9, abs=1e-12), str(local)


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("sigmoid(z)", r"\sigma(z)"),
        ("tanh(z)**2", r"\tanh(z)^{2}"),
        ("relu(z)", r"\mathrm{relu}(z)"),
        ("abs(z)", r"\left|z\right|"),
        ("exp(-z)", r"e^{-z}"),
        ("exp(z)**2", r"(e^{z})^{2}"),
        ("sqrt(1 - z**2)", r"\sqrt{1 - z^{2}}"),
        ("z/(1 + z)", r"\frac{z}{1 + z}"),
        ("(z/(1 + z))**2", r"\left(\frac{z}{1 + z}\right)^{2}"),
        ("0.5*(z - 1)**2", r"\frac{1}{2} \cdot (z - 1)^{2}"),
        ("z*0.25 - 1e-7", r"0.25 \cdot z - 1 \cdot 10^{-7}"),
        ("z/3", r"\frac{z}{3}"),
        ("mean(z, 2*z, 1)", r"\frac{z + 2 \cdot z + 1}{3}"),
        ("log(z) + log1p(z)", r"\ln(z) + \ln(1 + z)"),
        ("max(z, 0)", r"\max(z, 0)"),
        ("pi*z", r"\pi \cdot z"),
        ("logsumexp(z, 2*z)", r"\ln(e^{z} + e^{2 \cdot z})"),
        ("z if z > 0.1 else z**2", r"\begin{cases} z & \text{if } z > 0.1 \\ z^{2} & \text{otherwise} \end{cases}"),
        ("1 + (z if z > 1 else 0)",
         r"1 + \left(\begin{cases} z & \text{if } z > 1 \\ 0 & \text{otherwise} \end{cases}\right)"),
    ],
)  # fmt: skip
def test_formulas_are_written_as_in_a_textbook(formula, latex):
    loss = build(f"L = {formula}", z=0.6).loss
    assert Words(loss, notation="latex").formula(loss) == latex


def test_a_name_with_an_exponent_is_squared_in_parentheses():
    loss = Value(3.0, "a2_1") ** 2
    assert Words(loss, notation="latex").formula(loss) == "(a^{2}_{1})^{2}"


@pytest.mark.parametrize(
    ("label", "latex"),
    [
        ("E_o1", "E_{o1}"),
        ("net_h1", r"\mathrm{net}_{h1}"),
        ("w1_h", "w_{1,h}"),
        ("total_loss", r"\mathrm{total}_{\mathrm{loss}}"),
        ("δ2_1", r"\delta^{2}_{1}"),
        ("theta", r"\theta"),
        ("loss of A", r"\mathrm{loss\ of\ A}"),
        ("lambda_", r"\lambda"),
        ("_x", r"\mathrm{\_x}"),
        ("a__b", r"\mathrm{a\_\_b}"),
        ("50%", r"\mathrm{50\%}"),
        (r"\frac{a}", r"\mathrm{\backslash{}frac\lbrace{}a\rbrace{}}"),
    ],
)
def test_names_in_latex(label, latex):
    assert in_notation(label, "latex") == latex


def test_names_that_would_look_the_same_stay_as_they_are():
    loss = Value(1.0, "w1") * Value(2.0, "w_1") * Value(3.0, "w2")
    for notation, shown in [("latex", [r"\mathrm{w1}", r"\mathrm{w\_1}", "w_{2}"]), ("unicode", ["w1", "w_1", "w₂"])]:
        assert [name for name in Words(loss, notation=notation).names.values() if "w" in name] == shown


@pytest.mark.parametrize(
    ("number", "latex"),
    [(0.25, "0.25"), (-1.5e-9, r"-1.5 \cdot 10^{-9}"), (1e20, r"1 \cdot 10^{20}"), (math.inf, r"\infty"),
     (-math.inf, r"-\infty"), (math.nan, r"\mathrm{nan}"), (-0.0, "0")],
)  # fmt: skip
def test_numbers_in_latex(number, latex):
    assert latex_number(number) == latex


CLOSE = {"rel": 1e-4, "abs": 1e-4}  # a constant in a formula has six digits


def data_of(words):
    """What each name stands for."""
    return {name: node.data for node, name in words.names.items() if not node.is_constant}


@settings(max_examples=200, deadline=None)
@given(graphs() | programs())
def test_what_is_written_reads_back_as_the_same_number(graph):
    """Formulas, and derivatives through nodes without a label, in both notations, each by a reading of its own."""
    loss, _ = graph
    plain, latex = Words(loss, digits=17), Words(loss, digits=17, notation="latex")
    for node in [node for node in plain.order if node.label or node is loss]:
        reached = gradients(node, unlabelled_below(node, plain.rank))
        readings = [(plain, False), (latex, False), (latex, True)]
        derived = [(words, through_unlabelled(words, node, numeric=numeric)) for words, numeric in readings]
        pairs = [(words, words.formula(node, numeric=numeric), node.data) for words, numeric in readings]
        pairs += [(words, str(of[one]), one.grad) for words, of in derived for one in reached if one in of]
        for words, formula, expected in pairs:
            if words is latex and r"\ldots" not in formula:
                assert evaluated(formula, data_of(latex)) == pytest.approx(expected, **CLOSE), formula
            if words is plain and not set("…|") & set(formula):
                used = {name: x for name, x in data_of(plain).items() if name.isidentifier() and name in formula}
                assert build(f"result = {formula}", used).loss.data == pytest.approx(expected, **CLOSE), formula


def test_a_sum_is_not_taken_for_a_fraction():
    graph = build("z = x*(1/a + b)\nL = z**2", x=2.0, a=4.0, b=3.0)
    assert "∂L/∂x  = ∂L/∂z·(1/a + b)" in derivation(Words(graph.loss), graph["x"], graph.loss)


# A step.


def test_a_step_in_latex():
    walk = Backprop(worked("mazur_2_2_2")["E"])
    net_o1, net_o2, net_h1, out_h1 = "net_{o1}", "net_{o2}", "net_{h1}", "out_{h1}"
    paths = [rf"{d('E', net)} \cdot {d(net, out_h1)}" for net in (net_o1, net_o2)]
    local = r"\mathrm{out}_{h1} \cdot (1 - \mathrm{out}_{h1})"
    product = rf"{d('E', out_h1)} \cdot {d(out_h1, net_h1)}"
    assert walk.run_to("out_h1").step().latex().splitlines() == [
        r"\begin{aligned}",
        r"\mathrm{out}_{h1} &= \sigma(\mathrm{net}_{h1}) \\",
        rf"{d('E', out_h1)} &= {paths[0]} + {paths[1]} = 0.0553994 - 0.0190491 = 0.0363503 \\",
        rf"{d(out_h1, net_h1)} &= {local} = 0.241301 \\",
        rf"{d('E', net_h1)} &\mathrel{{+}}= {product} = 0.0363503 \times 0.241301 = 0.00877135",
        r"\end{aligned}",
    ]


@pytest.mark.parametrize("path", WORKED, ids=lambda path: path.stem)
def test_every_step_of_the_published_examples_is_typeset(path):
    example = case(f"worked/{path.name}")
    for atomic in (False, True):
        for step in Backprop(graph_of(example, atomic=atomic)[example["output"]]):
            typeset(step.latex())


def test_a_step_of_many_parents_and_a_long_formula_are_shortened():
    xs = [Value(float(i), f"x{i}") for i in range(1, 101)]
    text = Backprop(total(xs)).step().latex()
    assert r"\ldots\text{ and 88 parents more}" in text
    assert r"\mathrm{total}(x_{1}, x_{2}, x_{3}, \ldots\ 100\text{ operands})" in text
    assert len(text.splitlines()) < 30
    typeset(text)
    x = Value(1.0, "x")
    fan = total([x * float(i) for i in range(100)])
    steps = [step.latex() for step in Backprop(fan)]
    assert max(map(len, steps)) < 3000
    x = y = Value(1.0, "x")
    for _ in range(200):
        y = (y * 1.01 + x).tanh()
    assert max(len(step.latex()) for step in Backprop(y)) < 3000


# The sheet.


def equations(sheet):
    """The left side of each equation of a sheet and its other sides, without line breaks."""
    blocks, _ = formulas_of(sheet)
    found = []
    for block in blocks:
        body = block.replace("_ {", "_{").removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
        while (joined := re.sub(r"(\\begin\{cases\}(?:(?!\\end).)*?\\\\)\n", r"\1 ", body)) != body:
            body = joined
        for row in body.split(" \\\\\n"):
            left, _, right = row.partition("&")
            if left:
                found.append((left.strip(), right.removeprefix(r"\leftarrow").removeprefix("=")))
            else:
                found[-1] = (found[-1][0], found[-1][1] + " " + right.replace(r"\quad {}", ""))
    return [(left, [side.strip() for side in right.split(" = ")]) for left, right in found]


def check_every_side(loss, **options):
    """Every side of every equation of the sheet is the same number."""
    sheet = Backprop(loss, digits=17).to_markdown(**options)
    loss.zero_grad()
    loss.backward()
    words = Words(loss, notation="latex")
    values = {words.gradient_of(node): node.grad for node in words.names} | data_of(words)
    values = {in_markdown(name).replace("_ {", "_{"): number for name, number in values.items()}
    sides_read = 0
    for left, sides in equations(sheet):
        for side in sides:
            if r"\ldots" not in side and (number := evaluated(side, values)) is not None:
                assert number == pytest.approx(values[left], **CLOSE), (left, side)
                sides_read += 1
    return sides_read


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_every_side_of_every_equation_is_the_same_number(graph):
    loss, _ = graph
    assert check_every_side(loss) >= len([node for node in nodes(loss) if node.op and (node.label or node is loss)])


@pytest.mark.parametrize("path", WORKED, ids=lambda path: path.stem)
def test_the_sheets_of_the_published_examples_are_true_and_typeset(path):
    example = case(f"worked/{path.name}")
    loss = graph_of(example)[example["output"]]
    sheet = Backprop(loss).to_markdown()
    blocks, inline = formulas_of(sheet)
    for formula in (*blocks, *inline):
        typeset(formula)
    loss.zero_grad()
    check_every_side(loss)


def test_the_gradients_of_the_sheet_are_those_of_backward():
    model = MLP(2, [3, 2, 1], "tanh", seed=0)
    loss = mse(model([0.5, -1.0]), 1.0)
    sheet = Backprop(loss, digits=17).to_markdown(parameters=model.parameters(), lr=0.1)
    loss.zero_grad()
    loss.backward()
    cells = re.findall(r"^\| \$(.*)\$ \| \$(.*)\$ \|$", sheet.partition("## Gradients")[2], re.M)
    words = Words(loss, notation="latex")
    assert [in_markdown(words.gradient_of(p)) for p in model.parameters()] == [name for name, _ in cells]
    for parameter, (_, figure) in zip(model.parameters(), cells, strict=True):
        assert float(figure.replace(r" \cdot 10^{", "e").replace("}", "")) == parameter.grad
        assert f" = {latex_number(parameter.data - 0.1 * parameter.grad, 17)}" in sheet


def test_mazurs_example_reads_as_written_by_hand():
    sheet = Backprop(worked("mazur_2_2_2")["E"]).to_markdown(parameters=["w5", "w1"], lr=0.5).replace("_ {", "_{")
    titles = [line for line in sheet.splitlines() if line.startswith("#")]
    assert titles[:5] == ["# Backpropagation of $E$", "## Given", "## Forward pass", "## Loss", "## Backward pass"]
    assert titles[-2:] == ["## Gradients", "## Updates"]
    out_o1, net_o1, net_o2, w5 = "out_{o1}", "net_{o1}", "net_{o2}", "w_{5}"
    error = r"\frac{1}{2} \cdot (t_{1} - \mathrm{out}_{o1})^{2} = \frac{1}{2} \cdot (0.01 - 0.751365)^{2}"
    slope = r"\mathrm{out}_{o1} \cdot (1 - \mathrm{out}_{o1})"
    for line in (
        "| $w_{5}$ | $0.4$ |",
        rf"E_{{o1}} &= {error} = 0.274811 \\",
        r"### $\mathrm{net}_{o1}$",
        rf"{d('E', net_o1)} &= {d('E', out_o1)} \cdot {d(out_o1, net_o1)} = {d('E', out_o1)} \cdot {slope} \\",
        r"&= 0.741365 \cdot 0.751365 \cdot (1 - 0.751365) = 0.138499 \\",
        rf"{d('E', w5)} &= {d('E', net_o1)} \cdot {d(net_o1, w5)} = {d('E', net_o1)} \cdot \mathrm{{out}}_{{h1}} = "
        r"0.138499 \cdot 0.59327 = 0.082167",
        r"&= 0.138499 \cdot 0.4 - 0.0380982 \cdot 0.5 = 0.0363503",
        rf"{w5} &\leftarrow {w5} - \eta \cdot {d('E', w5)} = 0.4 - 0.5 \cdot 0.082167 = 0.358916 \\",
    ):
        assert line in sheet.splitlines(), line
    assert rf"= {d('E', net_o1)} \cdot {w5} + {d('E', net_o2)} \cdot w_{{7}} \\" in sheet


@given(graphs(most=12), st.data())
def test_the_walk_and_its_gradients_stay_as_they_are(graph, data):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    walk.goto(data.draw(st.integers(0, len(walk))))
    before = [node.grad.hex() for node in nodes(loss)], walk.position
    sheet = walk.to_markdown()
    assert ([node.grad.hex() for node in nodes(loss)], walk.position) == before
    assert walk.to_markdown() == sheet == walk.goto(0).to_markdown()


def test_the_walk_stays_where_it_is_when_there_is_no_derivation():
    x = Value(0.0, "x")
    walk = Backprop(x.sqrt() * 0.0)
    walk.step()
    with pytest.raises(FloatingPointError, match="gradient of x has no value"):
        walk.to_markdown()
    assert (walk.position, x.grad) == (1, 0.0)
    graph = build("a = x*y\nL = a*x", x=2.0, y=3.0)
    walk = Backprop(graph.loss)
    graph["y"].data = 4.0
    with pytest.raises(ValueError, match="The graph was edited after the forward pass: a was computed as 6"):
        walk.to_markdown()
    assert walk.position == 0


def test_updates_need_parameters_that_are_in_the_graph():
    walk = Backprop(build("L = w*x", w=1.0, x=2.0).loss)
    with pytest.raises(ValueError, match="lr updates parameters: say which"):
        walk.to_markdown(lr=0.1)
    with pytest.raises(LookupError, match="No node is called 'v'"):
        walk.to_markdown(parameters=["v"], lr=0.1)
    with pytest.raises(ValueError, match=r"L is computed: w·x\. Only a leaf can be updated"):
        walk.to_markdown(parameters=["L"])
    assert "## Updates" not in walk.to_markdown(parameters=["w"])


def test_a_graph_without_labels_is_told_by_the_names_of_its_nodes():
    x = y = Value(2.0, "x")
    for _ in range(40):
        y = (y * 0.9 + x * 0.1).tanh() + 0.3
    sheet = Backprop(y).to_markdown()
    y.zero_grad()
    assert check_every_side(y) > 60
    assert r"v_ {105} &= \tanh(0.9 \cdot v_ {100} + 0.1 \cdot x) + 0.3" in sheet
    named, used = set(re.findall(r"^(v_ \{\d+\}) &=", sheet, re.M)), set(re.findall(r"v_ \{\d+\}", sheet))
    assert used == named
    assert max(map(len, sheet.splitlines())) < 1200


def test_long_sums_go_on_in_the_next_line_and_many_terms_are_cut_short():
    w = Value(0.5, "w")
    parts = [w * Value(float(place), f"x{place}") for place in range(30)]
    for place, part in enumerate(parts):
        part.label = f"part{place}"
    assert r" + \ldots" in Backprop(total(parts)).to_markdown(parameters=[w])
    numbers = {f"{name}{i}": 0.123456 for i in range(9) for name in ("weight", "input")}
    few = build("z = " + " + ".join(f"weight{i}*input{i}" for i in range(9)) + "\nL = z**2", numbers)
    lines = Backprop(few.loss).to_markdown().split("## Loss")[0].splitlines()
    assert sum(r"& \quad {} + " in line for line in lines) > 2
    assert max(len(line) for line in lines) < 300
    typeset(formulas_of("\n".join(lines))[0][0])


def test_a_derivative_that_is_too_long_to_read_stands_by_its_name():
    xs = [Value(0.1 * place, f"score{place}") for place in range(20)]
    z = logsumexp(xs)
    z.label = "z"
    sheet = Backprop(z * z).to_markdown(parameters=xs[:1])
    assert check_every_side(z * z, parameters=xs[:1]) > 3
    derivative = rf"{d('v_ {1}', 'z')} \cdot " + d("z", r"\mathrm{score}_ {0}")
    numbers = f"{latex_number(2 * z.data)} \\cdot {latex_number(z.local_derivatives[0])}"
    assert f"&= {derivative} = {numbers} = {latex_number(2 * z.data * z.local_derivatives[0])}" in sheet


def test_a_branch_that_is_not_taken_has_no_lines():
    graph = build("r = sqrt(x)\ns = 3*x\nL = r if x > 0 else s", x=1.0)
    graph["x"].data = -1.0
    graph.loss.refresh()
    sheet = Backprop(graph.loss).to_markdown()
    assert "r &=" not in sheet
    assert rf"{d('L', 'x')} &= {d('L', 's')} \cdot {d('s', 'x')} = 3 \cdot {d('L', 's')} = 3 \cdot 1 = 3" in sheet
    assert d("L", "r") not in sheet
    for block in formulas_of(sheet)[0]:
        typeset(block)


def test_a_leaf_alone_has_a_sheet():
    assert Backprop(Value(2.0, "x")).to_markdown().splitlines()[-3:] == [
        "| gradient | value |", "| --- | ---: |", r"| $\frac{\partial x}{\partial x}$ | $1$ |"
    ]  # fmt: skip


# Labels.


@pytest.mark.parametrize("label", LABELS, ids=lambda label: ascii(label[:20]))
def test_any_label_is_text_in_latex_in_markdown_and_in_html(label):
    x = Value(2.0, label)
    y = (x * 3.0).tanh()
    y.label = f"y{label}"
    loss = (y - x) ** 2
    loss.label = f"{label}L"
    walk = Backprop(loss)
    for text in [step.latex() for step in walk]:
        assert re.findall(r"\\(?:begin|end)\{\w+\}", text) == [r"\begin{aligned}", r"\end{aligned}"]
        typeset(text.splitlines()[1].partition(" &=")[0])
    sheet = walk.to_markdown(parameters=[x], lr=0.5)
    assert sheet.isprintable() or set(re.findall(r"[^\S ]|[^\s\w\W]", sheet)) == {"\n"}
    blocks, inline = formulas_of(sheet)
    assert sheet.count("$") == 4 * len(blocks) + 2 * len(inline)
    for formula in inline:
        typeset(formula)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(sheet)
    assert {token.tag for token in tokens} <= {"h1", "h2", "h3", "p", "", "table", "thead", "tbody", "tr", "th", "td"}
    for token in tokens:
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "softbreak"}, token.children
            text = "".join("\n" if child.type == "softbreak" else child.content for child in token.children)
            assert text == token.content.replace("\\\\", "\\")
    assert not re.search(r"<\w|</|https?:|www\.|\w@\w|:\w+:", sheet)


def test_two_processes_write_the_same():
    code = (
        "from tests.strategies import worked; from engine import Backprop; "
        "walk = Backprop(worked('mazur_2_2_2')['E']); print(walk.to_markdown(parameters=['w5'], lr=0.5)); "
        "[print(step.latex()) for step in walk]"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop()) > 5000


def test_what_markdown_would_take_away_is_written_otherwise():
    sheet = Backprop(worked("mazur_2_2_2")["E"]).to_markdown()
    assert not re.search(r"\\[^A-Za-z\n\\]|\\\\(?!\n)|_\{|\*", sheet)
