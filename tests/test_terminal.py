"""The session at a terminal, typed as a person types: keys, colours, widths, Ctrl-C, Ctrl-D, history."""

import io
import re
import time

import pytest

from engine import Backprop, build
from engine.debugger import Debugger
from engine.terminal import History, Screen, history_path, style_of, wrapped
from engine.text import number
from tests.strategies import case
from tests.terminals import PROMPT, ROOT, Terminal, plain

MAZUR = ("-m", "engine", "step", "demos/mazur.txt")


@pytest.fixture
def terminal(tmp_path):
    """Open terminals, and close them in the end."""
    opened = []

    def terminal(*arguments, **options):
        opened.append(Terminal(tmp_path, *(arguments or MAZUR), **options))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


def colours(printed):
    return re.findall(r"\x1b\[[\d;]*m", printed)


SESSION = ["b out_h1", "c", "n", "why out_h1", "", "back 2", "set w5 = w5 - 0.1", "w", "display grad", "s", "b tanh"]


def test_a_typed_session_prints_what_the_same_script_prints(terminal, tmp_path, capsys):
    typed = terminal(columns=200)
    typed.wait(PROMPT)
    printed = "".join(typed.do(command) for command in SESSION)
    typed.keys("q\r")
    assert typed.end() == 0
    output = io.StringIO()
    walk = Backprop(build((ROOT / "demos/mazur.txt").read_text(encoding="utf-8")).loss)
    Debugger(walk, commands=SESSION, stdout=output).cmdloop()
    assert printed == output.getvalue()
    assert "Backprop of E, at step 0 of 15" in typed.output  # where it begins is said to who types alone


def test_tab_completes_commands_names_and_operations(terminal):
    typed = terminal()
    typed.wait(PROMPT)
    typed.keys("und\t")
    typed.wait("undisplay")
    typed.keys("\x15why out_h\t1\r")  # ctrl-u empties the line
    typed.wait("∂E/∂out_h1 = 0.0363503", PROMPT)
    typed.keys("b sigm\t\r")
    typed.wait("stops at each sigmoid", PROMPT)
    typed.keys("p dE/dnet_h\t1\r")
    typed.wait("dE/dnet_h1 = 0", PROMPT)
    typed.keys("p net_o1.g\t\r")
    typed.wait("net_o1.grad = 0", PROMPT)
    typed.keys("b\t\t")
    typed.wait("back", "break", "bt")


def test_ctrl_c_while_a_command_runs_brings_the_prompt_back_and_the_walk_is_whole(terminal, tmp_path):
    lines = ["x = 0.5", *(f"y{n} = 0.999*{'x' if n == 0 else f'y{n - 1}'}" for n in range(4000))]
    (tmp_path / "long.txt").write_text("\n".join(lines), encoding="utf-8")
    typed = terminal("-m", "engine", "step", str(tmp_path / "long.txt"))
    typed.wait(PROMPT)
    typed.keys("s 4000\r")
    typed.wait("step 20 of 4000")
    typed.ctrl_c()
    typed.wait(PROMPT)
    stopped = int(re.search(r"at step (\d+) of 4000", typed.do("display step") + typed.do("goto 100")).group(1))
    assert stopped == 100
    assert "at its end" in typed.do("undisplay") + typed.do("c")
    assert f"∂y3999/∂x = {number(0.999**4000)} (complete)" in typed.do("p x")


def test_ctrl_c_at_the_prompt_brings_a_new_one_and_ctrl_d_ends(terminal):
    typed = terminal()
    typed.wait(PROMPT)
    typed.keys("why out")
    typed.wait("why out")
    typed.ctrl_c()
    typed.wait(PROMPT)
    typed.ctrl_d()
    assert typed.end() == 0
    assert "Traceback" not in typed.output


def test_ctrl_c_and_ctrl_d_leave_a_question_and_the_step_is_not_made(terminal):
    typed = terminal()
    typed.wait(PROMPT)
    typed.do("predict")
    for leave in (typed.ctrl_c, typed.ctrl_d):
        typed.keys("s\r")
        typed.wait("∂E/∂E_o1  = ? ")
        typed.keys("0.")
        typed.wait("0.")
        typed.keys("\x15")  # an empty line, where ctrl-d is the end
        leave()
        typed.wait(PROMPT)
    assert "at step 0 of 15" in typed.do("goto 0")
    assert "Nothing has been predicted yet." in typed.do("score")


