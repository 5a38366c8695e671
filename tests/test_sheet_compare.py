"""A student's worksheet is judged cell by cell: one slip is one wrong cell, and its mistake is named."""

import copy
import pickle
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import MLP, Layer, worksheet
from nn.filled import entry_of
from nn.slips import SLIPS
from tests.sheets_generated import cases, flagged, tally
from tests.strategies import case
from tests.test_worksheet import mazur, net, nets

RATE = 0.5


@pytest.fixture(scope="module")
def sheet():
    return worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], lr=RATE)


def digits(matrix, count=6):
    """A matrix as a person writes it down."""
    if np.ndim(matrix) == 0:
        return f"{matrix:.{count}g}"
    return [digits(row, count) for row in matrix]


def whole(sheet, **changed):
    """Every matrix of a worksheet by its name, with some of them changed."""
    names = {
        "Z": "Z",
        "A": "A",
        "f_prime": "f'",
        "delta": "delta",
        "dW": "dL/dW",
        "dB": "dL/dB",
        "new_W": "new_W",
        "new_B": "new_B",
    }
    made = {
        f"{name}{place}": digits(getattr(layer, attribute))
        for place, layer in enumerate(sheet.layers, 1)
        for attribute, name in names.items()
        if getattr(layer, attribute) is not None
    }
    return made | {name: digits(matrix) for name, matrix in changed.items()}


def named(report):
    """The wrong cells with the likeliest key of each."""
    return {row.name: row.mistakes[0].key if row.mistakes else None for row in report.wrong}


# One slip is one wrong cell


def test_a_clean_rounded_sheet_is_right():
    found = tally(20, 0)
    assert found.share == 1.0, found.others[:1]


def test_one_planted_slip_is_one_wrong_cell():
    found = tally(20, 1)
    assert found.share == 1.0, [(case.slips, wrong) for case, wrong in found.others]


def test_two_planted_slips_are_two_wrong_cells():
    found = tally(20, 2)
    assert found.share >= 0.98, [(case.slips, wrong) for case, wrong in found.others]


def test_the_generated_sheets_are_the_same_in_every_run():
    assert [case.written for case in cases(3, 1)] == [case.written for case in cases(3, 1)]
    assert all(flagged(case) for case in cases(3, 1, seed=7))


def test_what_follows_from_a_slip_is_right_and_says_so(sheet):
    layers = sheet.layers
    delta1 = layers[0].delta * [[1.0], [2.0]]  # only the second unit went wrong
    dW1 = delta1 @ layers[0].A_in.T
    report = sheet.compare(
        whole(sheet, delta1=delta1, **{"dL/dW1": dW1, "dL/dB1": delta1[:, 0], "new_W1": layers[0].W - RATE * dW1,
                                       "new_B1": layers[0].B - RATE * delta1[:, 0]})
    )  # fmt: skip
    assert [row.name for row in report.wrong] == ["delta1_2"]
    follows = report["dL/dw1_2_1"]
    assert (follows.verdict, follows.mistakes[0].key, follows.mistakes[0].node) == ("right", "follow_through", "z1_2")
    assert follows.message == ("It follows rightly from your δ1[2], which is wrong: without that it is 0.000497713.")
    assert report["dL/dw1_1_1"].mistakes == ()
    assert report.credit == (len(report) - 1, len(report))


def test_early_rounding_is_excused_and_said(sheet):
    z, a = sheet["z2_1"], sheet["a2_1"]
    assert f"{a:.3f}" == "0.751"
    slope = f"{0.751 * (1 - 0.751):.6f}"
    report = sheet.compare({"z2_1": f"{z:.3f}", "a2_1": "0.751", "f'(z2_1)": slope})
    row = report["f'(z2_1)"]
    assert report.ok
    assert [mistake.key for mistake in row.mistakes] == ["early_rounding"]
    assert "without that it is 0.186816" in row.message


def test_a_slip_that_was_not_carried_on_is_one_wrong_cell_too(sheet):
    """A number copied wrong, while the right one was used: what comes after is right by itself."""
    assert named(sheet.compare(whole(sheet, Z1=[0.4775, 0.3925]))).keys() == {"z1_1"}


def test_numbers_too_rough_to_tell_are_undecided(sheet):
    report = sheet.compare({"delta2": ["0.1", "-0.04"], "delta1": ["0.0072", "0.0083"]})
    assert report["delta2_1"].verdict == "undecided"
    assert report["delta1_1"].verdict != "wrong"


def test_zeros_earn_nothing_and_name_nothing(sheet):
    """What follows from a wrong 0 by multiplication with 0 shows nothing."""
    for zero in (0.0, 0, "0", "0.0", "0.000"):
        assert sheet.compare(dict.fromkeys(sheet, zero)).credit == (0, 45)
        report = sheet.compare({"δ2": [zero, zero], "dL/dW2": [[zero, zero], [zero, zero]]})
        assert report.credit == (0, 6)
        assert {row.verdict for row in report.values()} == {"wrong"}
        assert not any(row.mistakes for row in report.values())


def test_a_zero_is_no_fault_where_the_sheet_has_no_more_decimals():
    model = net([0.5, -0.4, 0.3, 0.7, 0.2, 0.1, 1e-6, 0.6, 0.2], 2, [2, 1], "sigmoid", "sigmoid")
    sheet = worksheet(model, [0.3, -0.2], [0.7], lr=RATE)
    student = {name: f"{value:.4f}" for name, value in sheet.items() if name.startswith(("z", "a", "del", "dL"))}
    report = sheet.compare(student)
    zeros = [row for row in report.values() if row.answer in ("0.0000", "-0.0000")]
    assert zeros
    assert not report.wrong
    assert sheet.compare(student | {"delta2_1": "0.0000"})["delta2_1"].verdict == "wrong"


