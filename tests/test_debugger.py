"""The REPL, command by command, as a script does them."""

import io
import json

import pytest

from engine import Backprop, Value, build
from engine.debugger import Debugger
from engine.graph import nodes
from tests.strategies import worked


@pytest.fixture
def session():
    """Run commands on Mazur's example; returns what they print, the walk, and whether one failed."""

    def session(*commands):
        output = io.StringIO()
        debugger = Debugger(Backprop(worked("mazur_2_2_2")["E"]), commands=commands, stdout=output)
        debugger.cmdloop()
        return output.getvalue(), debugger.walk, debugger.failed

    return session


def test_n_and_s_step_and_a_blank_line_repeats(session):
    out, walk, failed = session("n", "", "s", "s 2")
    assert [line for line in out.splitlines() if line.startswith("step ")][-1].startswith("step 7 of 15")
    assert (walk.position, failed) == (7, False)


def test_n_and_s_part_what_they_show_and_end_where_the_walk_ends(session):
    out, _, _ = session("goto 12", "s 2", "n 5")
    assert out.count("\n\nstep 14 of 15") == 1
    assert out.endswith(
        "  ∂E/∂b1      += 0.00995425 × 1 = 0.00995425  (0.00877135 before, 0.0187256 now)\n"
        "Backprop of E, at its end: all 15 steps are done\n"
    )
    assert session("goto 15", "n", "s")[0].splitlines()[1:] == ["Backprop of E, at its end: all 15 steps are done"] * 2


def test_a_stop_is_reached_and_taken_away(session):
    out, walk, _ = session("b out_h1", "b w5", "b", "c", "c", "b w5", "b out_h1", "c", "b")
    assert out == (
        "stops at out_h1, after step 11\n"
        "stops at w5, after step 6\n"
        "     stops       when\n"
        " ─────────────────────────────\n"
        " 1   at out_h1   after step 11\n"
        " 2   at w5       after step 6\n"
        "Backprop of E, at step 6 of 15; next is E_o2, with ∂E/∂E_o2 = 1\n"
        "stopped at w5: ∂E/∂w5 = 0.082167, complete\n"
        "Backprop of E, at step 11 of 15; next is out_h1, with ∂E/∂out_h1 = 0.0363503\n"
        "stopped at out_h1: ∂E/∂out_h1 = 0.0363503, complete\n"
        "no longer stops at w5\n"
        "no longer stops at out_h1\n"
        "Backprop of E, at its end: all 15 steps are done\n"
        "stops nowhere; b WHERE sets a stop\n"
    )
    assert walk.position == 15


@pytest.mark.parametrize(
    ("where", "set_up", "positions", "reached"),
    [
        (
            "sigmoid",
            "stops at each sigmoid, before steps 5, 10, 12, 14",
            [4, 9, 11, 13],
            "at sigmoid: out_o1 = σ(net_o1)",
        ),
        ("σ", "stops at each σ, before steps 5, 10, 12, 14", [4, 9, 11, 13], "at σ: out_o1 = σ(net_o1)"),
        ("*", "stops at each *, before steps 2, 7", [1, 6], "at *: E_o1 = 0.5·v2"),
        ("·", "stops at each ·, before steps 2, 7", [1, 6], "at ·: E_o1 = 0.5·v2"),
        ("^", "stops at each ^, before steps 3, 8", [2, 7], "at ^: v2 = v1²"),
        ("dot", "stops at each dot, before steps 6, 11, 13, 15", [5, 10, 12, 14], "at dot: net_o1 = w5·out_h1 +"),
        ("12", "stops before step 12", [11], "before step 12"),
        ("E_o2", "stops at E_o2, after step 6", [6], "at E_o2: ∂E/∂E_o2 = 1, complete"),
        ("w1", "stops at w1, after step 13", [13], "at w1: ∂E/∂w1 = 0.000438568, complete"),
        ("v3", "stops at v3, after step 8", [8], "at v3: ∂E/∂v3 = 0.217072, complete"),
        ("abs(grad) >= 1", "stops where abs(grad) >= 1", [1, 6], "where abs(grad) >= 1, with abs(grad) = 1"),
        (
            "grad<data-1",
            "stops where grad<data-1",
            [10],
            "where grad<data-1, with grad = −0.0380982 and data-1 = 0.224921",
        ),
        ("step == 9", "stops where step == 9", [8], "where step == 9, with step = 9"),
        ("dE/dw5 ≠ 0", "stops where dE/dw5 ≠ 0", list(range(6, 15)), "where dE/dw5 ≠ 0, with dE/dw5 = 0.082167"),
        ("2 > 1", "stops where 2 > 1", list(range(1, 15)), "where 2 > 1"),
    ],
)
def test_where_a_stop_can_be(session, where, set_up, positions, reached):
    out, walk, failed = session(f"b {where}", "c")
    assert out.startswith(f"{set_up}\n")
    assert (walk.position, failed) == (positions[0], False)
    assert f"\nstopped {reached}" in out
    _, walk, _ = session(f"b {where}", *["c"] * len(positions))
    assert walk.position == positions[-1]
    _, walk, _ = session(f"b {where}", *["c"] * (len(positions) + 1))
    assert walk.position == 15
    assert session(f"b {where}", f"b  {where} ", "c")[1].position == 15  # the same again takes it away