def test_answers_are_not_among_the_commands_that_the_arrow_keys_bring_back(terminal):
    typed = terminal()
    typed.wait(PROMPT)
    typed.do("predict on")
    typed.keys("s\r")
    for answer in ("1.00", "1.000", "1.0000", ""):
        typed.wait("= ? ")
        typed.keys(f"{answer}\r")
    typed.wait(PROMPT)
    typed.keys("\x1b[A\x1b[A")
    typed.wait("predict on")
    assert "1.00 " not in typed.do("\x15history")


def test_lines_fit_the_terminal_also_after_it_was_resized(terminal):
    typed = terminal(columns=80)
    typed.wait(PROMPT)
    for columns, narrower in ((80, 50), (50, 40), (120, 80)):
        typed.resize(columns)
        time.sleep(0.05)
        printed = typed.do("l") + typed.do("goto net_o2") + typed.do("s") + typed.do("back") + typed.do("h")
        assert narrower < max(map(len, printed.splitlines())) <= columns
        for figure in ("0.596884", "−0.0380982", "0.0190491"):
            assert figure in printed


def test_a_terminal_has_colours_and_a_pipe_or_script_has_none(terminal, tmp_path):
    (tmp_path / "script").write_text("n\nfly\n", encoding="utf-8")
    coloured = terminal()
    coloured.wait(PROMPT)
    coloured.do("n")
    coloured.do("fly")
    assert len(set(colours(coloured.output))) >= 4
    for options in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        bare = terminal(**options)
        bare.wait(PROMPT)
        assert bare.do("n") == plain(coloured.output).split(PROMPT)[1].partition("\n")[2]
        assert not colours(bare.output)
    script = terminal(*MAZUR, "--script", str(tmp_path / "script"))
    assert script.end() == 2
    assert not colours(script.output)


def test_the_history_is_kept_across_sessions(terminal, tmp_path):
    history = tmp_path / "state" / "history"
    first = terminal(history=history)
    first.wait(PROMPT)
    first.do("n")
    first.do("why w5")
    first.keys("q\r")
    assert first.end() == 0
    second = terminal(history=history)
    second.wait(PROMPT)
    assert second.do("history 3") == "   2  why w5\n   3  q\n   4  history 3\n"
    second.keys("\x1b[A\x1b[A\x1b[A\r")  # three times up
    second.wait("why w5", "∂E/∂w5 = 0.082167, one path", PROMPT)
    assert history.read_text(encoding="utf-8").splitlines() == ["n", "why w5", "q", "history 3", "why w5"]
    assert history.stat().st_mode & 0o077 == 0  # of the person alone


