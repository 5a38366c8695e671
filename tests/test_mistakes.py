"""Which mistake gives this number, at one application of the chain rule."""

import math
import re
from collections import Counter

import pytest
from hypothesis import given

from engine import Backprop, Value, build, softmax, total
from engine.blanks import blanks
from engine.explain import Words
from engine.graph import computed_nodes
from engine.mistakes import likely_mistakes
from engine.rules import RULES, Local, tried_rules
from tests.derivations.planted import KEYS as PLANTED
from tests.strategies import graphs, worked
from tests.terminals import ROOT


def step_at(loss, name=None):
    """The step at a node, and what can be asked there."""
    walk = Backprop(loss)
    step = (walk if name is None else walk.run_to(name)).step()
    return {blank.question: (blank, mistakes) for blank, mistakes in likely_mistakes(step)}


def keys_of(asked, question, number):
    """The keys of the mistakes that give the number, the likeliest first."""
    _, mistakes = asked[question]
    return [mistake.key for given, mistake in mistakes if math.isclose(given, number, rel_tol=1e-12, abs_tol=1e-15)]


SIGMOID = 1 / (1 + math.exp(-0.7))
TANH = math.tanh(0.7)


@pytest.mark.parametrize(
    ("formula", "number", "key"),
    [
        # local derivatives of L by a = 0.7; b = −1.3, c = 2.5
        ("sigmoid(a)", -SIGMOID * (1 - SIGMOID), "sign_flipped"),
        ("sigmoid(a)", 1.0, "activation_derivative_missing"),
        ("sigmoid(a)", (lambda s: s * (1 - s))(1 / (1 + math.exp(-SIGMOID))), "derivative_at_a_not_z"),
        ("sigmoid(a)", 0.7 * 0.3, "derivative_at_z_not_a"),
        ("sigmoid(a)", SIGMOID, "wrong_activation_derivative"),
        ("sigmoid(a)", 1 - SIGMOID**2, "wrong_activation_derivative"),
        ("sigmoid(a)", 1 - SIGMOID, "wrong_activation_derivative"),
        ("sigmoid(a)", (SIGMOID * (1 - SIGMOID)) ** 2, "activation_derivative_twice"),
        ("tanh(a)", TANH * (1 - TANH), "wrong_activation_derivative"),
        ("tanh(a)", 1 - 0.7**2, "derivative_at_z_not_a"),
        ("tanh(a)", 1 - math.tanh(TANH) ** 2, "derivative_at_a_not_z"),
        ("exp(a)", 0.7, "derivative_at_z_not_a"),
        ("abs(b)", 1.0, "abs_sign_missing"),
        ("log(a)", 1 / (0.7 * math.log(10)), "log10_for_ln"),
        ("log10(a)", 1 / 0.7, "log10_for_ln"),
        ("a**3", 0.7**2, "factor_2_missing"),
        ("a**3", 3 * 0.7**3, "power_exponent_kept"),
        ("a**3", 0.7**4 / 4, "integrated_instead"),
        ("2**a", 0.7 * 2 ** (0.7 - 1), "power_rule_on_exponential"),
        ("c**a", 0.7 * 2.5 ** (0.7 - 1), "power_rule_on_exponential"),
        ("c/a", -2.5 / 0.7, "quotient_rule"),
        ("a/c", 2.5, "quotient_rule"),
        ("a*c", 0.7, "weight_for_input"),
        ("a*c", 1.0, "input_factor_missing"),
        ("h*c", 1.0, "weight_factor_missing"),
        ("a*c", 1.75, "value_for_gradient"),
        ("a*b + c", 0.7, "weight_for_input"),
        ("c*b + a", 0.7, "bias_chain"),
        ("c*b + a", 0.0, "bias_chain"),
        ("c*b + a", -1.3, "bias_chain"),
        ("c*b + a", 2.5, "bias_chain"),
        ("c*c + a*b", 2.5, "wrong_variable"),
        ("a + c", 0.7, "bias_chain"),
        ("a + c", -1.0, "threshold_sign"),
        ("c - a", 0.0, "bias_chain"),
        ("c - a", 1.0, "sign_flipped"),
        ("0.5*a", 1.0, "factor_half_ignored"),
        ("0.5*a", 0.25, "factor_half_ignored"),
        ("2*a", 1.0, "factor_2_missing"),
        ("3*a", 1.0, "chain_inner_missing"),
        ("sqrt(a)", 1 / math.sqrt(0.7), "factor_half_ignored"),
        ("sqrt(a)", math.sqrt(0.7) / 2, "power_exponent_kept"),
        ("sin(a)", -math.cos(0.7), "sign_flipped"),
        ("cos(a)", math.sin(0.7), "sign_flipped"),
        ("c**a", 2.5**0.7, "power_rule_on_exponential"),
        ("exp(a)", 0.7 * math.exp(0.7 - 1), "power_rule_on_exponential"),
        ("h/(a*a + c)", 1.0, "quotient_rule"),
        ("max(a, b)", 0.0, "wrong_variable"),
        ("mean(a, b, c)", 1.0, "sum_for_mean"),
        ("mean(a, b, c)", 1 / 9, "mean_twice"),
    ],
)
def test_a_mistake_at_a_local_derivative_is_known_by_its_number(formula, number, key):
    asked = step_at(build(f"h = tanh(a)\nL = {formula}", a=0.7, b=-1.3, c=2.5).loss)
    operand = {"abs(b)": "b", "h*c": "h", "h/(a*a + c)": "h"}.get(formula, "a")
    assert key in keys_of(asked, f"∂L/∂{operand} = ?", number)


