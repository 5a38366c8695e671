"""The worksheet derives by the chapter's matrix formulas what the engine derives by its graph."""

import csv
import io
import re
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import MLP, Layer, losses, worksheet
from nn.activations import ACTIVATIONS
from nn.agreement import RTOL, Disagreement
from nn.derivation import derive
from nn.losses import LOSSES, OF_LOGITS
from tests.strategies import case

MAZUR = [0.15, 0.20, 0.35, 0.25, 0.30, 0.35, 0.40, 0.45, 0.60, 0.50, 0.55, 0.60]
# Where Z must lie for the activations that have no value, or none that stays in hand, elsewhere.
CENTRES = dict.fromkeys(["log", "log1p", "log10", "log2", "sqrt", "cbrt"], 2.0) | {"acosh": 3.0}
FOLDING = {"abs", "sign", "step"}  # of normalized units they make equal ones, whose variance is rounding alone
GENTLE = {*CENTRES, "exp", "expm1", "sinh", "cosh", "tan", "asin", "acos", "atanh"}


def net(numbers, *arguments, **options):
    """A net with the given parameters, in their order."""
    model = MLP(*arguments, **options, seed=0)
    for parameter, number in zip(model.parameters(), numbers, strict=True):
        parameter.data = number
    return model


def mazur():
    return net(MAZUR, 2, [2, 2], "sigmoid", "sigmoid")


def right(printed, value):
    """Whether a printed number is the value to its last digit."""
    return f"{value:.{len(printed.partition('.')[2])}f}" == printed


def test_mazurs_published_tables_come_out_to_the_last_digit():
    sheet = worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], loss="half_squared_error", lr=0.5)
    weights = ["w1_1_1", "w1_1_2", "w1_2_1", "w1_2_2", "w2_1_1", "w2_1_2", "w2_2_1", "w2_2_2"]
    names = {f"w{number}": name for number, name in enumerate(weights, 1)} | {
        "net_h1": "z1_1", "out_h1": "a1_1", "out_h2": "a1_2", "net_o1": "z2_1", "out_o1": "a2_1", "out_o2": "a2_2",
        "E": "L",
    }  # fmt: skip
    keys = {"value": "{}", "grad": "dL/d{}", "local": "f'({})", "update": "new({})"}
    checked = 0
    for printed in case("worked/mazur_2_2_2.json")["expected"]:
        local = printed["kind"] == "local"
        place = names.get(
            printed.get("wrt") if local else printed.get("node") or printed.get("wrt", printed.get("param"))
        )
        key = keys[printed["kind"]].format(place).replace("dL/dz", "delta")
        if printed.get("of") in (None, "E") and key in sheet:
            assert right(printed["printed"], sheet[key]), (printed, sheet[key])
            checked += 1
    assert checked == 22


def test_ngs_published_gradients_of_a_batch_come_out():
    example = case("worked/ng_planar_backward.json")
    leaf = example["leaf"]
    units = [[leaf[f"W1_{j}1"], leaf[f"W1_{j}2"], leaf[f"b1_{j}"]] for j in (1, 2, 3, 4)]
    model = net([*np.ravel(units), *(leaf[f"W2_{j}"] for j in (1, 2, 3, 4)), leaf["b2"]], 2, [4, 1], "tanh", "sigmoid")
    X = [[leaf[f"x1_{e}"], leaf[f"x2_{e}"]] for e in (1, 2, 3)]
    sheet = worksheet(model, X, [leaf[f"y_{e}"] for e in (1, 2, 3)], "binary_cross_entropy")
    for printed in example["expected"]:
        layer, _, place = printed["wrt"][1:].partition("_")
        name = f"{printed['wrt'][0].lower()}{layer}_" + ("_".join(place) if layer == "1" else f"1_{place}".rstrip("_"))
        assert float(sheet[f"dL/d{name}"]) == pytest.approx(float(printed["printed"]), abs=0.6e-8), name


def test_macleods_net_comes_out_where_the_page_does_not_update_first():
    example = case("worked/macleod_2_2_1_updated_weights.json")
    leaf = example["leaf"]
    numbers = [leaf["w3"], leaf["w4"], 0.0, leaf["w5"], leaf["w6"], 0.0, leaf["w1"], leaf["w2"], 0.0]
    sheet = worksheet(net(numbers, 2, [2, 1], "sigmoid", "sigmoid"), [leaf["A"], leaf["B"]], leaf["T"], lr=1.0)
    assert right("0.6637", sheet["a1_2"])
    assert sheet["new(w2_1_1)"] == pytest.approx(0.27232596506128213, abs=1e-15)  # 0.272392 with the page's roundings
    assert -sheet["delta2_1"] == pytest.approx(-0.040681125112339039, abs=1e-15)
    assert -sheet["delta1_1"] == pytest.approx(-0.00265448903088, abs=1e-13)  # the page has −2.406e-3