# What the mistakes are


def mazur_slips():
    """What a student writes by each mistake on Mazur's net, by formulas of its own, and where that shows first."""
    W1, W2 = np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([[0.40, 0.45], [0.50, 0.55]])
    b1, b2, x, t = (
        np.array([[0.35]] * 2),
        np.array([[0.60]] * 2),
        np.array([[0.05], [0.10]]),
        np.array([[0.01], [0.99]]),
    )

    def f(z):
        return 1.0 / (1.0 + np.exp(-z))

    z1 = W1 @ x + b1
    a1 = f(z1)
    z2 = W2 @ a1 + b2
    a2 = f(z2)
    s1, s2 = a1 * (1 - a1), a2 * (1 - a2)
    d2 = (a2 - t) * s2
    d1 = W2.T @ d2 * s1
    dW2, dW1 = d2 @ a1.T, d1 @ x.T
    new_W2 = W2 - RATE * dW2
    return {
        "bias left out": ({"Z1": W1 @ x}, "z1_1", "bias_missing"),
        "threshold": ({"Z1": W1 @ x - b1}, "z1_1", "threshold_sign"),
        "Wᵀ in Z": ({"Z2": W2.T @ a1 + b2}, "z2_1", "transposed_index"),
        "no activation": ({"A1": z1}, "a1_1", "activation_missing"),
        "tanh for σ": ({"A2": np.tanh(z2)}, "a2_1", "wrong_activation"),
        "f' at A": ({"f'1": f(a1) * (1 - f(a1))}, "f'(z1_1)", "derivative_at_a_not_z"),
        "rule at Z": ({"f'2": z2 * (1 - z2)}, "f'(z2_1)", "derivative_at_z_not_a"),
        "tanh' for σ'": ({"f'1": 1 - a1**2}, "f'(z1_1)", "wrong_activation_derivative"),
        "f for f'": ({"f'1": a1}, "f'(z1_1)", "wrong_activation_derivative"),
        "t − A": ({"delta2": -d2}, "delta2_1", "sign_flipped"),
        "factor 2": ({"delta2": 2 * d2}, "delta2_1", "factor_half_ignored"),
        "half": ({"delta2": d2 / 2}, "delta2_1", "factor_half_ignored"),
        "no f'": ({"delta2": a2 - t}, "delta2_1", "activation_derivative_missing"),
        "f' twice": ({"delta1": d1 * s1}, "delta1_1", "activation_derivative_twice"),
        "no f' hidden": ({"delta1": W2.T @ d2}, "delta1_1", "activation_derivative_missing"),
        "f'(A) in δ": ({"delta1": W2.T @ d2 * f(a1) * (1 - f(a1))}, "delta1_1", "derivative_at_a_not_z"),
        "tanh' in δ": ({"delta1": W2.T @ d2 * (1 - a1**2)}, "delta1_1", "wrong_activation_derivative"),
        "W for Wᵀ": ({"delta1": W2 @ d2 * s1}, "delta1_1", "transposed_index"),
        "no weight": ({"delta1": np.full((2, 1), d2.sum()) * s1}, "delta1_1", "weight_factor_missing"),
        "one path": ({"delta1": W2[:1].T * d2[0] * s1}, "delta1_1", "path_missing"),
        "paths multiplied": (
            {"delta1": W2[:1].T * d2[0] * W2[1:].T * d2[1] * s1},
            "delta1_1",
            "paths_multiplied_not_added",
        ),
        "new W in δ": ({"delta1": new_W2.T @ d2 * s1}, "delta1_1", "updated_weights"),
        "∂L/∂A passed back": ({"delta1": W2.T @ (a2 - t) * s1}, "delta1_1", "activation_derivative_missing"),
        "no input": ({"dL/dW2": np.repeat(d2, 2, 1)}, "dL/dw2_1_1", "input_factor_missing"),
        "weight for input": ({"dL/dW2": np.repeat(d2, 2, 1) * W2}, "dL/dw2_1_1", "weight_for_input"),
        "Z for A": ({"dL/dW2": d2 @ z1.T}, "dL/dw2_1_1", "derivative_at_z_not_a"),
        "own A": ({"dL/dW2": d2 @ a2.T}, "dL/dw2_1_1", "wrong_variable"),
        "sign of ∂L/∂W": ({"dL/dW2": -dW2}, "dL/dw2_1_1", "sign_flipped"),
        "∂L/∂A for δ": ({"dL/dW2": (a2 - t) @ a1.T}, "dL/dw2_1_1", "activation_derivative_missing"),
        "∂L/∂B from W": ({"dL/dB2": dW2[:, 0]}, "dL/db2_1", "bias_chain"),
        "∂L/∂B times B": ({"dL/dB2": (d2 * b2)[:, 0]}, "dL/db2_1", "bias_chain"),
        "∂L/∂B zero": ({"dL/dB2": [0.0, 0.0]}, "dL/db2_1", "bias_chain"),
        "threshold's ∂L/∂B": ({"dL/dB2": -d2[:, 0]}, "dL/db2_1", "threshold_sign"),
        "up the slope": ({"new_W2": W2 + RATE * dW2}, "new(w2_1_1)", "sign_flipped"),
        "no rate": ({"new_W2": W2 - dW2}, "new(w2_1_1)", "learning_rate_missing"),
        "the step alone": ({"new_W1": RATE * dW1}, "new(w1_1_1)", "stopped_early"),
        "not updated": ({"new_W1": W1, "new_B1": b1[:, 0]}, "new(w1_1_2)", "stopped_early"),
        "updated weights, from the new weights": (
            {"new_W1": W1 - RATE * (new_W2.T @ d2 * s1) @ x.T, "new_W2": new_W2},
            "new(w1_1_1)",
            "updated_weights",
        ),
    }