def test_softmax_has_mistakes_of_its_own():
    scores = [Value(1.0, "s1"), Value(2.0, "s2")]
    p = softmax(scores)
    p[0].label = "p1"
    loss = p[0] * 3.0
    loss.label = "L"
    asked = step_at(loss, "p1")
    assert keys_of(asked, "∂p1/∂s2 = ?", 0.0) == ["softmax_diagonal_only"]
    assert "softmax_diagonal_only" in keys_of(asked, "∂p1/∂s2 = ?", p[0].data * (1 - p[0].data))


FORMULAS = """
    sigmoid(a) tanh(a) exp(a) abs(b) log(a) log10(a) sqrt(a) sin(a) cos(a) a**3 2**a c**a c/a a*c tanh(a)*c a*b+c
    max(a,b) 0.5*tanh(a) a*0.5 2*tanh(a) 3*tanh(a) -tanh(a) c-tanh(a) tanh(a)-c tanh(a)+c (tanh(a)+c+b)/3 mean(a,b,c)
""".split()
LABELLED = [build(f"L = {formula}", a=0.7, b=-1.3, c=2.5).loss for formula in FORMULAS]
NAMELESS = [build(f"L = sin({formula})", a=0.7, b=-1.3, c=2.5).loss for formula in FORMULAS]


def labelled_softmax():
    p = softmax([Value(0.5, "s1"), Value(0.2, "s2")])[0]
    p.label = "p1"
    return p


def tries(roots):
    """Each rule that is tried somewhere in the graphs, with the operand, and the names of the graph."""
    for root in roots:
        words = Words(root)
        for node in computed_nodes(root):
            every = node.local_derivatives
            for operand in (place for place, parent in enumerate(node.parents) if not parent.is_constant):
                local = Local(node, operand, node.data, tuple(parent.data for parent in node.parents), every)
                yield from ((rule, at, words) for rule, at in tried_rules(local))