@st.composite
def nets(draw):
    """A random net with examples, targets and a loss that fits it."""
    loss = draw(st.sampled_from(sorted(LOSSES)))
    hidden = draw(st.sampled_from(sorted(ACTIVATIONS)))
    outputs = draw(st.integers(2 if loss == "cross_entropy" else 1, 3))
    output = draw(
        st.just("linear") if loss in OF_LOGITS
        else st.just("sigmoid") if loss == "binary_cross_entropy"
        else st.sampled_from(["linear", "tanh", "sigmoid", "softsign"])
    )  # fmt: skip
    sizes = [*draw(st.lists(st.integers(1, 4), max_size=5)), outputs]
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    inputs = draw(st.integers(1, 4))
    norm = draw(st.sampled_from([None, None, "batch"])) if hidden not in GENTLE | FOLDING else None
    model = MLP(inputs, sizes, hidden, output, norm=norm, init="uniform", seed=generator)
    for layer in model.layers[:-1]:
        for neuron in layer.neurons:
            if hidden in GENTLE:
                for weight in neuron.weights:
                    weight.data *= 0.3 / len(neuron.weights)
            if neuron.bias is not None:
                neuron.bias.data = CENTRES.get(hidden, 0.3 if hidden in GENTLE else generator.normal())
    examples = draw(st.integers(3 if norm else 1, 4))  # of two, normalized, both lie at ±1
    X = generator.uniform(-1.0, 1.0, (examples, inputs))
    shape = (examples,) if outputs == 1 else (examples, outputs)
    y = {
        "hinge": lambda: generator.choice([-1.0, 1.0], shape),
        "cross_entropy": lambda: generator.integers(0, outputs, examples),
    }.get(loss, lambda: generator.uniform(0.0, 1.0, shape))()
    return model, X, y, loss


@settings(max_examples=300, deadline=None)
@given(nets())
def test_formulas_and_engine_agree_to_1e_12(drawn):
    """A disagreement raises."""
    assert RTOL == 1e-12
    model, X, y, loss = drawn
    worksheet(model, X, y, loss, lr=0.1)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_has_its_worksheet(name):
    model = MLP(2, [3, 1], name, init=lambda n, m, g: g.uniform(0.05, 0.2, (m, n)), seed=1)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = CENTRES.get(name, 0.4)
    sheet = worksheet(model, [0.5, 0.7], 1.0, "mse")
    assert ACTIVATIONS[name].rule in sheet.to_text()


def test_a_wrong_derivative_is_a_disagreement():
    wrong = replace(ACTIVATIONS["tanh"], derivative=lambda z, a: 1.0 - a)
    with pytest.raises(Disagreement, match="δ of layer 1: the chapter's formulas give"):
        worksheet(MLP(2, [2, 1], wrong, seed=0), [1.0, 2.0], 0.5)


def test_a_wrong_gradient_of_the_engine_is_a_disagreement():
    def spoiled(z):
        node = z.tanh()
        node.set_derivatives([1.001 * node.local_derivatives[0]])
        return node

    with pytest.raises(Disagreement, match="check the activation's derivative with gradcheck"):
        worksheet(MLP(2, [2, 1], spoiled, seed=0), [1.0, 2.0], 0.5)


def test_a_function_of_ones_own_is_derived_numerically():
    sheet = worksheet(MLP(2, [2, 1], lambda z: z.tanh() * z, seed=0), [1.0, 2.0], 0.5)
    assert "f′(Z) = numeric, by the complex step" in str(sheet)
    z = sheet["z1_1"]
    assert sheet["f'(z1_1)"] == pytest.approx(np.tanh(z) + z / np.cosh(z) ** 2, rel=1e-14)


def test_a_trained_net_whose_error_is_almost_0_agrees_too():
    model = mazur()
    target = [a.data for a in model([0.05, 0.1])]
    worksheet(model, [0.05, 0.1], [t + 1e-15 for t in target])