def test_n_and_s_stop_on_their_way_and_say_so(session):
    out, walk, _ = session("b v1", "n 3")
    assert walk.position == 3
    assert out.endswith("stopped at v1: ∂E/∂v1 = −0.741365, complete\n")
    assert session("b 5", "s 9")[1].position == 4
    assert session("b grad < 0", "s 9", "s 9")[1].position == 9


def test_tbreak_stops_once(session):
    out, walk, _ = session("tbreak sigmoid", "b", "c", "c")
    assert " 1   at each sigmoid, once   before steps 5, 10, 12, 14\n" in out
    assert walk.position == 15
    assert session("goto 14", "tbreak out_h1")[2]


def test_until_goes_on_and_shows_only_where(session):
    out, walk, _ = session("n", "until", "until", "until 12", "until w3")
    assert [line for line in out.splitlines() if line.startswith("Backprop")] == [
        "Backprop of E, at step 4 of 15; next is out_o1, with ∂E/∂out_o1 = 0.741365",
        "Backprop of E, at step 5 of 15; next is net_o1, with ∂E/∂net_o1 = 0.138499",
        "Backprop of E, at step 11 of 15; next is out_h1, with ∂E/∂out_h1 = 0.0363503",
        "Backprop of E, at its end: all 15 steps are done",
    ]
    assert out.endswith("stopped at w3: ∂E/∂w3 = 0.000497713, complete\n")
    assert session("b 4", "until 9")[1].position == 3  # a stop on the way holds
    out, walk, failed = session("goto 9", "until out_o1")
    assert (walk.position, failed) == (9, True)
    assert "already passed there (at out_o1)" in out


def test_clear_takes_stops_away_by_number_by_place_or_all(session):
    out, _, failed = session("b w1", "b tanh", "b 3", "b w2", "clear 2", "clear w1", "b", "clear", "b")
    assert "*** No step is of tanh. The operations of this walk are +, *, **, -, sigmoid, dot.\n" in out
    assert "no longer stops before step 3\nno longer stops at w1\n" in out
    assert " 3   at w2   after step 13\nno longer stops at w2\nstops nowhere" in out
    assert failed
    assert "*** There are no stops.\n" in session("clear")[0]
    assert "*** There is no stop 1; b lists them.\n" in session("clear 1")[0]
    assert "*** There is no stop w1; b lists them.\n" in session("clear w1")[0]


def test_a_condition_that_has_no_value_yet_stops_where_it_is_and_says_why(session):
    out, walk, failed = session("b log(w5.grad) < 9", "c")
    assert (walk.position, failed) == (1, False)
    assert out.endswith(
        "stopped because log(w5.grad) < 9 can't be told here: log(0) has no value: "
        "the logarithm needs a number above 0.\n"
    )


def test_a_condition_that_never_has_a_value_is_refused_where_it_is_set(session):
    out, _, failed = session("b 1/0 < grad", "b")
    assert "*** column 3: 1 / 0 has no value" in out
    assert out.endswith("stops nowhere; b WHERE sets a stop\n")
    assert failed


def test_a_stop_at_what_no_gradient_reaches_says_so():
    graph = build("h = a*a\nL = 2*a if a > 0 else h", a=1.0)
    output = io.StringIO()
    Debugger(Backprop(graph.loss), commands=["b h", "c", "set a = -1", "goto 0", "c"], stdout=output).cmdloop()
    assert output.getvalue() == (
        "stops at h, which no gradient reaches\n"
        "Backprop of L, at its end: all 2 steps are done\n"
        "a = −1, was 1; L = 1, was 2\n"
        "A condition takes its other branch now: the walk has 2 steps.\n"
        "Backprop of L, at its end: all 2 steps are done\n"
        "Backprop of L, at step 0 of 2; next is L, with ∂L/∂L = 1\n"
        "Backprop of L, at step 1 of 2; next is h, with ∂L/∂h = 1\n"
        "stopped at h: ∂L/∂h = 1, complete\n"
    )