@pytest.mark.parametrize("mistake", mazur_slips())
def test_a_mistake_is_named_at_its_cell(mistake, sheet):
    changed, cell, key = mazur_slips()[mistake]
    alone = key == "updated_weights" and "new_W1" in changed
    student = {name: digits(matrix) for name, matrix in changed.items()} if alone else whole(sheet, **changed)
    report = sheet.compare(student)
    row = report[cell]
    assert row.verdict == "wrong"
    assert row.mistakes[0].key == key, row
    assert row.mistakes[0].text == row.message.splitlines()[0]


def batch(loss, output="sigmoid", examples=3, outputs=2):
    rng = np.random.default_rng(5)
    model = MLP(2, [3, outputs], "tanh", output, seed=3)
    X, T = rng.uniform(-1, 1, (examples, 2)), rng.uniform(0.1, 0.9, (examples, outputs))
    if loss == "cross_entropy":
        T = np.eye(outputs)[rng.integers(0, outputs, examples)]
    return worksheet(model, X, T, loss, lr=0.1)


def batch_slips():
    """The same for batches: the loss and the output, what a student writes of a sheet, its cell and its key."""
    bce, ce, mse = ("binary_cross_entropy", "sigmoid"), ("cross_entropy", "linear"), ("mse", "linear")

    def last(sheet):
        return sheet.layers[-1]

    def T(sheet):
        return np.array([[sheet[f"t{k}_ex{e}"] for e in (1, 2, 3)] for k in (1, 2)])

    return {
        "1/N forgotten": (mse, "delta2", lambda s: last(s).delta * 6, "delta2_1_ex1", "sum_for_mean"),
        "1/N twice": (mse, "delta2", lambda s: last(s).delta / 6, "delta2_1_ex1", "mean_twice"),
        "mean over examples": (mse, "delta2", lambda s: last(s).delta * 2, "delta2_1_ex1", "sum_for_mean"),
        "2 missing": (mse, "delta2", lambda s: last(s).delta / 2, "delta2_1_ex1", "factor_2_missing"),
        "one example": (
            mse,
            "dL/dW2",
            lambda s: last(s).delta[:, :1] @ last(s).A_in[:, :1].T,
            "dL/dw2_1_1",
            "one_example_only",
        ),
        "one example of B": (mse, "dL/dB2", lambda s: last(s).delta[:, 1], "dL/db2_1", "one_example_only"),
        "product of means": (
            mse,
            "dL/dW2",
            lambda s: last(s).delta.sum(1)[:, None] * last(s).A_in.mean(1),
            "dL/dw2_1_1",
            "product_of_means",
        ),
        "f' again": (
            bce,
            "delta2",
            lambda s: (last(s).A - T(s)) / 6 * last(s).f_prime,
            "delta2_1_ex1",
            "ce_double_derivative",
        ),
        "A − t for bce": (bce, "dL/dA2", lambda s: (last(s).A - T(s)) / 6, "dL/da2_1_ex1", "ce_treated_as_squared"),
        "one term": (bce, "dL/dA2", lambda s: -T(s) / last(s).A / 6, "dL/da2_1_ex1", "ce_one_term_only"),
        "log10": (bce, "dL/dA2", lambda s: last(s).dA / np.log(10), "dL/da2_1_ex1", "log10_for_ln"),
        "y − p": (ce, "delta2", lambda s: -last(s).delta, "delta2_1_ex1", "softmax_sign"),
        "softmax f' again": (
            ce,
            "delta2",
            lambda s: last(s).delta * last(s).softmax.p * (1 - last(s).softmax.p),
            "delta2_1_ex1",
            "ce_double_derivative",
        ),
        "−1 everywhere": (ce, "delta2", lambda s: (last(s).softmax.p - 1) / 3, None, "softmax_label_everywhere"),
        "p alone": (ce, "delta2", lambda s: last(s).softmax.p / 3, None, "path_missing"),
        "diagonal": (
            ce,
            "jacobian2",
            lambda s: last(s).softmax.dp * last(s).softmax.p * (1 - last(s).softmax.p),
            None,
            None,
        ),
        "sum for mean": (ce, "delta2", lambda s: last(s).delta * 3, "delta2_1_ex1", "sum_for_mean"),
    }


@pytest.mark.parametrize("mistake", batch_slips())
def test_a_mistake_over_a_batch_is_named(mistake):
    (loss, output), name, wrong, cell, key = batch_slips()[mistake]
    sheet = batch(loss, output)
    student = whole(sheet, **{name: wrong(sheet)})
    if "delta" in name:  # the gradients follow from it, and so it is no other convention
        for place, layer in enumerate(sheet.layers, 1):
            sign = -1.0 if np.allclose(wrong(sheet), -sheet.layers[-1].delta) else 1.0
            if sign < 0.0:
                student |= {
                    f"new_W{place}": digits(layer.W + 0.1 * layer.dW),
                    f"new_B{place}": digits(layer.B + 0.1 * layer.dB),
                }
                student |= {f"dL/dW{place}": digits(-layer.dW), f"dL/dB{place}": digits(-layer.dB)}
                student |= {"delta1": digits(-sheet.layers[0].delta)}
    report = sheet.compare(student)
    assert not report.ok
    keys = [mistake.key for row in report.wrong for mistake in row.mistakes]
    if key is not None:
        assert key in keys, report
    if cell is not None:
        assert key in [mistake.key for mistake in report[cell].mistakes], report[cell]