def test_cross_entropy_shows_the_softmax_the_jacobian_and_p_minus_y():
    model = MLP(2, [3], output="linear", seed=0)
    sheet = worksheet(model, [0.5, -1.0], 2, "cross_entropy")
    logits = np.array([sheet[f"z1_{k}"] for k in (1, 2, 3)])
    p = np.exp(logits) / np.exp(logits).sum()
    for k, y in ((1, 0.0), (2, 0.0), (3, 1.0)):
        assert sheet[f"p1_{k}"] == pytest.approx(p[k - 1], rel=1e-14)
        assert sheet[f"jacobian1_{k}"] == pytest.approx(p[k - 1] - y, rel=1e-13)
        assert sheet[f"delta1_{k}"] == pytest.approx(p[k - 1] - y, rel=1e-13)
    assert "δ_j = Σ ∂L/∂p_k·∂p_k/∂Z_j = p_j − y_j" in str(sheet)


def test_batch_normalization_is_worked_out_in_training_and_in_evaluation():
    model = MLP(2, [3, 1], "tanh", norm="batch", seed=0)
    X = [[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]]
    training = worksheet(model, X, [1.0, 0.0, 0.5], "mse", lr=0.1)
    assert training["mu1_1"] == pytest.approx(np.mean([training[f"z1_1_ex{e}"] for e in (1, 2, 3)]))
    assert "new(gamma1_3)" in training
    evaluation = worksheet(model.eval(), X, [1.0, 0.0, 0.5], "mse")
    assert evaluation["mu1_1"] == 0.0
    assert "b1_1" not in evaluation


def test_nothing_of_the_model_is_changed():
    model = MLP(2, [3, 1], "tanh", norm="batch", seed=0)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = float(number)
    before = model.state_dict(), [p.grad for p in model.parameters()], model.training
    worksheet(model, [[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0], "mse", lr=0.1)
    assert (model.state_dict(), [p.grad for p in model.parameters()], model.training) == before


def test_the_terminal_shows_this():
    sheet = worksheet(net([0.5, -0.25], 1, [1], output="sigmoid"), [2.0], [1.0], lr=0.1, digits=4)
    assert (
        str(sheet)
        == """\
Worksheet of MLP(1 → 1 sigmoid, 2 parameters), half_squared_error, lr = 0.1
w1_1_1 is layer 1's weight to unit 1 from unit 1: W_11, where W_ij leads from i to j.

Inputs and targets
 name   value
 ────────────
 x1         2
 t1         1

Layer 1
  Z = Σ W·A of the layer before + B
  A = σ(Z)
  f′(Z) = A·(1 − A)
  ∂L/∂A = A − t
  δ = ∂L/∂A·f′(Z)
             Z        A    f′(Z)     ∂L/∂A          δ
 ────────────────────────────────────────────────────
 unit 1   0.75   0.6792   0.2179   −0.3208   −0.06991

Layer 1, parameters
  ∂L/∂W = δ·A of the layer before, ∂L/∂B = δ
  new = value − lr·gradient
          value   gradient      new
 ──────────────────────────────────
 w1_1_1     0.5    −0.1398    0.514
 b1_1     −0.25   −0.06991   −0.243

Loss
  L = ½·Σ (t − A)²
 name     value
 ──────────────
 L      0.05146"""
    )


@pytest.mark.parametrize("form", ["to_text", "to_markdown", "to_latex", "to_csv"])
def test_a_blank_one_has_the_given_numbers_and_no_answer(form):
    sheet = worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], lr=0.5)
    filled, blank = getattr(sheet, form)(), getattr(sheet, form)(blank=True)
    for answer in ("0.3775", "0.593", "0.1497", "0.2983", "0.0821"):
        assert answer in filled
        assert answer not in blank
    for given_number in ("0.05", "0.15", "0.99"):
        assert given_number in blank
    assert getattr(worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], lr=0.5, blank=True), form)() == blank


def test_csv_has_every_number_to_the_last_bit():
    sheet = worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], lr=0.5)
    rows = list(csv.DictReader(io.StringIO(sheet.to_csv())))
    assert {row["name"]: float(row["value"]) for row in rows} == dict(sheet)


def test_latex_is_ascii_and_its_braces_close():
    for model, target, loss in (
        (MLP(2, [3, 2], "gelu", norm="batch", seed=0), [[0.1, 0.2], [0.3, 0.4]], "mse"),
        (MLP(2, [3, 2], "relu", seed=0), [0, 1], "cross_entropy"),
        (MLP(2, [3, 2], "softsign", "sigmoid", seed=0), [[0.1, 0.2], [0.3, 0.4]], "binary_cross_entropy"),
    ):
        text = worksheet(model, [[1.0, 2.0], [3.0, -1.0]], target, loss, lr=0.1).to_latex()
        assert text.isascii(), [c for c in text if not c.isascii()]
        assert text.count("{") == text.count("}")
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 6 + (model.layers[0].norm is not None)
        assert "w^{2}_{1,3}" in text