def test_back_and_goto_move_the_walk(session):
    out, walk, _ = session("back", "goto 12", "back", "back 3", "goto out_h1", "goto 0")
    assert out.splitlines()[0] == "There is nothing to undo: the walk is at its start."
    assert [line.split(";")[0] for line in out.splitlines()[1:]] == [
        f"Backprop of E, at step {step} of 15" for step in (12, 11, 8, 11, 0)
    ]
    assert walk.position == 0


def test_p_why_and_l_answer_questions(session):
    out, _, _ = session("goto 6", "p w5", "p out_h1", "why out_h1", "l")
    assert "w5 = 0.4\n∂E/∂w5 = 0.082167 (complete)" in out
    assert "out_h1 = σ(net_h1) = σ(0.3775) = 0.59327\n∂E/∂out_h1 = 0.0553994 (so far)" in out
    assert "∂E/∂out_h1 = 0.0363503, the sum over 2 paths" in out
    assert out.endswith("done: E, E_o1, v2, v1, out_o1, net_o1\n")


def test_draw_writes_the_walk(session, tmp_path):
    out, _, _ = session("n 3", f"draw {tmp_path / 'w.svg'}")
    assert out.endswith(f"wrote {tmp_path / 'w.svg'}\n")
    assert "NEXT" in (tmp_path / "w.svg").read_text(encoding="utf-8")


def test_w_shows_the_path_and_up_and_down_look_along_it(session):
    out, walk, failed = session("goto 11", "w", "up 2", "p", "why", "w", "down", "d 9", "p", "u 99")
    assert out.split("\n", 1)[1].startswith(
        "  ∂E/∂E = 1                E = E_o1 + E_o2\n"
        "  ∂E/∂E_o1 = 1             E_o1 = 0.5·v2\n"
        "  ∂E/∂v2 = 0.5             v2 = v1²\n"
        "  ∂E/∂v1 = −0.741365       v1 = t1 − out_o1\n"
        "  ∂E/∂out_o1 = 0.741365    out_o1 = σ(net_o1)\n"
        "  ∂E/∂net_o1 = 0.138499    net_o1 = w5·out_h1 + w6·out_h2 + b2\n"
        "> ∂E/∂out_h1 = 0.0363503   out_h1 = σ(net_h1)\n"
        "> ∂E/∂out_o1 = 0.741365   out_o1 = σ(net_o1)\n"
        "out_o1 = σ(net_o1) = σ(1.10591) = 0.751365\n"
        "∂E/∂out_o1 = 0.741365 (complete)\n"
        "∂E/∂out_o1 = 0.741365, one path\n"
    )
    assert "\n> ∂E/∂out_o1 = 0.741365    out_o1 = σ(net_o1)\n  ∂E/∂net_o1" in out
    assert out.endswith("∂E/∂out_h1 = 0.0363503 (complete)\n> ∂E/∂E = 1   E = E_o1 + E_o2\n")
    assert (walk.position, failed) == (11, False)


def test_where_a_leaf_is_complete_it_is_looked_at(session):
    out, _, _ = session("b w5", "c", "p", "up", "s", "p")
    assert "∂E/∂w5 = 0.082167, complete\nw5 = 0.4\n∂E/∂w5 = 0.082167 (complete)\n" in out
    assert "> ∂E/∂net_o1 = 0.138499   net_o1 = w5·out_h1" in out
    assert out.endswith("v4 = (t2 − out_o2)² = (0.99 − 0.772928)² = 0.0471201\n∂E/∂v4 = 0.5 (complete)\n")


@pytest.mark.parametrize("command", ["up", "down", "goto 15\nw", "goto 15\np", "goto 15\nwhy", "goto 15\nup"])
def test_there_is_nothing_above_the_loss_or_below_the_walk_or_after_the_end(session, command):
    out, _, failed = session(*command.split("\n"))
    assert failed
    assert any(
        said in out for said in ("is the loss: nothing is above it", "nothing is below it", "walk is at its end")
    )


def test_a_long_path_is_shown_around_where_one_looks():
    x = Value(1.0, label="x")
    y = x
    for _ in range(300):
        y = y.tanh()
    output = io.StringIO()
    Debugger(Backprop(y), commands=["b x", "c", "up 150", "w"], stdout=output).cmdloop()
    lines = output.getvalue().splitlines()[4:]
    assert len(lines) == 5 + 1 + 25 + 1 + 5
    assert [line for line in lines if line.startswith(">")] == [lines[18]]
    assert [line for line in lines if "nodes …" in line] == ["  … 133 nodes …", "  … 133 nodes …"]


