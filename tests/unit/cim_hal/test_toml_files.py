from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

import cim_hal
from cim_hal import TargetError
from cim_hal.toml_files import FileTable, did_you_mean, read_file


class Laser(FileTable):
    power: Annotated[float, Field(ge=0)]
    channels: Annotated[list[int], Field(max_length=3)] = Field(default_factory=list)
    name: str = ""


class BenchFile(FileTable):
    laser: Laser
    on: bool = False


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> BenchFile:
        (tmp_path / "bench.toml").write_text(text, encoding="utf-8")
        return read_file(tmp_path / "bench.toml", BenchFile, "a bench", TargetError)

    return read


def test_what_a_file_says_is_read(read):
    bench = read("on = true\n[laser]\npower = 1\nchannels = [1, 2]\n")
    assert (bench.on, bench.laser.power, bench.laser.channels) == (True, 1.0, [1, 2])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[laser]\npower = 1\npowr = 2", "laser: there is no key 'powr'; did you mean power?"),
        ("[laser]\npower = 1\n[lazer]\n", "no key 'lazer'; did you mean laser?"),
        ("xyzzy = 1\n[laser]\npower = 1", "no key 'xyzzy'; known: laser, on"),
        ("[laser]\nname = 'a'", "laser.power: it is missing"),
        ("[laser]\npower = nan", "laser.power = nan: it should be"),
        ("[laser]\npower = inf", "laser.power = inf: it should be a finite number"),
        ("[laser]\npower = true", "laser.power = True: it should be a number"),
        ("[laser]\npower = '1'", "laser.power = '1': it should be a number"),
        ("[laser]\npower = 1979-05-27", "laser.power: it should be a number"),
        ("[laser]\npower = -1", "laser.power = -1: it should be greater than or equal to 0"),
        ("[laser]\npower = 1\nchannels = [1.5]", "channels[0] = 1.5: it should be a whole number"),
        ("[laser]\npower = 1\nname = 3", "laser.name = 3: it should be a text"),
        ("on = 1\n[laser]\npower = 1", "on = 1: it should be true or false"),
        ("laser = 3", "laser = 3: it should be a table"),
        ("[[laser]]\npower = 1", "laser = [{'power': 1}]: it should be a table"),
        ("[laser]\npower = 1\npower = 2", "is not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 20_000, "is not TOML"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_named(read, text, says):
    with pytest.raises(TargetError, match=re.escape(says)) as caught:
        read(text)
    assert "bench.toml" in str(caught.value)


@pytest.mark.parametrize(("content", "says"), [(b"\xff", "not TOML"), (b"#" * 2**21, "too large")])
def test_bytes_that_are_no_text_or_too_many_are_refused(tmp_path, content, says):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(TargetError, match=says):
        read_file(path, BenchFile, "a bench", TargetError)
    with pytest.raises(TargetError, match="is not a file"):
        read_file(tmp_path, BenchFile, "a bench", TargetError)
    with pytest.raises(TargetError, match="No such file"):
        read_file(tmp_path / "none", BenchFile, "a bench", TargetError)


def test_a_far_name_gets_all_there_are():
    assert did_you_mean("gian", ["gain", "pump"]) == "did you mean gain?"
    assert did_you_mean("x", ["gain", "pump"]) == "known: gain, pump"
    assert did_you_mean("a.dead", ["a.seed", "a.dead_share"]) == "did you mean a.dead_share?"


def test_no_other_module_reads_toml():
    root = Path(cim_hal.__file__).parents[1]
    readers = {
        path.name
        for package in ("cim_hal", "emulator", "qnn_train")
        for path in (root / package).rglob("*.py")
        if "tomllib" in path.read_text(encoding="utf-8")
    }
    assert readers == {"toml_files.py"}