def test_a_change_that_leaves_the_number_as_it_is_names_nothing():
    """F′(A) for f′(Z) at a ReLU is no mistake, and a slip elsewhere is not called so."""
    model = MLP(2, [2, 1], "relu", "linear", seed=1)
    sheet = worksheet(model, [1.0, 0.5], [0.3], lr=0.1)
    report = sheet.compare({"delta1": digits(sheet.layers[0].delta + 0.1)})
    assert all(mistake.key != "derivative_at_a_not_z" for row in report.wrong for mistake in row.mistakes)


def test_what_no_known_mistake_gives_is_wrong_and_nothing_more(sheet):
    row = sheet.compare(whole(sheet, A1=[0.7177, 0.596884]))["a1_1"]
    assert (row.verdict, row.mistakes, row.message) == ("wrong", (), "")
    assert row.derivation == "A1[1] = σ(Z1[1]) = σ(0.3775) = 0.59327"


OF_THE_TAXONOMY = """
sign_flipped factor_2_missing factor_half_ignored activation_derivative_missing activation_derivative_twice
derivative_at_a_not_z derivative_at_z_not_a wrong_activation_derivative path_missing paths_multiplied_not_added
updated_weights transposed_index bias_chain input_factor_missing weight_for_input weight_factor_missing stopped_early
sum_for_mean mean_twice one_example_only product_of_means log10_for_ln softmax_diagonal_only softmax_sign
softmax_label_everywhere ce_double_derivative ce_treated_as_squared ce_one_term_only chain_inner_missing
abs_sign_missing wrong_variable threshold_sign
""".split()
OF_THE_FORWARD_PASS = """
bias_missing activation_missing wrong_activation normalization_missing learning_rate_missing value_for_gradient
""".split()


def test_the_slips_cover_the_mistakes_that_a_table_can_have():
    assert {slip.key for slip in SLIPS} == {*OF_THE_TAXONOMY, *OF_THE_FORWARD_PASS}
    assert not any(slip.text.endswith(".") for slip in SLIPS)  # it stands in a sentence


def test_the_line_is_shown_in_matrix_terms_with_the_students_numbers(sheet):
    report = sheet.compare({"delta2": ["0.138499", "-0.0380982"], "delta1": ["0.0133679", "0.00995425"]})
    assert report["δ1[1]"].derivation.splitlines() == [
        "∂L/∂A1[1] = Σ W2[k, 1]·δ2[k] = 0.4·0.138499 + 0.5·(−0.0380982) = 0.0363505",
        "δ1[1] = ∂L/∂A1[1]·f′(Z1[1]) = 0.0363505·0.241301 = 0.0087714",
    ]
    assert report["δ1[1]"].message == (
        "At unit 1 of layer 1, in ∂L/∂A1, only the path by unit 1 of layer 2 was taken, and all paths are added."
    )


def test_macleods_misprints_are_found_and_named():
    """The page passes δ back by the new weights, and cuts 0.592876 off after four places."""
    leaf = case("worked/macleod_2_2_1_updated_weights.json")["leaf"]
    numbers = [leaf["w3"], leaf["w4"], 0.0, leaf["w5"], leaf["w6"], 0.0, leaf["w1"], leaf["w2"], 0.0]
    model = net(numbers, 2, [2, 1], "sigmoid", "sigmoid")
    page = {
        "Z1": "0.755 0.68", "A1": "0.68 0.6637", "Z2": "0.80133", "A2": "0.69", "δ2": "-0.0406",
        "new(w2_1_1)": "0.272392", "new(w2_1_2)": "0.87305", "δ1": "-2.406e-3 -7.916e-3",
        "W1_new": [["0.09916", "0.7978"], ["0.3972", "0.5928"]],
    }  # fmt: skip
    report = worksheet(model, [leaf["A"], leaf["B"]], leaf["T"], lr=1.0).compare(page, convention="negative_gradient")
    assert named(report) == {
        "delta1_1": "updated_weights", "delta1_2": "updated_weights", "new(w1_2_2)": None,
    }  # fmt: skip
    assert report["δ1[1]"].derivation.splitlines()[0] == (
        "∂L/∂A1[1] = −(Σ W2[k, 1]·δ2[k]) = −(0.3·(−0.0406)) = 0.01218"
    )
    assert report["new(w1_2_2)"].message == "Only the last digit is off: to this many places it is 0.5929."
    assert report["z2_1"].mistakes[0].key == "early_rounding"


def test_right_numbers_of_too_few_digits_are_never_blamed(sheet):
    report = sheet.compare({name: f"{value:.2g}" for name, value in sheet.items()})
    assert {row.verdict for row in report.values()} == {"right", "undecided"}


# Conventions and layouts


def test_all_deltas_turned_are_another_convention(sheet):
    student = whole(sheet, delta1=-sheet.layers[0].delta, delta2=-sheet.layers[1].delta)
    report = sheet.compare(student)
    assert (report.convention, report.wrong, report.ok) == ("negative_gradient", (), False)
    assert {row.verdict for name, row in report.items() if name.startswith("delta")} == {"undecided"}
    assert "Every δ is −∂L/∂Z: another convention, and not an error." in str(report)
    assert sheet.compare(student, convention="negative_gradient").ok
    assert not sheet.compare(whole(sheet), convention="negative_gradient").ok


