"""The REPL, command by command."""

import io
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from engine import Backprop
from engine.debugger import Debugger
from tests.strategies import worked

ROOT = Path(__file__).parents[1]


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


def test_a_stop_is_reached_and_taken_away(session):
    out, walk, _ = session("b out_h1", "b w5", "b", "c", "c", "b w5", "b out_h1", "c")
    assert out == (
        "stops at out_h1, after step 11\n"
        "stops at w5, after step 6\n"
        "stops at: out_h1, w5\n"
        "Backprop of E, at step 6 of 15; next is E_o2, with ∂E/∂E_o2 = 1\n"
        "stopped at w5: ∂E/∂w5 = 0.082167, complete\n"
        "Backprop of E, at step 11 of 15; next is out_h1, with ∂E/∂out_h1 = 0.0363503\n"
        "stopped at out_h1: ∂E/∂out_h1 = 0.0363503, complete\n"
        "no longer stops at w5\n"
        "no longer stops at out_h1\n"
        "Backprop of E, at its end: all 15 steps are done\n"
    )
    assert walk.position == 15


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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fly", "There is no command 'fly'. Commands: n, s, b, c, back"),
        ("p", "Print what?"),
        ("p outh1", "No node is called 'outh1'. Did you mean `out_h1`"),
        ("why", "Why what?"),
        ("why q", "No node is called 'q'"),
        ("goto", "Where to?"),
        ("goto 99", "15 steps; there is no position 99"),
        ("goto -1", "there is no position -1"),
        ("n many", "'many' is not a number of times"),
        ("b nowhere", "No node is called 'nowhere'"),
        ("draw x.png", "saved as .svg"),
        ("draw /nowhere/x.svg", "/nowhere/x.svg can't be written: No such file"),
    ],
)
def test_an_error_is_told_and_nothing_is_lost(session, command, said):
    out, walk, failed = session("goto 5", command)
    assert f"*** {said}" in out or said in out.splitlines()[-1]
    assert (walk.position, failed) == (5, True)


def test_help_tells_every_command(session):
    out, _, failed = session("h", "h why", "?")
    assert not failed
    for name in "n s b c back goto p why l draw q h".split():
        assert f"\n{name}" in out
    assert "why NAME: the paths from the loss to NAME" in out


def test_names_and_commands_complete():
    debugger = Debugger(Backprop(worked("mazur_2_2_2")["E"]), commands=[])
    assert debugger.completedefault("out_h", "why out_h", 4, 9) == ["out_h1", "out_h2"]
    assert debugger.completenames("b") == ["b", "back"]
    assert "help" not in debugger.completenames("h")


def talk(*exchange):
    """Type at the command in a terminal, each time after what is awaited; returns all it prints, and its status."""
    process, terminal = pty.fork()
    if process == 0:  # the child
        os.chdir(ROOT)
        os.environ |= {"PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
        os.execv(sys.executable, [sys.executable, "-m", "engine", "step", "demos/mazur.txt"])
    printed, seen, begun, typed = b"", 0, time.monotonic(), b""
    try:
        for awaited, keys in exchange:
            while awaited not in printed[seen:]:
                assert time.monotonic() - begun < 60, f"{awaited!r} never came; printed {printed!r}"
                if select.select([terminal], [], [], 2.0)[0]:
                    printed += os.read(terminal, 65536)
                elif typed == b"\x03":  # one that comes just before Python waits for a key is seen with the next key
                    os.write(terminal, typed)
            seen = printed.index(awaited, seen) + len(awaited)
            os.write(terminal, keys)
            typed = keys
        while True:  # to the end
            assert time.monotonic() - begun < 60, f"the command did not end; printed {printed!r}"
            try:
                data = os.read(terminal, 65536) if select.select([terminal], [], [], 0.2)[0] else None
            except OSError:
                break
            if data == b"":
                break
            printed += data or b""
    finally:
        if os.waitpid(process, os.WNOHANG) == (0, 0):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        os.close(terminal)
    return printed.decode("utf-8", "replace")


def test_at_a_terminal_there_is_a_prompt_and_a_blank_line_repeats():
    printed = talk(
        (b"(chalk) ", b"n\n"),
        (b"(chalk) ", b"\n"),
        (b"step 4 of 15", b"fly\n"),
        (b"There is no command 'fly'", b""),
        (b"(chalk) ", b"\x03"),
        (b"(interrupted; q quits)", b"q\n"),
    )
    assert "Backprop of E, at step 0 of 15" in printed
    assert "Traceback" not in printed


def test_ctrl_d_ends_the_session():
    assert "Traceback" not in talk((b"(chalk) ", b"\x04"))


def test_interact_steps_through_a_walk(capsys):
    walk = Backprop(worked("mazur_2_2_2")["E"])
    walk.interact(commands=["n 2", "why w1"])
    assert walk.position == 4
    assert "∂E/∂w1 = 0.000438568, the sum over 2 paths" in capsys.readouterr().out