def test_p_and_display_evaluate_expressions(session):
    printed = ["goto 6", "p w5 - 0.5*w5.grad", "p ∂E/∂w5 + dE/dout_o1", "p grad", "p step"]
    displayed = ["display grad*2", "display w5.grad", "s 2", "display", "display grad*2", "undisplay w5.grad"]
    out, _, failed = session(*printed, *displayed, "n", "goto 15", "undisplay", "back", "display")
    assert "w5 - 0.5*w5.grad = 0.358916\n∂E/∂w5 + dE/dout_o1 = 0.823532\ngrad = 1\nstep = 7\n" in out
    assert out.count("display w5.grad = 0.082167\n") == 4
    assert "display grad*2 = 1\n" in out
    assert "display grad*2: `grad` is of the node that comes next, and the walk is at its end.\n" in out
    assert out.endswith("at step 14 of 15; next is net_h2, with ∂E/∂net_h2 = 0.00995425\n"
                        "displays nothing; display EXPR shows an expression after every step\n")  # fmt: skip
    assert not failed


def test_an_expression_that_is_wrong_is_pointed_into(session):
    out, _, failed = session("p w5 - 0.5*w5.gradient", "display log(w5 - 1) + dE/dw55", "set w5 = 0.1 +")
    assert out == (
        "*** column 15: A node has no `.gradient`.\n"
        "    p w5 - 0.5*w5.gradient\n"
        "                  ^\n"
        "  Write `w.grad` for its gradient so far and `w.data`, or `w`, for its value.\n"
        "*** column 27: Nothing is called `w55`.\n"
        "    display log(w5 - 1) + dE/dw55\n"
        "                              ^\n"
        "  Did you mean `w5`?\n"
        "*** column 15: The formula breaks off here.\n"
        "    set w5 = 0.1 +\n"
        "                  ^\n"
        "  Something must follow the last sign.\n"
    )
    assert failed


def test_set_changes_a_leaf_and_keeps_the_place(session):
    out, walk, _ = session("goto 11", "set w5 = w5 - 0.1", "set w5=0.4", "set t1 = 1/100")
    assert "w5 = 0.3, was 0.4; E = 0.290096, was 0.298371\n" in out
    assert "w5 = 0.4, was 0.3; E = 0.298371, was 0.290096\n" in out
    assert (walk.position, walk.find("w5").data) == (11, 0.4)
    fresh = Backprop(worked("mazur_2_2_2")["E"]).goto(11)
    assert [node.grad for node in nodes(walk.loss)] == [node.grad for node in nodes(fresh.loss)]


def test_set_tells_that_a_condition_takes_its_other_branch():
    graph = build("h = a*b\nL = tanh(h)*2 if h > 1 else 3*h + a", a=0.5, b=1.0)
    output = io.StringIO()
    walk = Backprop(graph.loss)
    Debugger(walk, commands=["goto 1", "set a = 2"], stdout=output).cmdloop()
    assert output.getvalue().splitlines()[1:] == [
        "a = 2, was 0.5; L = 1.92806, was 2",
        "A condition takes its other branch now: the walk has 4 steps.",
        "v3 is not part of it any more.",
        "Backprop of L, at step 1 of 4; next is v2, with ∂L/∂v2 = 1",
    ]


def test_update_walks_a_whole_training_step():
    graph = worked("mazur_2_2_2")
    output = io.StringIO()
    walk = Backprop(graph["E"])
    other = Value(1.0, label="elsewhere")  # on which the loss does not depend
    commands = ["c", "update 0.5", "c", "update 1/2 w5, w6", "s", "update 0.5"]
    debugger = Debugger(walk, commands=commands, parameters=["w5", graph["w6"], other], stdout=output)
    debugger.cmdloop()
    assert output.getvalue().startswith(
        "Backprop of E, at its end: all 15 steps are done\n"
        "Updates, learning rate 0.5\n"
        "  new w5 = w5 − lr·∂E/∂w5 = 0.4 − 0.5·0.082167 = 0.358916\n"
        "  new w6 = w6 − lr·∂E/∂w6 = 0.45 − 0.5·0.0826676 = 0.408666\n"
        "E = 0.291538, was 0.298371; l shows the forward pass\n"
        "Backprop of E, at step 0 of 15; next is E, with ∂E/∂E = 1\n"
    )
    assert (
        "*** An update needs the gradients of a whole walk, and this one is at step 1 of 15: `c`" in output.getvalue()
    )
    assert graph["w5"].data == pytest.approx(0.3174, abs=1e-4)
    assert (walk.position, other.data, debugger.failed) == (1, 1.0, True)