def test_a_sign_lost_at_the_output_is_no_convention_where_the_new_weights_follow_it(sheet):
    """The new weights go up the slope: that is a slip, and one wrong cell for each output."""
    layers = sheet.layers
    student = whole(sheet)
    for place, layer in enumerate(layers, 1):
        student[f"delta{place}"] = digits(-layer.delta)
        student[f"dL/dW{place}"], student[f"dL/dB{place}"] = digits(-layer.dW), digits(-layer.dB)
        student[f"new_W{place}"] = digits(layer.W + RATE * layer.dW)
        student[f"new_B{place}"] = digits(layer.B + RATE * layer.dB)
    assert named(sheet.compare(student)) == {"delta2_1": "sign_flipped", "delta2_2": "sign_flipped"}


def test_matrices_with_examples_as_rows_are_a_layout():
    sheet = batch("mse", "linear")
    student = {name: np.array(matrix).T.tolist() for name, matrix in whole(sheet).items()}
    report = sheet.compare(student)
    assert report.ok, report
    assert report.layout.startswith("transposed: Z1, A1, f′(Z1), Z2")
    assert sheet.compare(whole(sheet)).layout == "as given"


@pytest.mark.parametrize("seed", range(5))
def test_a_square_matrix_is_turned_only_where_that_fits_and_as_given_it_does_not(seed):
    rng = np.random.default_rng(seed)
    sheet = worksheet(
        net(rng.uniform(-1, 1, 12), 2, [2, 2], "tanh", "linear"), rng.normal(size=2), rng.normal(size=2), lr=0.1
    )
    dW2, new = sheet.layers[1].dW, sheet.layers[1].new_W
    assert sheet.compare({"dW2": digits(dW2.T), "W2_new": digits(new.T)}).layout == "transposed: ∂L/∂W2, new W2"
    report = sheet.compare({"dW2": digits(dW2), "W2_new": digits(new * [[1.0, 1.0], [1.0, 1.5]])})
    assert (report.layout, named(report).keys()) == ("as given", {"new(w2_2_2)"})


# What can be handed in


def test_a_dict_may_have_the_names_that_people_write(sheet):
    layers = sheet.layers
    for name, matrix in {
        "delta1": layers[0].delta,
        "δ1": layers[0].delta,
        "δ¹": layers[0].delta,
        "Delta_1": layers[0].delta,
        "dL/dZ1": layers[0].delta,
        "∂E/∂z₁": layers[0].delta,
        "delta of layer 1": layers[0].delta,
        "δ^(1)": layers[0].delta,
        "dZ^[1]": layers[0].delta,
        "dL/dW2": layers[1].dW,
        "∂L/∂W2": layers[1].dW,
        "dW2": layers[1].dW,
        "gradient of W2": layers[1].dW,
        "dJ/dW^{(2)}": layers[1].dW,
        "W2_new": layers[1].new_W,
        "new_W2": layers[1].new_W,
        "new W2": layers[1].new_W,
        "new(W2)": layers[1].new_W,
        "f'(Z1)": layers[0].f_prime,
        "f′1": layers[0].f_prime,
        "f_prime1": layers[0].f_prime,
        "σ'(z1)": layers[0].f_prime,
        "dL/db2": layers[1].dB,
        "B2_new": layers[1].new_B,
        "net1": layers[0].Z,
        "A2": layers[1].A,
        "δ1[2]": layers[0].delta[1],
        "W2_new[1, 2]": layers[1].new_W[0, 1],
        "dL/dw2_1_2": layers[1].dW[0, 1],
        "L": sheet.loss,
        "∂E/∂w²₁,₂": layers[1].dW[0, 1],
        "new(w2_1_2)": layers[1].new_W[0, 1],
        "dL/dz2_1": layers[1].delta[0],
    }.items():
        report = sheet.compare({name: digits(np.squeeze(matrix))})
        assert report.ok, (name, report)
        assert len(report) == np.size(matrix), name


@pytest.mark.parametrize(
    "given",
    [
        [["0.138499"], ["-0.0380982"]],
        [0.138499, -0.0380982],
        np.array([[0.138498562, -0.0380982365]]),
        "0.138499 −0.0380982",
        "[0.138499, -0.0380982]",
        (0.138499, "−3.80982e-2"),
        ["1.38499·10^-1", "-0,0380982"],
        np.array([0.1385, -0.0381], dtype=np.float32),
    ],
)
def test_numbers_come_as_lists_arrays_and_text(given, sheet):
    assert sheet.compare({"δ2": given}).ok


def test_layers_may_be_mappings(sheet):
    assert sheet.compare(
        {"layer 2": {"delta": digits(sheet.layers[1].delta)}, 1: {"Z": digits(sheet.layers[0].Z)}}
    ).credit == (4, 4)


def test_another_worksheet_and_the_worksheets_own_numbers_are_right(sheet):
    assert sheet.compare(sheet).ok
    assert sheet.compare(dict(sheet)).credit == (45, 45)


def test_what_cannot_be_read_is_told_with_row_and_column_and_is_one_invalid_cell(sheet):
    report = sheet.compare({"dL/dW2": [["0.082167", "0.08x"], ["-0.0226025", None]], "delta2": [0.138499, -0.0380982]})
    assert report["dL/dw2_1_2"].verdict == "invalid"
    assert (
        report["dL/dw2_1_2"].message
        == "dL/dW2, row 1, column 2: “0.08x” is no number: write it as 0.25, 3/8 or 1.2e-3."
    )
    assert report.unanswered == ("dL/dw2_2_2",)
    assert {row.verdict for name, row in report.items() if name not in ("dL/dw2_1_2", "dL/dw2_2_2")} == {"right"}
    assert report.credit == (4, 6)