@pytest.mark.parametrize(
    "roots",
    [[*LABELLED, labelled_softmax()], [*NAMELESS, softmax([Value(0.5), Value(0.2)])[0] * 3.0]],
    ids=["with labels", "without labels"],
)
def test_every_rule_gives_somewhere_a_number_that_is_not_the_right_one_and_says_which_mistake_it_is(roots):
    wrong, texts = Counter(), {}
    for rule, at, words in tries(roots):
        wrong[id(rule)] += not math.isclose(rule.gives(at), at.derivative, rel_tol=1e-9)
        texts.setdefault(id(rule), []).append(at.said(rule.text, words))
    assert [f"{rule.key}: {rule.text}" for rule in RULES if not wrong[id(rule)]] == []
    for told in texts.values():
        for text in told:
            assert text.startswith("you ")
            assert not set("{}.;\n") & set(re.sub(r"\d\.\d", "", text)), text  # it stands within a sentence


def test_a_mistake_is_told_with_the_names_that_stand_beside_it():
    def texts(formula, of="a"):
        asked = step_at(build(f"h = tanh(a)\nL = {formula}", a=0.7, b=-1.3, c=2.5).loss)
        return [mistake.text for _, mistake in asked[f"∂L/∂{of} = ?"][1]]

    assert texts("sigmoid(a)")[0] == "you left out σ′(a) = L·(1 − L)"
    assert "you put a where L belongs in L·(1 − L)" in texts("sigmoid(a)")
    assert "you did not bring the exponent 3 in front" in texts("a**3")
    assert "you did not square the divisor a in the derivative of L" in texts("c/a")
    assert "you multiplied by c, and a is divided by it" in texts("a/c")
    assert "you took a itself, and the derivative is the other factor, c" in texts("a*c")
    assert "you multiplied by b, and a stands alone in the sum" in texts("c*b + a")
    assert "you took the derivative by b, and not by a" in texts("a*c + b*b")
    assert "you left out the 1/n of the mean over 3 terms" in texts("(a + b + c)/3", "v2")
    exponential = "you left out the factor log(a + c), which the derivative of a power by its exponent has"
    assert exponential in texts("(a + c)**b", "b")


def test_what_a_likelier_mistake_gives_as_well_is_not_told():
    asked = step_at(build("L = sigmoid(a)", a=0.7).loss)
    assert [mistake.text for given, mistake in asked["∂L/∂a = ?"][1] if given == 1.0] == [
        "you left out σ′(a) = L·(1 − L)"  # and not: the derivative of relu, which is 1 for a > 0
    ]


def test_the_chain_rule_itself_goes_wrong_in_known_ways():
    asked = step_at(worked("mazur_2_2_2")["E"], "out_o1")
    question, grad, local = "∂E/∂net_o1 += ?", 0.7413650695523157, 0.18681560180895948
    assert keys_of(asked, question, grad) == ["activation_derivative_missing"]  # and not the derivative of relu
    assert keys_of(asked, question, local) == ["stopped_early"]
    assert keys_of(asked, question, -grad * local) == ["sign_flipped"]
    assert keys_of(asked, question, 1.10590596705977) == ["value_for_gradient"]
    graph = build("q = a*b\nL = q*q + a", a=2.0, b=3.0)
    asked = step_at(graph.loss, "q")
    assert keys_of(asked, "∂L/∂a += ?", 36.0 + 1.0) == ["no_accumulation_reset"]
    assert keys_of(asked, "∂L/∂a += ?", 12.0 * 2.0) == ["weight_for_input"]