def test_update_says_how_parameters_are_named(session):
    out, walk, failed = session(
        "c", "update", "update 0.5", "update 0.5 net_h1", "update 0 w1", "update 0.5 q", "update x w1"
    )
    assert "*** With which learning rate? update LR, such as update 0.5.\n" in out
    assert "*** Which leaves are the parameters? Name them, update 0.5 w1 w2; or add a line `parameters: …`" in out
    assert "net_h1 is computed: w1·i1 + w2·i2 + b1. Only a leaf can be updated.\n" in out
    assert "The learning rate is a finite number above 0" in out
    assert "No node is called 'q'" in out
    assert "*** column 8: Nothing is called `x`." in out
    assert (walk.position, failed) == (15, True)


def test_what_something_else_has_changed_is_told_and_restart_mends_it():
    graph = worked("mazur_2_2_2")
    walk = Backprop(graph["E"]).goto(5)
    graph["E"].zero_grad()
    output = io.StringIO()
    Debugger(walk, commands=["s", "set w5 = 1", "c", "restart", "c"], stdout=output).cmdloop()
    lines = output.getvalue().splitlines()
    assert [line[:4] for line in lines[:3]] == ["*** "] * 3
    assert all(line.endswith("restart() computes everything from the leaves and begins anew.") for line in lines[:3])
    assert lines[3:] == [
        "Backprop of E, at step 0 of 15; next is E, with ∂E/∂E = 1",
        "Backprop of E, at its end: all 15 steps are done",
    ]


def test_warnings_are_part_of_the_session():
    output = io.StringIO()
    Debugger(Backprop(build("L = 2*sqrt(x)", x=0.0).loss), commands=["n 2", "c"], stdout=output).cmdloop()
    assert "warning: The gradient of x is infinite" in output.getvalue()


def test_the_steps_before_an_error_in_a_line_are_shown():
    output = io.StringIO()
    walk = Backprop(build("L = c*sqrt(x)", x=0.0, c=0.0).loss)
    Debugger(walk, commands=["n"], stdout=output).cmdloop()
    assert output.getvalue().startswith("step 1 of 2 · L = c·v1   where v1 = sqrt(x)\n")
    assert "*** The gradient of x has no value (nan)" in output.getvalue()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fly", "There is no command 'fly'. Commands: n, s, c, until, b, tbreak"),
        ("contineu", "There is no command 'contineu'. Did you mean `continue`"),
        ("p outh1", "No node is called 'outh1'. Did you mean `out_h1`"),
        ("p 1/0", "column 3: 1 / 0 has no value: the divisor must not be 0."),
        ("why q", "No node is called 'q'"),
        ("goto", "Where to?"),
        ("goto 99", "15 steps; there is no position 99"),
        ("goto -1", "there is no position -1"),
        ("n many", "'many' is not a number of times"),
        ("b nowhere", "No node is called 'nowhere', and no operation."),
        ("b 16", "The walk has 15 steps; there is no step 16."),
        ("b abs(grd) > 1", "column 7: Nothing is called `grd`."),
        ("b grad > 1 > 0", "column 12: A condition has one comparison."),
        ("b exp", "No step is of exp. The operations of this walk are +, *, **, -, sigmoid, dot."),
        ("tbreak", "Stop where, once?"),
        ("undisplay", "Nothing is displayed."),
        ("undisplay w5", "'w5' is not displayed."),
        ("set", "Set what? set NAME = number or formula, such as set w1 = 0.15."),
        ("set w5", "Set what?"),
        ("set out_h1 = 1", "out_h1 is computed: σ(net_h1). Only a leaf can be set."),
        ("set w55 = 1", "No node is called 'w55'. Did you mean `w5`"),
        ("predict w5", "predict on, predict off, or predict NAME = number or formula."),
        ("predict w55 = 1", "No node is called 'w55'"),
        ("score x.txt", "A score is saved as .json; 'x.txt' does not end so."),
        ("score /nowhere/x.json", "/nowhere/x.json can't be written: No such file"),
        ("draw x.png", "saved as .svg"),
        ("draw /nowhere/x.svg", "/nowhere/x.svg can't be written: No such file"),
        ("h fly", "There is no command 'fly'"),
    ],
)
def test_an_error_is_told_and_nothing_is_lost(session, command, said):
    out, walk, failed = session("goto 5", command)
    assert f"*** {said}" in out or said in out.splitlines()[-1]
    assert (walk.position, failed) == (5, True)


