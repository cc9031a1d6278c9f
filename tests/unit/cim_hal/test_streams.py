"""Commands in processes of their own, with standard streams that are full, closed or not read."""

from __future__ import annotations

import subprocess
import sys

import pytest

CIM = "-m cim_hal.cli"
# A list of machines imports all of them: seconds. A page of help takes a tenth of one.
LIST, HELP = f"{CIM} list --json", f"{CIM} --help"
COMMANDS = (LIST, pytest.param(f"{CIM} list", marks=pytest.mark.slow), HELP, "-m qnn_train --help")


def _run(command: str, redirection: str, *, unbuffered: bool = False):
    shell = (
        f"set -o pipefail; {sys.executable} {'-u' if unbuffered else ''} {command} {redirection}"
    )
    command_line = ["bash", "-c", shell]
    return subprocess.run(command_line, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_is_full_is_one_line_and_a_status(command):
    done = _run(command, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("command", "redirection", "says", "unbuffered"),
    [
        (HELP, ">&-", "it is closed", False),
        (HELP, ">&-", "it is closed", True),
        (LIST, "| true", "Broken pipe", False),  # which has ended when the list is there
        pytest.param(LIST, "| true", "Broken pipe", True, marks=pytest.mark.slow),
        pytest.param(LIST, ">&-", "it is closed", True, marks=pytest.mark.slow),
    ],
)
def test_output_that_nobody_takes_is_one_line_too(command, redirection, says, unbuffered):
    done = _run(command, redirection, unbuffered=unbuffered)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: cannot write to standard output: {says}\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_errors_that_cannot_be_told_keep_their_status(redirection):
    assert _run(f"{CIM} nosuch", redirection).returncode == 2
    done = _run(HELP, redirection)
    assert (done.returncode, done.stdout[:6]) == (0, "Usage:")


def test_a_command_without_output_needs_none():
    code = (
        "-c 'from cim_hal.console import run; import click, sys\n"
        'sys.exit(run(click.Command("t", callback=lambda: None), []))\''
    )
    assert _run(code, ">/dev/full 2>&1").returncode == 0


def test_a_file_does_not_get_the_number_of_a_closed_stream():
    code = (
        "-c 'import sys, click, os; from cim_hal.console import run\n"
        "def f():\n"
        "    raise SystemExit(5 if os.open(os.devnull, os.O_RDONLY) > 2 else 6)\n"
        'run(click.Command("t", callback=f), [])\''
    )
    assert _run(code, "<&- >&- 2>&-").returncode == 5


def test_live_output_ends_with_its_reader():
    done = _run(f"{CIM} monitor tcp://127.0.0.1:9 --json --every 0.1", "| true")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