def test_labels_can_be_asked_for_as_people_write_them():
    sheet = worksheet(mazur(), [0.05, 0.10], [0.01, 0.99])
    assert "w²₁,₂" in sheet.to_text(notation="unicode")
    assert "w²₁,₂" in sheet._repr_markdown_()


def test_a_layer_alone_has_a_worksheet():
    assert worksheet(Layer(2, 1, "tanh", seed=0), [1.0, 2.0], 0.5)["delta_1"] != 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (([1.0], [0.0, 1.0]), ValueError, "takes 2 inputs, and the rows of x have 1"),
        (([1.0, 2.0], [0.0]), ValueError, r"must have the shape \(1, 2\)"),
        (([1.0, float("nan")], [0.0, 1.0]), ValueError, "row 0, column 1"),
        (([1.0, 2.0], [0.0, 1.0], "msee"), ValueError, "Did you mean `mse`"),
        (([1.0, 2.0], 1, "cross_entropy"), ValueError, "squashed twice"),
        (([1.0, 2.0], [0.0, 1.0], "mse", -1.0), ValueError, "lr must be above 0"),
        (([1.0, 2.0], [0.0, 1.0], lambda outputs, targets: outputs[0][0]), ValueError, "has the formulas of mse"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        worksheet(mazur(), *arguments)


def test_what_has_no_layers_is_refused():
    with pytest.raises(TypeError, match="A worksheet needs an MLP or a Layer"):
        worksheet(lambda x: x, [1.0], [1.0])


def test_a_slope_wrong_by_a_billionth_is_a_disagreement():
    wrong = replace(ACTIVATIONS["tanh"], derivative=lambda z, a: (1.0 - a * a) * (1.0 + 1e-9))
    with pytest.raises(Disagreement):
        worksheet(MLP(2, [2, 1], wrong, seed=0), [1.0, 2.0], 0.5)


def test_a_small_unit_is_compared_by_its_own_size():
    """The slope is wrong where Z is small, beside a unit whose numbers are ten million times as large."""

    def slope(z, a):
        return np.where(np.abs(z) < 1.0, 10.0, 1.0) * np.sign(z)

    model = net([1e7, 0.0, 0.5, 0.0, 1.0, 1.0, 0.0], 1, [2, 1], replace(ACTIVATIONS["abs"], derivative=slope))
    with pytest.raises(Disagreement, match=r"δ of layer 1|∂L/∂A"):
        worksheet(model, [1.0], 0.5)


@pytest.mark.parametrize("spoiled", ["new_W", "new_B", "through"])
def test_every_column_is_compared(spoiled):

    def spoil(*arguments):
        layers, value = derive(*arguments)
        where = layers[-1].softmax if spoiled == "through" else layers[-1]
        setattr(where, spoiled, getattr(where, spoiled) * (1.0 + 1e-9) + 1e-9)
        return layers, value

    with patch("nn.worksheet.derive", spoil), pytest.raises(Disagreement):
        worksheet(MLP(2, [3, 2], "tanh", seed=0), [1.0, 2.0], 1, "cross_entropy", lr=0.1)


def test_losses_of_ones_own_are_not_taken_for_those_of_the_same_name():
    def mse(outputs, targets):
        return (outputs[0] - targets[0]) ** 4

    for loss in (mse, partial(losses.mse, reduction="sum")):
        with pytest.raises(ValueError, match="as they stand, and of no other loss"):
            worksheet(MLP(2, [1], seed=0), [[1.0, 2.0]], [0.5], loss)
    batch = [[1.0, 2.0], [3.0, 4.0]]
    model = MLP(2, [2], seed=0)
    sheet = worksheet(model, batch, batch, losses.half_squared_error)
    assert sheet["L"] == pytest.approx(losses.half_squared_error(model.batch(batch), batch).data, rel=1e-15)


def test_what_leaves_the_floats_is_refused():
    model = MLP(2, [2], init=lambda n, m, g: np.array([[1000.0, 0.0], [0.0, -1000.0]]))
    with pytest.raises(ValueError, match="The probability of a right class is 0 in floats"):
        worksheet(model, [1.0, 1.0], 1, "cross_entropy")
    with pytest.raises(ValueError, match="The numbers of layer 1 leave the floats"):
        worksheet(MLP(2, [1], seed=0), [1e200, 1e200], 1e200, "mse")


def test_shared_weights_are_refused():
    model = MLP(2, [1], seed=0)
    model.layers[0].neurons[0].weights[1] = model.layers[0].neurons[0].weights[0]
    with pytest.raises(ValueError, match="one and the same Value"):
        worksheet(model, [1.0, 2.0], 0.5)


def test_numbers_in_latex_have_powers_of_ten():
    text = worksheet(MLP(1, [1], init=lambda n, m, g: np.array([[1e-9]]), seed=0), [1.0], 1e9).to_latex()
    assert r"$1 \cdot 10^{-9}$" in text
    assert r"\frac{1}{2}\cdot \sum  (t - A)^2" in text


def test_every_formula_of_latex_can_be_typeset():
    from matplotlib.mathtext import MathTextParser

    formulas = set()
    for name in ACTIVATIONS:
        model = MLP(2, [3, 1], name, init=lambda n, m, g: g.uniform(0.05, 0.2, (m, n)), seed=1)
        for neuron in model.layers[0].neurons:
            neuron.bias.data = CENTRES.get(name, 0.4)
        text = worksheet(model, [0.5, 0.7], 1.0, "mse", lr=0.1).to_latex()
        formulas |= set(re.findall(r"\\\[ (.*?) \\\]", text))
    assert len(formulas) > 60
    parser = MathTextParser("path")
    for formula in formulas:
        parser.parse(f"${formula}$")


PLACES = ["Z", "A", "dA", "delta", "dW", "new_W"]


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize("place", PLACES)
def test_a_planted_slip_is_found_at_any_depth(place, depth, norm):
    """In the first layer, which is the farthest from the loss: a factor of 2, −1, 0 and 1 + 1e−8."""
    generator = np.random.default_rng(0)
    model = MLP(3, [5] * depth + [2], "tanh", norm=norm, seed=0)
    X, y = generator.normal(size=(8, 3)), generator.integers(0, 2, 8)
    for factor in (2.0, -1.0, 0.0, 1.0 + 1e-8):

        def spoiled(*arguments, factor=factor):
            layers, value = derive(*arguments)
            setattr(layers[0], place, getattr(layers[0], place) * factor)
            return layers, value

        with patch("nn.worksheet.derive", spoiled), pytest.raises(Disagreement, match="of layer 1"):
            worksheet(model, X, y, "cross_entropy", lr=0.1)


@pytest.mark.parametrize("depth", [1, 4])
def test_statistics_taken_for_constants_are_a_disagreement(depth):
    """The classic slip in batch normalization: δ = γ/√(σ² + ε)·δ_N in training too."""
    generator = np.random.default_rng(0)
    model = MLP(3, [4] * depth + [1], "relu", norm="batch", seed=0)

    def slip(norm, delta_N):
        return delta_N * (norm.gamma / norm.spread)[:, None]

    with patch("nn.derivation.through_normalization", slip), pytest.raises(Disagreement):
        worksheet(model, generator.normal(size=(8, 3)), generator.normal(size=8), "mse")


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "exp"])
@pytest.mark.parametrize("depth", [20, 40])
def test_deep_nets_agree_where_rounding_grows(activation, depth):
    generator = np.random.default_rng(0)
    model = MLP(2, [4] * depth + [1], activation, norm="batch", seed=1)
    worksheet(model, generator.normal(size=(8, 2)), generator.normal(size=8), "mse")


