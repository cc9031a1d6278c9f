"""Every option and argument of every command, with values that are wrong.

The values follow from the type of a parameter; those of types that are not ours stand in a table. A
command or a parameter without a row fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import numpy as np
import pytest
from counted_driver import count_drivers

from cim_hal.cli.app import program as cim_hal
from cim_hal.cli.common import ServerTarget
from cim_hal.console import run
from cim_hal.option_types import Address, Endpoint, OutputFile, OutputFolder, Real, Target
from qnn_train.cli.app import program as qnn_train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_machines import Annealer

SERVER = "tcp://127.0.0.1:9"
HERE = {"target": "counted:make"}
THERE = {"target": SERVER}
# Right values of what a command must be given.
BASE: dict[str, dict[str, str]] = {
    "calibrate": HERE,
    "chaos": {"target": SERVER},
    "check": {"path": "file", "target": SERVER},
    "compare": {"model_path": "graph", "devices": "counted:make"},
    "config": {},
    "conform": HERE,
    "convert": {"source": "graph", "target": "new"},
    "couplings": THERE | {"action": "list"},
    "describe": HERE,
    "estop": THERE,
    "jobs": THERE | {"action": "list"},
    "journal check": {"folder": "folder"},
    "journal export": {"folder": "folder", "out": "new"},
    "journal repair": {"folder": "folder"},
    "keys authorize": {"public_key": "k" * 40, "name": "alice", "role": "user"},
    "keys list": {},
    "keys new": {"name": "client"},
    "keys revoke": {"name": "alice"},
    "keys trust": {"endpoint": SERVER, "public_key": "k" * 40},
    "list": {},
    "lock": THERE,
    "monitor": THERE,
    "new-driver": {"name": "bench-1"},
    "precision": {"model_path": "graph"},
    "record": {"target": SERVER, "path": "new"},
    "replay": {"path": "file"},
    "reset": THERE,
    "sample": HERE | {"model_path": "graph"},
    "serve": HERE,
    "status": THERE,
    "sweep": {"study_paths": "study", "folder": "new"},
    "tune": HERE | {"model_path": "graph"},
    "unlock": THERE,
    "qnn-train compare": {"data": "file", "device": "counted:make"},
    "qnn-train evaluate": {"model": "file", "data": "file"},
    "qnn-train export": {"model": "file", "out": "new.npz"},
    "qnn-train fit": {"data": "file", "device": "counted:make"},
    "qnn-train inspect": {"model": "file"},
    "qnn-train predict": {"model": "file", "data": "file"},
    "qnn-train proximal": {"device": "counted:make"},
    "qnn-train qcbo": {"device": "counted:make"},
}
STUDY = """
study = {name = "x"}
models = {files = ["graph"]}
machine = {device = "counted:make"}
factors = {coupling_bits = [2]}
"""
NUMBERS = ("nan", "inf", "x")
# Wrong values of parameters whose type does not say them; none where every text is right.
TEXTS: dict[str, tuple[str, ...]] = {
    "action": ("nonsense",),
    "lowering": ("nonsense", "max:1", "quantile:0", "splitting:nan"),
    "class_weight": (),  # the column knows
    "classes": ("x", "1,", "1.5", "nan", "-1,2"),
    "clip": ("x", "", "0", "-1", "nan", "1,,2"),
    "data_dir": ("file",),
    "plug": (),
    "unplug": (),
    "digests": (),  # the server knows
    "drop": (),  # the table knows
    "hardware": (),
    "for_s": ("x", "nan", "inf", "-1s", "1y", "400d"),
    "hidden": ("x", "-1", "1.5", "8,0", "nan", "8,,4"),
    "job_ids": (),  # the server knows
    "key": ("nosuch.key",),
    "ladder": ("x", "", "0", "-1", "nan", "1,,2"),
    "limits": ("x", "lease_s", "lease_s=nan", "lease_s=x", "leases=1", "lease_s=-1"),
    "model_path": ("nosuch",),
    "name": ("a b", "", "ä", "../x"),
    "note": (),
    "public_key": ("short", "nosuch.pub"),
    "out": ("file",),
    "owner": (),
    "pump": ("", "x", "0;1", "nan", "0,inf", "-1", "0," * 2000 + "0"),
    "reason": (),
    "server_key": ("nosuch.pub",),
    "machine_json": ("x", "{}", "3"),
    "option_texts": ("x", "=3", ""),
    "settings": ("x", "x=", "x=nan", "x=inf", "x=y"),
    "target": (),  # the table knows
    "train_samples": ("x", "1", "1.5", "nan", str(10**30)),
    "wait_s": ("x", "nan", "-1s"),
    "weights": ("x", "", "9bit", "none", "range(1)", "codebook(1,1)"),
}
UNNAMED = {"key", "server_key", "model_path", "public_key", "name", "pump", "classes", "data_dir"}


def _commands() -> Iterator[tuple[str, click.Command]]:
    for group, prefix in ((cim_hal, ""), (qnn_train, "qnn-train ")):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                inner = click.Context(command)
                for each in command.list_commands(inner):
                    yield f"{prefix}{name} {each}", command.get_command(inner, each)
            else:
                yield f"{prefix}{name}", command


COMMANDS = dict(_commands())


def _wrong(parameter: click.Parameter) -> tuple[str, ...] | None:  # noqa: C901, PLR0911  a table
    kind = parameter.type
    match kind:
        case click.types.BoolParamType():
            return ()
        case Real():
            return (*NUMBERS, str(kind.min - 1), str(kind.max * 2 + 1))
        case click.IntRange():
            return (*NUMBERS[::2], "1.5", str(kind.min - 1), str(kind.max + 1))
        case click.Choice():
            return ("nonsense",)
        case ServerTarget():
            return ("emulator", "counted:make", "x", "tcp://127.0.0.1:99999", "tcp://127.0.0.1")
        case Target():
            servers = ("http://127.0.0.1:80", "tcp://127.0.0.1:99999", "tcp://:1")
            return ("emulatr", "", "nosuch.toml", "./emulator", "folder/", *servers)
        case Endpoint():
            unknown = ("tcp://no-such-host.invalid:80",) if kind.is_known else ()
            return ("x", "8080", "tcp://127.0.0.1:99999", "ipc://", *unknown)
        case Address():
            return ("8080", "127.0.0.1", "127.0.0.1:99999", ":80", "no-such-host.invalid:80")
        case OutputFile():
            return ("/nosuch/x.npz", "file/x.npz", "folder", "/proc/x.npz")
        case OutputFolder():
            return ("file", "file/x", "/proc/x")
        case click.Path() if kind.exists:
            return ("nosuch", "folder" if kind.file_okay else "file")
        case _:
            return TEXTS.get(str(parameter.name))


def _cases() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if _wrong(parameter):
                yield name, str(parameter.name)


def _arguments(command: click.Command, values: dict[str, str]) -> list[str]:
    options, arguments = [], []
    for parameter in command.params:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if isinstance(parameter, click.Option):
            options.append(f"{max(parameter.opts, key=len)}={value}")
        else:
            arguments.append(value)
    return [*options, "--", *arguments]


@pytest.fixture(name="made")
def _made(monkeypatch, tmp_path) -> list[Annealer]:
    """Drivers that ``counted:make`` has made, and a folder with a file, a folder and a model."""
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    (tmp_path / "file").write_text("")
    (tmp_path / "graph").write_text("2 1\n1 2 1\n")
    (tmp_path / "study").write_text(STUDY)
    (tmp_path / "folder").mkdir()
    return count_drivers(monkeypatch)


def test_every_command_and_every_parameter_has_wrong_values():
    assert COMMANDS.keys() <= BASE.keys()
    missing = [
        f"{name} {parameter.name}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if _wrong(parameter) is None
    ]
    assert missing == []


def test_every_number_is_finite_and_has_both_bounds():
    for name, command in COMMANDS.items():
        for parameter in command.params:
            kind, where = parameter.type, f"{name} {parameter.name}"
            assert kind not in {click.FLOAT, click.INT}, where
            assert not isinstance(kind, click.FloatRange) or isinstance(kind, Real), where
            if isinstance(kind, click.IntRange | click.FloatRange):
                assert kind.min is not None, where
                assert kind.max is not None, where


@pytest.mark.parametrize(("name", "parameter"), list(_cases()))
def test_a_wrong_value_is_one_line_and_no_work(name, parameter, made, capsys, tmp_path):
    command = COMMANDS[name]
    group = qnn_train if name.startswith("qnn-train") else cim_hal
    words = name.removeprefix("qnn-train ").split()
    option = next(each for each in command.params if each.name == parameter)
    for value in _wrong(option) or ():
        given = _arguments(command, BASE[name] | {parameter: value})
        assert run(group, [*words, *given]) == 2, value
        said = capsys.readouterr()
        assert (said.out, made) == ("", []), value
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1, value
        if isinstance(option, click.Option) and parameter not in UNNAMED:
            assert max(option.opts, key=len) in said.err
        names = {path.name for path in tmp_path.iterdir()} - {"home", "state"}
        assert names == {"file", "graph", "folder", "study"}, value


def test_samples_do_not_replace_their_model(tmp_path, capsys):
    model, link = tmp_path / "pair.npz", tmp_path / "link.npz"
    np.savez(model, J=np.array([[0.0, 1.0], [1.0, 0.0]]))
    link.symlink_to(model)
    before = model.read_bytes()
    for out in (model, link):
        assert run(cim_hal, ["sample", "emulator", "--model", str(model), "--out", str(out)]) == 2
        assert "is the model" in capsys.readouterr().err
    assert model.read_bytes() == before