def test_help_tells_every_command_within_80_columns(session):
    out, _, failed = session("h", "h why", "?", "help set")
    assert not failed
    assert max(map(len, session("h")[0].splitlines())) <= 80
    shown = {line.split(",")[0].split()[0] for line in out.splitlines() if line.startswith("  ")}
    for name in dir(Debugger):
        if name.startswith("do_"):
            assert shown & {other[3:] for other in dir(Debugger) if getattr(Debugger, other) is getattr(Debugger, name)}
    assert "why [NAME]: the paths behind a gradient, and their sum." in out
    assert "Every gradient is as if it had been so from the start. EXPR may use the old value" in out


def test_the_long_names_are_those_of_pdb(session):
    out, walk, failed = session(
        "step", "next", "break w1", "continue", "where", "print w1", "list", "u", "d", "cl", "exit", "s"
    )
    assert (walk.position, failed) == (13, False)
    assert "stopped at w1" in out


def test_names_and_commands_complete():
    debugger = Debugger(Backprop(worked("mazur_2_2_2")["E"]), commands=[])
    assert debugger.completedefault("out_h", "why out_h", 4, 9) == ["out_h1", "out_h2"]
    assert debugger.completedefault("w5.g", "p w5.g", 2, 6) == ["w5.grad"]
    assert debugger.completedefault("dw", "p dE/dw", 5, 7)[:2] == ["dw1", "dw2"]
    assert debugger.completenames("ba") == ["back"]
    assert debugger.complete_b("si", "b si", 2, 4) == ["sigmoid"]
    assert debugger.complete_set("", "set ", 4, 4) == [
        "w1",
        "w2",
        "i1",
        "i2",
        "b1",
        "w3",
        "w4",
        "w5",
        "w6",
        "b2",
        "t1",
        "w7",
        "w8",
        "t2",
    ]
    assert "out_h1" in debugger.complete_set("out", "set w5 = out", 9, 12)
    assert debugger.complete_predict("o", "predict o", 8, 9) == ["on", "off", "out_h1", "out_h2", "out_o1", "out_o2"]
    assert "help" in debugger.complete_h("he", "h he", 2, 4)


def test_names_with_spaces_and_signs_complete_and_can_be_used():
    a = Value(2.0, label="the weight-1")
    output = io.StringIO()
    debugger = Debugger(
        Backprop(a * a), commands=["p the weight-1", "b the weight-1", "set the weight-1 = 3"], stdout=output
    )
    assert debugger.completedefault("1", "p the weight-1", 13, 14) == ["1"]
    assert debugger.completedefault("we", "p the we", 6, 8) == ["weight-1"]
    debugger.cmdloop()
    assert not debugger.failed
    assert a.data == 3.0


def test_interact_steps_through_a_walk(capsys):
    walk = Backprop(worked("mazur_2_2_2")["E"])
    walk.interact(commands=["n 2", "why w1"])
    assert walk.position == 4
    assert "∂E/∂w1 = 0.000438568, the sum over 2 paths" in capsys.readouterr().out


def test_interact_takes_the_parameters_that_update_changes(capsys):
    graph = build("L = (w*x - 1)^2", w=0.5, x=1.0)
    Backprop(graph.loss).interact(["c", "update 0.5"], parameters=[graph["w"]])
    assert graph["w"].data == 1.0
    with pytest.raises(LookupError, match="No node is called 'v'"):
        Backprop(_without_gradients(graph.loss)).interact([], parameters=["v"])


def _without_gradients(loss):
    loss.zero_grad()
    return loss


def test_history_lists_the_commands(session):
    out, _, _ = session("n", "# a comment", "", "why w1", "history", "history 2")
    assert out.endswith("   1  n\n   2  # a comment\n   3  why w1\n   4  history\n   4  history\n   5  history 2\n")


PREDICTED = """predict
s
1
1
1
1
goto 11
s
0.0363503
out_h1*(1 - out_h1)
w1
p out_h1
dE/dout_h1
0.00877135
score"""


