"""The unit of systemd and the Dockerfile say what this version of the commands understands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser

import click
import pytest
from source_tree import ROOT

from cim_hal.cli.serve import serve

FOLDER = ROOT / "docs/how-to/service"
UNIT, DOCKERFILE = FOLDER / "cim-hal@.service", FOLDER / "Dockerfile"


def _service() -> dict[str, str]:
    unit = ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read(UNIT, encoding="utf-8")
    return dict(unit["Service"])


def _options(command: list[str]) -> dict[str, str]:
    """Return the options of ``cim-hal serve``, or fail where it has none of that name."""
    known = {o: p for p in serve.params if isinstance(p, click.Option) for o in p.opts}
    given = dict(zip(command[::2], command[1::2], strict=True))
    assert set(given) <= set(known)
    assert not any(known[name].is_flag for name in given)
    return given


def test_the_unit_starts_a_server_that_ends_in_the_time_it_is_given():
    service = _service()
    program, name, target, *options = shlex.split(service["ExecStart"])
    assert (program, name, target) == ("/opt/cim-hal/bin/cim-hal", "serve", "/etc/cim-hal/%i.toml")
    given = _options(options)
    copy = shlex.split(service["ExecStartPre"])
    assert given["--key"] == copy[-1], "the key that was copied"
    assert float(service["TimeoutStopSec"]) >= float(given["--drain"]) + 15 + 5


def test_the_unit_writes_where_it_may():
    service = _service()
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")
    text = UNIT.read_text(encoding="utf-8")
    for specifier, kind in {"S": "State", "C": "Cache", "t": "Runtime"}.items():
        assert service[f"{kind}Directory"] == "cim-hal-%i"
        assert {*re.findall(rf"%{specifier}/([^/ \n]+)", text)} == {"cim-hal-%i"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_takes_the_unit(tmp_path):
    here = shutil.which("true")
    text = UNIT.read_text(encoding="utf-8").replace("/opt/cim-hal/bin/cim-hal", str(here))
    (tmp_path / "cim-hal@bench.service").write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", str(tmp_path / "cim-hal@bench.service")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def _instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_the_container_starts_a_server():
    steps = dict(_instructions())  # the last of each name
    assert json.loads(steps["ENTRYPOINT"]) == ["cim-hal", "serve"]
    _, *options = json.loads(steps["CMD"])
    given = _options(options)
    assert given["--state"].startswith(*json.loads(steps["VOLUME"]))
    assert given["--bind"].endswith(f":{steps['EXPOSE']}")
    assert steps["USER"].isdigit()
    assert steps["USER"] in next(rest for name, rest in _instructions() if "useradd" in rest)


def test_the_container_is_built_from_what_is_there():
    text = DOCKERFILE.read_text(encoding="utf-8")
    named = re.findall(r"/src/([\w.]+)", text)
    assert sorted(named) == ["cim_hal", "requirements.lock"]
    assert all((ROOT / name).exists() for name in named)
    assert str(DOCKERFILE.relative_to(ROOT)) in text


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint")
def test_hadolint_takes_the_dockerfile():
    subprocess.run(["hadolint", str(DOCKERFILE)], check=True)


def test_the_page_shows_both():
    page = (ROOT / "docs/how-to/serve-a-machine.md").read_text(encoding="utf-8")
    assert {*re.findall(r"literalinclude\} service/(\S+)", page)} == {UNIT.name, DOCKERFILE.name}
