"""`print(replay)` of graphs that are no plain nets: what is printed is true of them, read line by line."""

import pytest

from engine import Replay, Value, dot, exp, mean, softmax, total


def leaves(name, numbers):
    return [Value(number, f"{name}{i}") for i, number in enumerate(numbers)]


def printed(loss, inputs, parameters=None):
    loss.label = loss.label or "L"
    forward, _, backward = str(Replay(loss, inputs, parameters)).partition("\n\nbackward")
    return [
        " ".join(line.split()) for part in (forward, backward) for line in part.splitlines()[1:] if line[:2] == "  "
    ]


@pytest.fixture
def hidden():
    """Three inputs, and three tanh units on them."""
    xs, ws = leaves("x", [0.5, -0.3, 0.8]), leaves("w", [0.1 * i - 0.2 for i in range(9)])
    return xs, [dot(ws[3 * i : 3 * i + 3], xs).tanh() for i in range(3)]


NET = ["X = (x0, x1, x2)", "Z1 = W1 @ X (3×3 · 3×n)", "A1 = tanh(Z1)"]
ITS_GRADIENTS = ["∂L/∂W1 = δ1 @ Xᵀ (3×n · n×3)"]


def test_operands_in_another_order_are_listed_so(hidden):
    xs, h = hidden
    assert printed(total([h[i] * h[(i + 1) % 3] for i in range(3)]), xs) == [
        *NET,
        "L = Σ A1·A1[1, 2, 0]",
        "∂L/∂A1 += A1[1, 2, 0]",
        "∂L/∂A1[1, 2, 0] += A1",
        "δ1 = ∂L/∂A1·tanh′(Z1)",
        *ITS_GRADIENTS,
    ]
    assert printed(total([(h[i] - h[(i + 1) % 3]) ** 2 for i in range(3)]), xs) == [
        *NET,
        "V1 = A1 − A1[1, 2, 0]",
        "V2 = V1²",
        "L = Σ V2",
        "∂L/∂A1 += 2·V1",
        "∂L/∂A1[1, 2, 0] += −2·V1",
        "δ1 = ∂L/∂A1·tanh′(Z1)",
        *ITS_GRADIENTS,
    ]


def test_the_order_of_a_sum_is_free(hidden):
    xs, h = hidden
    assert "L = Σ A1" in printed(total([h[2], h[0], h[1]]), xs)
    assert "L = Σ A1·A1[1, 2, 0]" in printed(dot([h[2], h[0], h[1]], [h[0], h[1], h[2]]), xs)


def test_weights_that_are_computed_pass_on_what_they_receive():
    (x1, x2), (s1, s2) = leaves("x", [0.5, -0.3]), leaves("s", [0.1, 0.2])
    assert printed((exp(s1) * x1 + exp(s2) * x2) ** 2, [x1, x2]) == [
        "P = all 2 parameters",
        "X = (x0, x1)",
        "V1 = exp(P)",
        "W1 = V1 (1×2)",
        "Z1 = W1 @ X (1×2 · 2×n)",
        "L = Z1²",
        "δ1 = 2·Z1",
        "∂L/∂W1 = δ1 @ Xᵀ (1×n · n×2)",
        "∂L/∂P += ∂L/∂W1·exp′(P)",
    ]


def test_weights_that_are_used_again_are_one_matrix_whose_gradients_add():
    xs, (r, u) = leaves("x", [0.5, -0.3, 0.8]), (Value(0.3, "r"), Value(0.2, "u"))
    h = (r * xs[0]).tanh()
    for x in xs[1:]:
        h = (r * x + u * h).tanh()
    assert printed(h * h, xs) == [
        "P = all 2 parameters",
        "v1 = r·x0",
        "v2 = tanh(v1)",
        "W1 = P (1×2)",
        "Z1 = W1 @ (x1, v2) (1×2 · 2×n)",
        "A1 = tanh(Z1)",
        "Z2 = W1 @ (x2, A1) (1×2 · 2×n)",
        "A2 = tanh(Z2)",
        "L = A2·A2",
        "δ2 = 2·A2·tanh′(Z2)",
        "∂L/∂W1 = δ2 @ (x2, A1)ᵀ (1×n · n×2)",
        "∂L/∂(x2, A1) += W1ᵀ @ δ2",
        "δ1 = ∂L/∂A1·tanh′(Z1)",
        "∂L/∂W1 += δ1 @ (x1, v2)ᵀ (1×n · n×2)",
        "∂L/∂(x1, v2) += W1ᵀ @ δ1",
        "∂L/∂r += Σ ∂L/∂v2·tanh′(v1)·x0",
    ]