def test_predict_asks_for_each_number_before_it_is_shown(session):
    out, walk, failed = session(*PREDICTED.splitlines())
    assert out == (
        "predict is on: s and n ask for each number before they show it.\n"
        "Type a number or a formula; a blank line shows the number, `.` leaves the step.\n"
        "step 1 of 15 · E = E_o1 + E_o2\n"
        "  ∂E/∂E     = 1  (the loss by itself)\n"
        "  ∂E/∂E_o1  = ?\n"
        "  ✓ ∂E/∂E_o1 = 1\n"
        "  ∂E/∂E_o1 += ?\n"
        "  ✓ ∂E/∂E_o1 += 1 × 1 = 1\n"
        "  ∂E/∂E_o2  = ?\n"
        "  ✓ ∂E/∂E_o2 = 1\n"
        "  ∂E/∂E_o2 += ?\n"
        "  ✓ ∂E/∂E_o2 += 1 × 1 = 1\n"
        "Backprop of E, at step 11 of 15; next is out_h1\n"
        "step 12 of 15 · out_h1 = σ(net_h1)\n"
        "  ∂E/∂out_h1       = ?\n"
        "  ✓ ∂E/∂out_h1 = 0.0363503  (sum of 2 paths: 0.0553994 − 0.0190491)\n"
        "  ∂out_h1/∂net_h1  = ?\n"
        "  ✓ ∂out_h1/∂net_h1 = out_h1·(1 − out_h1) = 0.241301\n"
        "  ∂E/∂net_h1      += ?\n"
        "  ✗ Not right; 2 tries left. Here it gives 0.15.\n"
        "  ∂E/∂net_h1      += ?\n"
        "out_h1 = σ(net_h1) = σ(0.3775) = 0.59327\n"
        "∂E/∂out_h1 = ? (to be predicted)\n"
        "  ∂E/∂net_h1      += ?\n"
        "  ✗ Not right; 1 try left. Perhaps you left out σ′(net_h1) = out_h1·(1 − out_h1).\n"
        "  ∂E/∂net_h1      += ?\n"
        "  ✓ ∂E/∂net_h1 += 0.0363503 × 0.241301 = 0.00877135\n"
        " first tries    right   wrong   shown   undecided   of\n"
        " ─────────────────────────────────────────────────────\n"
        " +                  4                                4\n"
        " sum of paths       1                                1\n"
        " sigmoid            1       1                        2\n"
        " all                6       1                        7\n"
        "\n"
        "mistakes: activation_derivative_missing 1×\n"
    )
    assert (walk.position, failed) == (12, False)
    fresh = Backprop(worked("mazur_2_2_2")["E"]).goto(12)
    assert [node.grad for node in nodes(walk.loss)] == [node.grad for node in nodes(fresh.loss)]


def test_a_number_is_shown_for_a_blank_line_and_after_three_wrong_tries(session):
    out, walk, _ = session("goto 4", "predict on", "s", "", "3", "4", "5", "score")
    assert "  ∂out_o1/∂net_o1  = ?\n  ∂out_o1/∂net_o1  = out_o1·(1 − out_o1) = 0.186816\n" in out
    assert "  ✗ Not right.\n  ∂E/∂net_o1      += 0.741365 × 0.186816 = 0.138499\n" in out
    assert " sigmoid                   1       1                2\n" in out
    assert walk.position == 5


def test_too_few_digits_and_what_cannot_be_read_are_no_tries(session):
    out, _, failed = session("goto 4", "predict on", "s", "0.19", "0.1.8", "q r", "0.187", "0.138", "score")
    assert "  Right as far as it goes: 2 significant digits, and 3 are needed.\n" in out
    assert "*** column 1: `0.1.8` is not one number.\n    0.1.8\n    ^\n" in out
    assert "Type a number or a formula; a blank line shows it, `.` leaves.\n" in out
    assert " sigmoid           2                                2\n" in out
    assert not failed  # it is no command


def test_a_dot_leaves_a_step_and_it_is_not_made(session):
    out, walk, _ = session("goto 5", "predict on", "s", "out_h1", ".", "s", "out_h1")
    assert walk.position == 5
    assert out.count("The step is not made; `s` asks again.\n") == 2  # the second time the script has ended
    assert walk.find("w5").grad == 0.0


def test_what_will_be_asked_is_hidden_everywhere(session):
    commands = [
        "predict",
        "b out_h1",
        "c",
        "p out_h1",
        "p grad",
        "p out_h1.grad*2",
        "display out_h1.grad",
        "w",
        "why out_h1",
    ]
    out, _, _ = session(*commands, "draw /tmp/x.svg", "back", "goto 11", "set w5 = 0.4", "l")
    assert "0.0363503" not in out
    assert "0.0727006" not in out
    assert out.count("? (to be predicted)\n") == 6
    assert "stopped at out_h1\n" in out
    assert "> ∂E/∂out_h1 = ?          out_h1 = σ(net_h1)\n" in out
    assert "*** That would tell what you are asked: why out_h1" in out
    assert "*** The picture would tell what you are asked" in out
    out, _, _ = session(*commands, "predict off", "p out_h1", "why out_h1")
    assert out.count("0.0363503") == 2
    out, _, _ = session("predict", "goto 12", "why out_h1", "why w5", "why net_h2")  # what is done may be told
    assert "∂E/∂out_h1 = 0.0363503, the sum over 2 paths" in out
    assert "∂E/∂w5 = 0.082167, one path" in out
    assert "*** That would tell what you are asked: why net_h2" in out