def test_numbers_beneath_the_digits_of_floats_agree():
    far = net([735.0, 0.0], 1, [1])
    worksheet(far, [1.0], 1, "binary_cross_entropy_with_logits")
    tail = net([-38.3, 0.0, 1.0, 0.0], 1, [1, 1], "gelu")
    worksheet(tail, [1.0], 1.0, "mse")


def test_no_digit_is_cut_from_a_wide_table():
    sheet = worksheet(
        MLP(2, [2, 2], "tanh", norm="batch", seed=0), [[1.0, 2.0], [0.5, 0.1]], [1, 0], "cross_entropy", digits=15
    )
    text = sheet.to_text()
    assert "…" not in text
    assert f"{sheet['delta2_1_ex1']:.15g}".replace("-", "−") in text
    assert "unit 1, example 1" in text


def test_two_digits_in_an_index_are_kept_apart():
    assert "W_12,10" in worksheet(MLP(12, [10], seed=0), [1.0] * 12, [0.0] * 10).to_text()


def test_a_name_that_is_not_there_points_to_those_that_are():
    with pytest.raises(KeyError, match=r"no 'z2_9'\. Did you mean"):
        worksheet(mazur(), [0.05, 0.10], [0.01, 0.99])["z2_9"]


def test_a_net_that_was_changed_is_refused():
    model = mazur()
    model.layers[0].neurons[0].activation = ACTIVATIONS["tanh"]
    with pytest.raises(ValueError, match="differ in activation, weights or bias"):
        worksheet(model, [0.05, 0.10], [0.01, 0.99])
