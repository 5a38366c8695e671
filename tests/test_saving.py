"""A net in a file comes back bit for bit, and a file that is none is refused."""

import json
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import MLP, load, save
from tests.strategies import case

HOSTILE = case("hostile_inputs.json")["weights_reject"]


@pytest.fixture
def model():
    made = MLP(3, [4, 2], "tanh", "sigmoid", norm="batch", seed=0)
    made.batch([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])  # moves the running statistics
    return made


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}, {"atomic": True}, {"output": "sigmoid"}])
def test_a_net_comes_back_as_it_was(options, tmp_path):
    first = MLP(2, [3, 3, 1], "leaky_relu", **options, seed=0)
    second = load(save(first, tmp_path / "net.json"))
    assert repr(second) == repr(first)
    assert second.state_dict() == first.state_dict()
    assert second.layers[0].neurons[0].atomic == first.layers[0].neurons[0].atomic
    assert second([0.3, 0.4]).data == first.eval()([0.3, 0.4]).data


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_every_float_survives_to_the_last_bit(tmp_path_factory, numbers):
    first = MLP(3, [1], seed=0)
    for parameter, number in zip(first.parameters(), numbers, strict=True):
        parameter.data = number
    second = load(save(first, tmp_path_factory.mktemp("net") / "net.json"))
    for mine, yours in zip(first.parameters(), second.parameters(), strict=True):
        assert struct.pack("d", mine.data) == struct.pack("d", yours.data)


def test_a_loaded_net_is_ready_to_be_asked(model, tmp_path):
    loaded = load(save(model, tmp_path / "net.json"))
    assert not loaded.training
    loaded([1.0, 2.0, 3.0])


def test_the_file_says_what_it_is(model, tmp_path):
    content = json.loads(save(model, tmp_path / "net.json").read_text(encoding="utf-8"))
    assert (content["format"], content["version"]) == ("chalkgrad net", 1)
    assert content["net"] == {
        "n_inputs": 3, "sizes": [4, 2], "activation": "tanh", "output": "sigmoid",
        "norm": {"eps": 1e-05, "momentum": 0.1}, "atomic": False,
    }  # fmt: skip
    assert content["state"] == model.state_dict()