def test_an_unknown_name_a_wrong_shape_and_a_missing_layer_are_told(sheet):
    report = sheet.compare({"Q2": [1], "Z1": [1, 2, 3], "delta": [1, 2], "δ3": [1], 7: 2, "delta2": ["0.138499", ""]})
    assert {name: row.verdict for name, row in report.items()} == {
        "delta2_1": "right",
        "delta2_2": "undecided",
        "Z1": "invalid",
        "Q2": "invalid",
        "delta": "invalid",
        "δ3": "invalid",
        "7": "invalid",
    }
    assert report["Z1"].message == "Z1 has 2 numbers here, and yours is 3 × 1."
    assert "which layer" in report["delta"].message
    assert "there is δ1, δ2" in report["δ3"].message
    with pytest.raises(KeyError, match="no cell is called 'z9_9'"):
        report["z9_9"]


@pytest.mark.parametrize("bad", [{}, "", "nothing here", "a,b\nc,d\n"])
def test_a_sheet_without_a_number_is_refused(bad, sheet):
    if bad == "a,b\nc,d\n":
        assert not sheet.compare(bad).ok
    else:
        with pytest.raises(ValueError, match="No number of the worksheet was found"):
            sheet.compare(bad)


def test_options_and_types_are_checked(sheet, tmp_path):
    with pytest.raises(TypeError, match="A student's sheet is a dict"):
        sheet.compare(3.0)
    with pytest.raises(ValueError, match="convention"):
        sheet.compare({"Z1": 1}, convention="other")
    with pytest.raises(ValueError, match="at least 1"):
        sheet.compare({"Z1": 1}, digits=0)
    with pytest.raises(FileNotFoundError):
        sheet.compare(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="LaTeX is for printing"):
        sheet.compare(sheet.to_latex())


def filled_in(blank, numbers, rng=None):
    """A blank with numbers in place of its ______, in order, and an editor's spaces around them."""
    queue = iter(numbers)

    def number(found):
        text = next(queue)
        if rng is None:
            return text
        return rng.choice([text, f"_{text}_", f"{text}__", f"__{text}", text.ljust(6), f" {text}"])

    return re.sub("______", number, blank)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_blank_comes_back_as_it_was_filled_in(data):
    model, X, y, loss = data.draw(nets())
    sheet = worksheet(model, X, y, loss, lr=0.1)
    answers = [cell for one in sheet._sheets for _, cells in one.rows for cell in cells if not cell.given]
    numbers = [f"{cell.value:.9g}".replace("-", data.draw(st.sampled_from("-−"))) for cell in answers]
    notation = data.draw(st.sampled_from(["plain", "unicode"]))
    rng = random.Random(data.draw(st.integers(0, 99)))
    for blank in (sheet.to_text(blank=True, notation=notation), sheet.to_markdown(blank=True, notation=notation)):
        for text in (filled_in(blank, numbers, rng), filled_in(blank, numbers).replace("\n", "  \r\n")):
            report = sheet.compare(text)
            assert {cell.name for cell in answers} <= {*report}
            assert all(row.answer and row.verdict == "right" for row in report.values()), report
    lines = sheet.to_csv(blank=True).splitlines()
    queue = iter(numbers)
    csv = "\n".join(line + next(queue) if line.endswith(",") else line for line in lines)
    assert sheet.compare(csv).ok
    assert sheet.compare(csv.replace(",", ";").replace('"Layer;', '"Layer,').replace(".", ",")).ok


def test_cells_left_blank_are_not_answered(sheet):
    numbers = ["0.3775", *["______"] * 8, "?", *["______"] * 100]
    for blank in (sheet.to_text(blank=True), sheet.to_markdown(blank=True), sheet.to_csv(blank=True)):
        text = filled_in(blank, numbers) if "______" in blank else blank.replace("z1_1,", "z1_1,0.3775")
        report = sheet.compare(text)
        assert report.credit == (1, 45)
        assert len(report.unanswered) == 44
        assert report["a1_1"].message == "Not answered."


def test_a_row_with_too_few_numbers_is_read_by_its_places_or_told(sheet):
    blank = sheet.to_text(blank=True).splitlines()
    row = next(place for place, line in enumerate(blank) if line.startswith(" unit 1"))
    third = [line.replace("______", "      ") for line in blank]
    third[row] = blank[row].replace("______", "      ", 2).replace("______", "0.2413", 1).replace("______", "      ")
    report = sheet.compare("\n".join(third))
    assert report["f'(z1_1)"].verdict == "right"
    third[row] = " unit 1 0.2413 0.3"
    report = sheet.compare("\n".join(third))
    assert {report[name].verdict for name in ("z1_1", "a1_1", "f'(z1_1)")} == {"invalid"}
    assert report["z1_1"].message.endswith("can't be told apart into 5 columns: put ______ for what is left blank.")


@pytest.mark.parametrize(
    ("damage", "by", "lost"),
    [
        ("Layer 1$", "Hidden layer", ["z1_1", "delta1_2"]),
        ("Layer 1, parameters$", "Hidden layer, parameters", ["dL/dw1_1_1", "new(b1_2)"]),
        ("^Layer", "Schicht", ["z1_1", "new(b2_2)"]),
        ("^(Layer|Loss|Inputs)", "My", ["z1_1", "L"]),
        ("^ +Z +A .*$", "", ["z1_1", "delta2_2"]),
    ],
)
def test_rows_that_cannot_be_placed_are_told_by_line_and_count_as_unreadable(damage, by, lost, sheet):
    """The title of a table was changed, or the titles of its columns lost."""
    text = re.sub(damage, by, sheet.to_text(), flags=re.MULTILINE)
    report = sheet.compare(text)
    assert not {*lost} & {*report}
    told = [int(name.split()[1]) for name, row in report.items() if row.verdict == "invalid"]
    lines = text.splitlines()
    assert told
    assert all(re.match(r" (unit|[wbxtL])", lines[line - 1]) for line in told)
    assert "Keep the title of each table" in report[f"line {told[0]}"].message
    earned, possible = report.credit
    assert possible == earned + len(told)
    with pytest.raises(AssertionError):
        report.raise_if_wrong()