def test_windows_and_repeats_are_listed_as_they_are_multiplied(hidden):
    xs, ws = hidden[0], leaves("k", [0.1, 0.2, 0.3])
    lines = printed(total([dot(ws[:2], xs[i : i + 2], ws[2]).tanh() for i in range(2)]), xs)
    assert lines[:2] == ["X = (x0, x1, x1, x2)", "Z1 = W1 @ X + b1 (1×2 · 2×2n)"]
    lines = printed(dot(ws, [xs[0], xs[0], xs[1]]).tanh(), xs[:2])
    assert lines[:2] == ["X = (x0, x0, x1)", "Z1 = W1 @ X (1×3 · 3×n)"]


def test_what_mixes_all_numbers_is_no_factor_of_each(hidden):
    xs, h = hidden
    lines = printed(total([share * 0.5 for share in softmax(h)]), xs)
    assert any("(∂V1/∂A1[…])ᵀ @" in line for line in lines)
    assert not any("softmax′" in line for line in lines)


def test_means_of_several_lengths_divide_by_theirs(hidden):
    xs, h = hidden
    lines = printed(mean([mean(h[:2]), mean(h)]), xs)
    assert "V1 = mean A1[0, 1, 0, 1, 2] (2 sums of 2 to 3)" in lines
    assert "∂L/∂A1[0, 1, 0, 1, 2] += 1/2/(2, 2, 3, 3, 3)" in lines


def test_terms_that_come_twice_are_counted():
    x, w = Value(0.5, "x"), Value(0.3, "w")
    a = (w * x).tanh()
    assert "L = 3·v2" in printed(total([a, a, a]), [x])
    assert "∂L/∂w += Σ 3·tanh′(v1)·x" in printed(total([a, a, a]), [x])


def test_names_of_the_program_leave_those_of_a_person_alone():
    x, z, w = Value(0.5, "n"), Value(0.2, "Z1"), Value(0.3, "w")
    loss = (dot([w, w], [x, z]).tanh() * z) ** 2
    text = str(Replay(loss, [x, z]))
    assert "for n′ examples" in text
    assert "Z1′ = W1 @ X" in text
    assert "v1 = A1·Z1" in text


def test_leaves_without_a_label_have_numbers():
    x, w = Value(0.5), Value(0.3)
    lines = printed((w * x).tanh() * w, [x], [w])
    assert lines[0] == "v1 = P[0]·x[0]"
    assert not any("?" in line for line in lines)


def test_the_loss_has_its_own_name_in_the_heading():
    x, w = Value(0.5, "x"), Value(0.3, "w")
    loss = dot([w, w], [x, x]).tanh()
    loss.label = "E"
    assert "backward, with δ = ∂E/∂Z" in str(Replay(loss, [x]))


def test_a_constant_bias_has_no_gradient():
    xs, ws = leaves("x", [0.5, 0.2]), leaves("w", [0.1, 0.2])
    assert not any("∂L/∂b1" in line for line in printed(dot(ws, xs, 1.0).tanh(), xs))


def test_long_programs_and_lines_are_cut():
    x, w = Value(0.5, "x"), Value(0.9, "w")
    y = x * w
    for _ in range(3000):
        y = (y * w).tanh()
    lines = str(Replay(y, [x])).splitlines()
    assert len(lines) < 130
    assert max(map(len, lines)) < 200


def test_a_bias_that_is_computed_is_told_and_passes_on(hidden):
    xs, (a, b) = hidden[0], leaves("p", [0.5, 0.2])
    lines = printed(dot(leaves("k", [0.1, 0.2]), xs[:2], a * b).tanh(), xs[:2])
    assert "b1 = v1" in lines
    assert "∂L/∂b1 = Σ δ1" in lines
    assert "∂L/∂p0 += ∂L/∂b1·p1" in lines


def test_matrices_that_share_weights_say_what_they_hold():
    xs, (u0, u1, r) = leaves("x", [0.5, -0.3]), leaves("u", [0.3, 0.2, 0.4])
    h = dot([u0, u1], xs).tanh()
    lines = printed(dot([u0, u1, r], [*xs, h]).tanh(), xs)
    assert "W1 = (u0, u1) (1×2)" in lines
    assert any(line.startswith("W2 = ") for line in lines)
    assert any(line.startswith("∂L/∂W1 += ") for line in lines)