def test_a_file_is_written_whole_or_not_at_all(model, tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    save(model, path)
    before = path.read_bytes()

    def fails(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fails)
    model.layers[0].neurons[0].weights[0].data = 5.0
    with pytest.raises(OSError, match="the disk is full"):
        save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_keeps_pointing_at_its_file(model, tmp_path):
    (tmp_path / "real.json").write_text("", encoding="utf-8")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    save(model, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert load(tmp_path / "real.json").state_dict() == model.state_dict()


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="f is a function of your own"):
        save(MLP(2, [2, 1], lambda z: z.tanh(), seed=0), tmp_path / "net.json")
    with pytest.raises(TypeError, match="save writes an MLP"):
        save(None, tmp_path / "net.json")
    broken = MLP(2, [1], seed=0)
    broken.layers[0].neurons[0].bias.data = float("inf")
    with pytest.raises(ValueError, match=r"layers\.0\.neurons\.0\.bias is inf"):
        save(broken, tmp_path / "net.json")
    mixed = MLP(2, [2, 2, 1], "tanh", seed=0)
    mixed.layers[0] = MLP(2, [2, 1], "relu", seed=0).layers[0]
    with pytest.raises(ValueError, match="hidden layers of one kind"):
        save(mixed, tmp_path / "net.json")
    assert list(tmp_path.iterdir()) == []


def spoiled(text):
    """Ways to spoil a file, and what is said of each."""
    content = json.loads(text)
    first = next(iter(content["state"]))

    def file(**changes):
        return json.dumps(content | changes)

    def net(**changes):
        return file(net=content["net"] | changes)

    def state(number):
        return file(state=content["state"] | {first: number})

    return [
        (text[: len(text) // 2], "Was it cut off"),
        (file(version=2), "its version must be 1, and it is 2"),
        (file(version=True), "'version' in the file must be int"),
        (file(format="weights"), "and that is 'weights'"),
        (file(more=1), "the file must have format, version, net, state"),
        (file(state=[1.0]), "'state' in the file must be dict"),
        (net(sizes=[10**9, 2]), "has more than the"),
        (net(sizes=[True, 2]), "whole numbers from 1 on"),
        (net(sizes=["4", 2]), "whole numbers from 1 on"),
        (net(sizes=[]), "sizes lists the units"),
        (net(n_inputs=0), "whole numbers from 1 on"),
        (net(n_inputs=2), "unknown, such as layers"),
        (net(sizes=[4, 3]), "missing, such as layers"),
        (net(activation="rleu"), "Did you mean `relu`"),
        (net(activation=["relu"]), "'activation' in \"net\" must be str"),
        (net(norm={"eps": -1.0, "momentum": 0.1}), "eps must be above 0"),
        (net(norm={"eps": 1.0}), '"norm" must have eps, momentum'),
        (net(norm="batch"), "'norm' in \"net\" must be"),
        (net(atomic=1), "'atomic' in \"net\" must be bool"),
        (file(state={k: v for k, v in content["state"].items() if k != first}), "1 missing"),
        (file(state=content["state"] | {"more": 1.0}), "1 unknown, such as more"),
        (state("1.0"), "must be a number, and it is str '1.0'"),
        (state(None), "must be a number"),
        (state(True), "must be a number"),
        (state([1.0]), "must be a number"),
        (state(float("nan")), "NaN is not finite"),
        (state(10**400), "must be finite"),
        (text.replace(f'"{first}": ', f'"{first}": 1.0, "{first}": '), "stands there twice"),
        ("[" * 100_000, "nested too deep"),
        *((hostile, "can't be loaded|JSON") for hostile in HOSTILE),
    ]


def test_every_spoiled_file_is_refused_with_what_was_found(model, tmp_path):
    path = tmp_path / "net.json"
    text = save(model, path).read_text(encoding="utf-8")
    for content, says in spoiled(text):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=says):
            load(path)


def test_a_pickle_is_refused(tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04\x95\x00")
    with pytest.raises(ValueError, match="Was it written by pickle"):
        load(tmp_path / "net.pkl")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.json")


def changed():
    """Nets that were changed after they were made, so that the file would hold another one."""
    activation = MLP(2, [2, 1], "tanh", seed=0)
    activation.layers[0].neurons[0].activation = MLP(2, [1], output="relu", seed=0).layers[0].activation
    shared = MLP(2, [2, 1], "tanh", seed=0)
    shared.layers[0].neurons[0].weights[1] = shared.layers[0].neurons[0].weights[0]
    without = MLP(2, [2, 1], "tanh", seed=0)
    without.layers[0].neurons[0].bias = None
    return [activation, shared, without]


@pytest.mark.parametrize("model", changed(), ids=["another activation", "a shared weight", "no bias"])
def test_a_net_that_a_file_would_not_give_back_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="this one was changed"):
        save(model, tmp_path / "net.json")
    assert list(tmp_path.iterdir()) == []


def test_a_net_of_a_class_of_ones_own_is_refused(tmp_path):
    class Louder(MLP):
        def __call__(self, x):
            return 100.0 * super().__call__(x)

    with pytest.raises(TypeError, match="save writes an MLP, not Louder"):
        save(Louder(2, [1], seed=0), tmp_path / "net.json")


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere: make it first"):
        save(MLP(2, [1], seed=0), tmp_path / "nowhere" / "net.json")


def test_a_variance_below_0_is_refused(model, tmp_path):
    text = save(model, tmp_path / "net.json").read_text(encoding="utf-8")
    name = next(name for name in model.state_dict() if "running_var" in name)
    content = json.loads(text)
    content["state"][name] = -5.0
    (tmp_path / "net.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="is a variance and can't be negative"):
        load(tmp_path / "net.json")
