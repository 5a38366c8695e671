"""`walk.interact()` in a notebook's kernel and in IPython, where there is no terminal, or another prompt around it."""

import re

import pytest
from jupyter_client.manager import start_new_kernel

from tests.terminals import PROMPT, ROOT, Terminal, plain

BUILD = """
from engine import Backprop, build
graph = build(open("demos/mazur.txt").read())
walk = Backprop(graph.loss)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A clean kernel; returns a function that runs a cell and types at it, and gives the text and the pictures."""
    folder = tmp_path_factory.mktemp("jupyter")
    places = ["IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME"]
    with pytest.MonkeyPatch.context() as patch:
        for place in places:
            patch.setenv(place, str(folder / place.lower()))
        patch.setenv("CHALKGRAD_HISTORY", str(folder / "history"))
        patch.setenv("PYTHONPATH", str(ROOT))
        manager, client = start_new_kernel(cwd=str(ROOT))

    def run(code, *typed, asked=None, can_type=True):
        waiting, text, pictures, prompts = list(typed), [], [], []

        def answer(message):
            prompts.append(message["content"]["prompt"])
            if waiting:
                client.input(waiting.pop(0))
            else:
                manager.interrupt_kernel()

        def show(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                text.append(content["text"])
            elif message["msg_type"] == "error":
                text.append("\n".join(content["traceback"]))
            elif message["msg_type"] == "display_data":
                pictures.append(content["data"])

        client.execute_interactive(code, allow_stdin=can_type, stdin_hook=answer, output_hook=show, timeout=60)
        if asked is not None:
            asked += prompts
        return "".join(text), pictures

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_commands_are_typed_at_a_cell_and_the_walk_is_the_cells(kernel):
    asked = []
    printed, _ = kernel(
        f"{BUILD}walk.interact(parameters=graph.parameters)", "n", "b out_h1", "c", "", "q", asked=asked
    )
    assert asked == [PROMPT] * 5
    assert printed.startswith("Backprop of E, at step 0 of 15; next is E, with ∂E/∂E = 1\nn: next line")
    assert "stopped at out_h1: ∂E/∂out_h1 = 0.0363503, complete\n" in printed
    assert not re.search(r"\x1b|Traceback", printed)
    assert kernel("print(walk.position)")[0] == "15\n"


def test_predictions_are_asked_in_the_cell(kernel):
    asked = []
    printed, _ = kernel(
        f"{BUILD}walk.goto(11).interact()", "predict", "s", "0.0554", "0.03635", "", "", "q", asked=asked
    )
    assert asked[2:6] == ["  ∂E/∂out_h1       = ? "] * 2 + ["  ∂out_h1/∂net_h1  = ? ", "  ∂E/∂net_h1      += ? "]
    assert "Perhaps you took the path by net_o1 alone" in printed
    assert kernel("print(walk.score.total)")[0] == "{'right': 0, 'wrong': 1, 'shown': 2, 'undecided': 0}\n"


def test_draw_shows_the_picture_in_the_notebook_unless_a_file_is_named(kernel, tmp_path):
    printed, pictures = kernel(f"{BUILD}walk.interact()", "draw", f"draw {tmp_path / 'walk.svg'}", "q")
    assert len(pictures) == 1
    assert "image/svg+xml" in pictures[0]
    assert f"wrote {tmp_path / 'walk.svg'}\n" in printed


def test_the_stop_button_ends_the_session_and_keeps_the_walk(kernel):
    printed, _ = kernel(f"{BUILD}walk.interact()", "goto 4")  # then it is interrupted, while it waits
    assert printed.endswith("(left)\n")
    assert kernel("print(walk.position)")[0] == "4\n"


def test_where_nobody_can_type_commands_can_still_be_given(kernel):
    printed, _ = kernel(f"{BUILD}walk.interact(['goto 3', 'n'])", can_type=False)
    assert "step 4 of 15" in printed
    printed, _ = kernel(f"{BUILD}walk.interact()", can_type=False)
    assert "Nobody can type in this notebook, since a program runs it: give the commands" in printed


def test_interact_at_the_prompt_of_ipython(tmp_path):
    terminal = Terminal(
        tmp_path, "-m", "IPython", "--simple-prompt", "--no-banner", IPYTHONDIR=str(tmp_path / "ipython")
    )
    try:
        terminal.wait("In [1]: ")
        terminal.keys("from engine import Backprop, build; walk = Backprop(build('L = w*x', w=2, x=3).loss)\r")
        terminal.wait("In [2]: ")
        terminal.keys("walk.interact()\r")
        terminal.wait(PROMPT)
        assert "step 1 of 1 · L = w·x\n" in terminal.do("n")
        terminal.keys("q\r")
        terminal.wait("In [3]: ")
        terminal.keys("print(walk.position, 'steps')\r")
        assert "1 steps" in plain(terminal.wait("1 steps"))
    finally:
        terminal.close()