def test_a_line_is_asked_step_by_step_and_told_together(session):
    out, walk, _ = session("goto 1", "predict", "n", *["0.5"] * 2, "2*v1", "-0.741365", "1", "grad", "-1", "-grad")
    assert walk.position == 4
    assert out.count("✓") == 8
    assert "  ✓ ∂E/∂v2 += 1 × 0.5 = 0.5\n\nstep 3 of 15" in out
    assert "together, from E_o1\n" in out


def test_operands_that_repeat_are_asked_one_by_one():
    output = io.StringIO()
    walk = Backprop(build("L = x*x", x=3.0).loss)
    Debugger(walk, commands=["predict", "s", "x", "3", "x", "3", "score"], stdout=output).cmdloop()
    assert output.getvalue().count("✓") == 4
    assert [one.question for one in walk.score.predictions] == [
        "∂L/∂x (operand 1) = ?", "operand 1: ∂L/∂x += ?", "∂L/∂x (operand 2) = ?", "operand 2: ∂L/∂x += ?"
    ]  # fmt: skip


def test_a_local_derivative_is_told_from_the_gradient_where_there_is_another_way():
    output = io.StringIO()
    walk = Backprop(build("q = x*y\nL = q + x", x=3.0, y=2.0).loss)
    Debugger(walk, commands=["s"], stdout=output).cmdloop()
    assert "∂L/∂x (directly)  = 1\n" in output.getvalue()
    assert "∂L/∂q             = 1\n" in output.getvalue()
    assert "∂q/∂x  = y = 2\n" in str(walk.step())


def test_who_predicts_0_or_just_what_a_mistake_gives_is_wrong_whatever_rounding_allows():
    output = io.StringIO()
    walk = Backprop(build("L = 0.5*x", x=0.3).loss)
    Debugger(walk, commands=["predict", "s", "0", "1", "0.500", "q", "."], stdout=output).cmdloop()
    assert "✗ Not right; 2 tries left. It is not 0.\n" in output.getvalue()
    assert "✗ Not right; 1 try left. Perhaps you left out the factor ½.\n" in output.getvalue()
    assert "*** q is a command. Answer first, or leave the step with `.`.\n" in output.getvalue()
    assert (walk.predict("x", 0).verdict, walk.predict("x", "0.00").verdict) == ("wrong", "wrong")


def test_a_prediction_may_speak_of_the_gradients_that_it_builds_on(session):
    out, walk, _ = session("predict w5 = dE/dnet_o1*out_h1", "predict w5 = net_o1.grad*out_h2", "predict w5 = dE/dw5")
    assert out.startswith("✓ ∂E/∂w5 = dE/dnet_o1*out_h1 is right.\n✗ ∂E/∂w5 = net_o1.grad*out_h2 is wrong.\n")
    assert "Perhaps you took the derivative by w6, and not by w5.\n" in out
    assert out.endswith("This gradient is what is asked.\n")
    assert walk.position == 0


def test_a_stop_far_down_a_long_chain_is_reached_without_looking_the_graph_over_at_each_step(capsys):
    y = Value(0.5, "x")
    for _ in range(4_000):
        y = y * 1.0001 + 0.0001
    walk = Backprop(y)
    walk.interact(commands=["b x", "c"])
    assert walk.position == len(walk) == 8_000
    assert "stopped at x: ∂v8000/∂x = 1.49" in capsys.readouterr().out


def test_a_condition_that_stops_does_not_tell_what_will_be_asked(session):
    out, _, _ = session("predict", "b abs(grad) > 0.03", "goto 10", "until out_h1")
    assert "stopped where abs(grad) > 0.03\n" in out
    assert "0.0363503" not in out


def test_predict_judges_one_gradient_and_the_score_is_saved(session, tmp_path):
    path = tmp_path / "score.json"
    out, walk, failed = session("predict w5 = 0.0822", "predict dE/dw5 = 0.0554", "predict w1 = w1 +", f"score {path}")
    assert out.startswith("✓ ∂E/∂w5 = 0.0822 is right.\n✗ ∂E/∂w5 = 0.0554 is wrong.\n")
    assert "? ∂E/∂w1 = w1 + is invalid.\n  column 5: The formula breaks off here." in out
    assert out.endswith(f"wrote {path}\n")
    assert json.loads(path.read_text(encoding="utf-8"))["total"] == {"right": 1, "wrong": 0, "shown": 0, "undecided": 0}
    assert (walk.position, failed) == (0, False)