def test_a_row_that_was_deleted_is_not_answered(sheet):
    report = sheet.compare(re.sub("^ unit 2.*\n", "", sheet.to_text(), count=1, flags=re.MULTILINE))
    assert report.credit == (40, 45)
    assert report.unanswered == ("z1_2", "a1_2", "f'(z1_2)", "dL/da1_2", "delta1_2")
    assert sheet.compare({"delta1_1": sheet["delta1_1"]}).credit == (1, 1)  # a dict asks for cells by name


@pytest.mark.parametrize("written", ["0.59327 (rounded)", "0.59 327", "~0.59 or so"])
def test_a_remark_makes_one_cell_invalid_and_not_its_line(written, sheet):
    report = sheet.compare(sheet.to_text().replace("0.59327", written))
    assert [name for name, row in report.items() if row.verdict != "right"] == ["a1_1"]
    assert report["a1_1"].verdict == "invalid"


def test_a_cell_that_is_given_twice_with_different_numbers_is_told(sheet):
    pair = ["0.138499", "-0.0380982"]
    for student in (
        {"δ2": pair, "delta2_1": "0.2"},
        {"delta2_1": "0.2", "δ2": pair},
        {"δ2": pair, "delta2": ["0.2", "-0.0380982"]},
        "name,value\ndelta2_1,0.138499\ndelta2_2,-0.0380982\ndelta2_1,0.2\n",
        "matrix;unit 1;unit 2\nδ2;0,138499;-0,0380982\nδ2;0,2;-0,0380982\n",
    ):
        report = sheet.compare(student)
        assert (report["delta2_1"].verdict, report["delta2_2"].verdict) == ("invalid", "right")
        assert "is given twice, as 0" in report["delta2_1"].message
    assert sheet.compare({"δ2": pair, "delta2_1": "0.1384990"}).ok
    assert "not in one shape" in str(sheet.compare({"δ2": pair, "delta2": ["0.138499"]}))


def test_csv_by_hand_has_matrices_a_row_each(sheet, tmp_path):
    text = "matrix;unit 1;unit 2\nδ1;0,00877135;0,00995425\ndL/dW2;0,082167;0,0826676\n;-0,0226025;-0,0227402\n"
    report = sheet.compare(text)
    assert report.ok, report
    assert len(report) == 6
    path = tmp_path / "student.csv"
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert sheet.compare(path).ok
    assert sheet.compare(str(path)).ok


def test_a_decimal_comma_where_commas_separate_is_one_invalid_cell(sheet):
    report = sheet.compare("name,value\ndelta2_1,0,138499\ndelta2_2,-0.0380982\n")
    assert (report["delta2_1"].verdict, report["delta2_2"].verdict) == ("invalid", "right")
    assert "separate columns by `;`" in report["delta2_1"].message
    assert sheet.compare('name,value\ndelta2_1,"0,138499"\ndelta2_2,"-0,0380982"\n').ok


def test_markdown_by_hand_has_the_columns_that_it_has(sheet):
    text = """# Layer 2
| unit | A | f'(Z) | delta |
|:--|--:|--:|--:|
| 1 | **0.751365** | 0.186816 | 0.138499 |
| 2 | 0.772928 |  | -0.0380982 |

| name | value |
|---|---|
| new(w2_1_1) | 0.358916 |
"""
    report = sheet.compare(text)
    assert report.unanswered == ("f'(z2_2)", "new(w2_1_2)", "new(w2_2_1)", "new(w2_2_2)")
    assert report.credit == (6, 10)


def test_markdown_without_its_outer_pipes_is_aligned_by_its_titles(sheet):
    text = re.sub(r"^\|(.*)\|$", r"\1", sheet.to_markdown(), flags=re.MULTILINE)
    assert text.splitlines() != sheet.to_markdown().splitlines()
    assert sheet.compare(text).credit == (45, 45)
    report = sheet.compare("# Layer 2\nunit | A\n---|---\n1 | 0.751365 | 0.186816\n2 | 0.772928\n")
    assert report["line 4"].message == "line 4: it has 3 columns, and their titles in line 2 are 2."
    assert report["a2_2"].verdict == "right"


def test_csv_may_say_its_separator_and_have_lost_its_first_line(sheet):
    pair = "delta2_1;0,138499\ndelta2_2;-0,0380982\n"
    for before in ("sep=;\nname;value\n", '"sep=;"\n', "name;value\n", ""):
        assert sheet.compare(before + pair).credit == (2, 2), before
    assert sheet.compare(sheet.to_csv().split("\n", 1)[1]).credit == (45, 45)


def test_a_file_that_is_no_text_and_a_folder_are_refused_with_advice(sheet, tmp_path):
    path = tmp_path / "student.csv"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"student\.csv is not UTF-8 text: it has the byte 0xff\. Save it as CSV"):
        sheet.compare(path)
    with pytest.raises(IsADirectoryError, match="is a folder: give the path of one student's file"):
        sheet.compare(tmp_path)
    path.write_bytes(b"a" * 5_000_000)
    with pytest.raises(ValueError, match="that is no worksheet"):
        sheet.compare(str(path))


