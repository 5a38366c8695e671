"""The smallest repair of an answer that no known mistake gives."""

import pytest

from engine import build, compare


@pytest.fixture(scope="module")
def loss():
    return build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0)["L"]


@pytest.mark.parametrize(
    ("answer", "repair"),
    [
        ("(a - y)*a*(1 - x)*x", "With a in place of x it is right."),
        ("(a - z)*a*(1 - a)*x", "With y in place of z it is right."),
        ("(a + y)*a*(1 - a)*x", "With −y in place of y it is right."),
        ("(a - y)*a*(1 - a)*x*exp(w)", "With 1 in place of exp(w) it is right."),
        ("(a - y)*a*(1 - a)*x*5", "With 1 in place of 5 it is right."),
        ("(a - y)*a*(1 - a)*x/3", "With 1 in place of 3 it is right."),
        ("(a - y)*a*(2 - a)*x", "With 1 in place of 2 it is right."),
        ("(a - y)*a*(1 - a)*x*x", "With 1 in place of x it is right."),
        ("(a - y)*a*(1 - a)*x**2", "With x in place of x^2 it is right."),
        ("(a - y)*a*(1 - a)*(x + b)", "With 0 in place of b it is right."),
        ("(a - y)*a*(1 - a)*x + w", "With 0 in place of w it is right."),
    ],
)
def test_an_answer_of_no_known_mistake_is_told_its_smallest_repair(loss, answer, repair):
    row = compare(loss, {"w": answer})["w"]
    assert (row.verdict, row.mistakes) == ("wrong", ())
    assert row.message.splitlines()[1:] == [repair]


@pytest.mark.parametrize("answer", ["sin(w)*cos(b) + 3", "0.5", "w*b*y*exp(z) + x/7"])
def test_what_is_wrong_in_several_places_has_none(loss, answer):
    assert "it is right" not in compare(loss, {"w": answer})["w"].message