def test_a_history_that_cannot_be_kept_is_no_error(terminal, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    typed = terminal(history=tmp_path / "file" / "history")
    typed.wait(PROMPT)
    assert "   1  history" in typed.do("history")
    typed.ctrl_d()
    assert typed.end() == 0


def test_a_long_history_is_cut_when_a_session_begins(tmp_path):
    path = tmp_path / "history"
    path.write_text("".join(f"p {number}\n" for number in range(3000)), encoding="utf-8")
    assert History(path).lines[0] == "p 2000"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1000
    path.write_bytes(b"\xff\xfe\x00")
    assert History(path).lines == []


def test_where_the_history_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("CHALKGRAD_HISTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == tmp_path / "chalkgrad" / "history"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert history_path() == tmp_path / "home" / ".local" / "state" / "chalkgrad" / "history"
    monkeypatch.setenv("CHALKGRAD_HISTORY", str(tmp_path / "mine"))
    assert history_path() == tmp_path / "mine"
    monkeypatch.setenv("CHALKGRAD_HISTORY", "")
    assert history_path() is None


def test_a_history_of_its_own_leaves_that_of_the_prompt_around_it(tmp_path):
    readline = pytest.importorskip("readline", reason="Python without readline has no arrow keys to fill")
    readline.clear_history()
    readline.add_history("walk = Backprop(L)")
    history = History(tmp_path / "history")
    history.add("why w5")
    with history.at_the_arrow_keys():
        assert [readline.get_history_item(1), readline.get_current_history_length()] == ["why w5", 1]
        readline.add_history("c")
    assert [readline.get_history_item(1), readline.get_current_history_length()] == ["walk = Backprop(L)", 1]


@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_wrapped_line_fits_hangs_and_is_whole(width):
    line = "  ∂E/∂out_h1       = 0.0363503  (sum of 3 paths: 0.0553994 − 0.0190491 + −1.2345678e−12)  (and so on)"
    made = wrapped(line, width)
    assert all(len(part) <= width for part in made)
    assert [word for part in made for word in part.split()] == line.split()
    assert len({len(part) - len(part.lstrip()) for part in made[1:]}) == 1
    assert not any(part.rstrip().endswith(("=", "−", "×", "+")) for part in made)  # a sign goes with what follows
    assert wrapped("short", width) == ["short"]


@pytest.mark.parametrize(
    ("line", "hanging"),
    [
        ("net_o1 = w5·out_h1 + w6·out_h2 + b2", 9),
        ("  ✓ ∂E/∂a = 0.0363503  (sum of 2 paths: 1 − 2)", 12),
        ("> ∂E/∂a = 1   E = E_o1 + E_o2 + a + b + c", 10),
        ("  new w = w − lr·∂E/∂w = 0.15 − 0.5·0.0002784", 10),
        ("  c, cont  on to the next stop, or to the end", 11),
        ("*** 'w' names 2 nodes (leaf = 2, leaf = 3). And more.", 4),
    ],
)
def test_what_follows_hangs_under_the_right_side(line, hanging):
    assert {len(part) - len(part.lstrip()) for part in wrapped(line, 30)[1:]} == {hanging}
    assert all(not part.startswith(" ") for part in wrapped(line, 30, hang=False)[1:])


def test_a_word_that_is_wider_than_the_terminal_is_not_cut():
    assert wrapped(f"p {'x' * 50} 1", 20) == ["p", f"    {'x' * 50}", "    1"]


@pytest.mark.parametrize(
    ("line", "style"),
    [
        ("step 3 of 15 · v2 = v1²", "bold cyan"),
        ("  ∂E/∂v1  += 0.5 × (−1.48273) = −0.741365", "green"),
        ("  ∂v2/∂v1  = 2·v1 = −1.48273", ""),
        ("> ∂E/∂v1 = 1   v1 = t1 − out_o1", "bold"),
        ("*** No node is called 'q'.", "bold red"),
        ("stopped at w5: ∂E/∂w5 = 0.08, complete", "magenta"),
    ],
)
def test_a_line_is_coloured_by_its_meaning(line, style):
    assert style_of(line) == style


def test_a_pointer_still_points_where_the_line_is_cut_to_the_terminal(monkeypatch):
    stream = io.StringIO()
    screen = Screen(stream, terminal=False)
    screen.terminal = True
    monkeypatch.setenv("COLUMNS", "40")
    screen.say("*** column 60: no\n    " + "a + " * 14 + "§" + " + b" * 9 + "\n    " + " " * 56 + "^")
    _, line, pointer = stream.getvalue().splitlines()
    assert len(line) <= 40
    assert line[pointer.index("^")] == "§"


@pytest.mark.parametrize("label", case("hostile_inputs.json")["labels"], ids=ascii)
def test_no_label_reaches_the_terminal_raw(label):
    graph = build("z = w*x\nh = z + z\nL = h*h + w", w=2.0, x=3.0)
    graph["z"].label, graph["w"].label = label, label + "w"
    output = io.StringIO()
    commands = [
        "n",
        "s",
        "w",
        "l",
        f"b {label}",
        "b",
        "c",
        f"p {label}w",
        f"why {label}",
        f"set {label}w = 1",
        "draw x.png",
    ]
    commands += [f"display {label}", f"{label}", f"h {label}", f"clear {label}", "predict", "s", f"{label}", "1", "."]
    commands += [f"predict {label}w = 1", "score", f"score {label}", "c", f"update 0.1 {label}w", "history"]
    Debugger(Backprop(graph.loss), commands=commands, stdout=output).cmdloop()
    assert all(character.isprintable() or character == "\n" for character in output.getvalue())


def test_a_stream_without_mathematics_gets_letters_instead():
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Screen(output, terminal=False).say("∂L/∂x += −1 × 2")
    output.seek(0)
    assert output.read() == "dL/dx += -1 x 2\n"