def test_hostile_text_is_data(sheet):
    for text in (
        "__import__('os')",
        "9" * 5000,
        "1e999999999",
        "\u202e0.1",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "1e-99999999999999999999",
    ):
        row = sheet.compare({"z1_1": text, "L": "0.298371"})["z1_1"]
        assert row.verdict in ("invalid", "wrong", "undecided"), row
        assert str(row.message).isprintable()
    with pytest.raises(ValueError, match="characters"):
        sheet.compare("a\n" * 600_000)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_sheet_is_judged_or_refused_with_a_reason(data):
    sheet = worksheet(mazur(), [0.05, 0.10], [0.01, 0.99], lr=RATE)
    text = list(data.draw(st.sampled_from([sheet.to_text(), sheet.to_markdown(), sheet.to_csv()])))
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from([*"|,;\n -e._/?∂\"'[](", "", "\x00", "9" * 40, "1e-400"]))
    try:
        said = str(sheet.compare("".join(text)))
    except ValueError as error:
        said = str(error)
    assert said.startswith(("Worksheet of MLP", "No number of the worksheet", "This CSV can't be read"))


# How it is told


def test_the_report_shows_the_first_wrong_cell_first_and_marks_the_tables(sheet):
    report = sheet.compare(whole(sheet, delta1=[0.0133679, 0.00995425]) | {"a2_1": "0.75136500"})
    text = str(report)
    assert text.index("delta1_1 is the first wrong number: yours is 0.0133679") < text.index("\nLayer 1\n")
    assert "0.0133679 ✗" in text
    assert repr(report) == text
    with pytest.raises(AssertionError, match="not every cell is right") as raised:
        report.raise_if_wrong()
    assert text in str(raised.value)
    sheet.compare(whole(sheet)).raise_if_wrong()


def test_it_pickles_copies_and_says_the_same_each_time(sheet):
    student = whole(sheet, delta1=[0.0133679, 0.00995425])
    report = sheet.compare(student)
    assert str(pickle.loads(pickle.dumps(report))) == str(copy.deepcopy(report)) == str(sheet.compare(student))
    assert pickle.loads(pickle.dumps(sheet)).compare(student)["δ1[1]"] == report["δ1[1]"]


def test_a_single_layer_has_no_number():
    layer = Layer(2, 2, "tanh", seed=0)
    sheet = worksheet(layer, [1.0, 2.0], [0.0, 1.0], lr=0.1)
    report = sheet.compare({"δ": ["0.9", ""], "W_new": digits(sheet.layers[0].new_W), "δ[2]": sheet["delta_2"]})
    assert named(report).keys() == {"delta_1"}
    assert sheet.compare(sheet.to_csv()).ok


def test_a_number_that_was_given_and_copied_wrong_is_worked_on(sheet):
    z = 0.26 * 0.05 + 0.2 * 0.1 + 0.35
    report = sheet.compare({"w1_1_1": "0.26", "z1_1": f"{z:.6g}"})
    assert (report["w1_1_1"].verdict, report["w1_1_1"].message) == ("wrong", "This number is given: it is 0.15.")
    assert report["z1_1"].mistakes[0].key == "follow_through"
    assert report.credit == (1, 1)


def test_normalized_layers_are_followed_too():
    rng = np.random.default_rng(0)
    sheet = worksheet(
        MLP(2, [2, 1], "sigmoid", "linear", norm="batch", seed=0), rng.normal(size=(4, 2)), rng.normal(size=4), lr=0.1
    )
    assert sheet.compare({name: f"{value:.5g}" for name, value in sheet.items()}).ok
    norm, layer = sheet.layers[0].norm, sheet.layers[0]
    constant = norm.delta_N * (norm.gamma / norm.spread)[:, None]
    report = sheet.compare({"delta1": digits(constant)})
    assert {mistake.key for row in report.wrong for mistake in row.mistakes} >= {"path_missing"}
    assert (
        report["delta1_1_ex1"].mistakes[0].text.endswith("μ and σ² were taken for constants, and they depend on Z too.")
    )
    assert layer.delta.shape == constant.shape


@settings(max_examples=30, deadline=None)
@given(nets())
def test_every_worksheet_finds_all_its_cells_and_is_right(drawn):
    model, X, y, loss = drawn
    sheet = worksheet(model, X, y, loss, lr=0.1)
    assert {*sheet._chapter.matrices.labels} == {*sheet}
    assert all(
        sheet._chapter.matrices.right[cell.matrix][cell.at] == sheet[name]
        for name, cell in sheet._chapter.matrices.labels.items()
    )
    assert sheet.compare(sheet).ok


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("≈ 0.138499", "0.138499"),
        ("0.138499 V", "0.138499"),
        ("0.138499.", "0.138499"),
        ("1.2·10^-3", "1.2e-3"),
        ("−1.2·10⁻³", "-1.2e-3"),
    ],
)
def test_a_cell_reads_a_number_as_an_answer_does(typed, text):
    assert entry_of(typed).text == text


@pytest.mark.parametrize("typed", ["idk", "no idea", "?", ""])
def test_a_cell_in_which_nothing_is_answered_is_blank(typed):
    assert entry_of(typed) is None


@pytest.mark.parametrize("typed", ["0.5²", "5²", "0.5⁻¹"])
def test_a_power_in_a_cell_is_not_read_as_more_digits(typed):
    entry = entry_of(typed)
    assert (entry.text, entry.problem) == ("", f"“{typed}” is no number: write it as 0.25, 3/8 or 1.2e-3.")