def test_a_sum_over_paths_goes_wrong_in_known_ways():
    graph = build("u = tanh(a)\nL = 2*u + 3*u + u*u", a=0.5)
    u = math.tanh(0.5)
    asked = step_at(graph.loss, "u")
    blank, mistakes = asked["∂L/∂u = ?"]
    terms = blank.step.received
    assert sorted(terms) == sorted([2.0, 3.0, u, u])
    assert blank.expected == pytest.approx(5.0 + 2 * u)
    assert keys_of(asked, "∂L/∂u = ?", 5.0 + u)[:1] == ["path_missing"]
    assert keys_of(asked, "∂L/∂u = ?", 2.0)[:1] == ["path_missing"]
    assert keys_of(asked, "∂L/∂u = ?", 6.0 * u * u) == ["paths_multiplied_not_added"]
    assert keys_of(asked, "∂L/∂u = ?", -5.0 - 2 * u) == ["sign_flipped"]
    assert keys_of(asked, "∂L/∂u = ?", 1.0 + 2 * u) == ["sign_flipped"]  # of one path
    texts = {mistake.text: number for number, mistake in mistakes}
    assert texts["you left out the path by L (2)"] == pytest.approx(3.0 + 2 * u)  # L uses u four times
    assert texts["you took the path by L (2) alone, and paths are added"] == 2.0
    mazur = step_at(worked("mazur_2_2_2")["E"], "out_h1")["∂E/∂out_h1 = ?"][1]
    assert mazur[0].mistake.text == "you took the path by net_o1 alone, and paths are added"


def test_many_paths_are_tried_one_by_one_and_all_but_one():
    u = Value(0.5, "a").tanh()
    u.label = "u"
    loss = total([u * float(factor) for factor in range(1, 9)])
    loss.label = "L"
    _, mistakes = step_at(loss, "u")["∂L/∂u = ?"]
    missing = [number for number, mistake in mistakes if mistake.key == "path_missing"]
    assert sorted(missing) == sorted(
        [36.0 - factor for factor in range(1, 9)] + [float(factor) for factor in range(1, 9)]
    )


@given(graphs(most=15))
def test_no_mistake_is_the_right_answer_and_every_blank_is_a_number_of_its_step(graph):
    loss, _ = graph
    loss.zero_grad()
    for step in Backprop(loss):
        asked = blanks(step)
        numbers = [n for one in step.contributions for n in (one.local_derivative, one.amount)][:24]
        expected = [step.grad, *numbers] if len(step.received) > 1 else numbers
        assert [blank.expected for blank in asked] == expected
        for blank, mistakes in likely_mistakes(step):
            assert blank.question.endswith("?")
            assert len({(number, mistake) for number, mistake in mistakes}) == len(mistakes)
            for number, mistake in mistakes:
                assert math.isfinite(number)
                assert abs(number - blank.expected) > 0.0
                assert mistake.key in KEYS
                assert mistake.node
                assert mistake.text


KEYS = {
    "sign_flipped", "factor_2_missing", "activation_derivative_missing", "activation_derivative_twice",
    "derivative_at_a_not_z", "derivative_at_z_not_a", "wrong_activation_derivative", "path_missing",
    "paths_multiplied_not_added", "bias_chain", "input_factor_missing", "weight_for_input", "weight_factor_missing",
    "stopped_early", "sum_for_mean", "mean_twice", "log10_for_ln", "softmax_diagonal_only", "power_exponent_kept",
    "power_rule_on_exponential", "quotient_rule", "integrated_instead", "abs_sign_missing", "wrong_variable",
    "no_accumulation_reset", "value_for_gradient", "factor_half_ignored", "chain_inner_missing", "threshold_sign",
}  # fmt: skip


def test_every_key_stands_in_the_table_of_the_readme():
    _, table = (ROOT / "README.md").read_text(encoding="utf-8").split("<summary>The keys</summary>")
    told = re.findall(r"^\| `(\w+)` \|", table.split("</details>")[0], flags=re.MULTILINE)
    assert {*KEYS, *PLANTED, *(rule.key for rule in RULES)} <= {*told}
    assert len(told) == len({*told}) == 41


def test_an_infinite_number_is_not_asked():
    with pytest.warns(RuntimeWarning, match="infinite"):
        asked = [blank.question for step in Backprop(build("L = 2*sqrt(x)", x=0.0).loss) for blank in blanks(step)]
    assert asked == ["∂L/∂v1 = ?", "∂L/∂v1 += ?"]
