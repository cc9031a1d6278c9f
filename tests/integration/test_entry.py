"""Ctrl-C at any moment of a command, above all before it has begun."""

from __future__ import annotations

import signal
import subprocess
import sys

import processes
import pytest

COMMANDS = {
    "cim_hal.cli": ("describe", "emulator"),
    "qnn_train": ("--train-samples", "4", "--iterations", "1", "--runs", "1", "--quiet"),
}
# Modules that Python has just imported when the interrupt is sent.
MOMENTS = {
    "cim_hal.cli": ("click.types", "cim_hal.console", "pydantic", "numpy"),
    "qnn_train": ("click", "numpy"),
}


@pytest.mark.parametrize(
    ("module", "moment"), [(module, each) for module in MOMENTS for each in MOMENTS[module]]
)
def test_an_interrupt_while_modules_are_imported_shows_no_traceback(module, moment, tmp_path):
    process = processes.start(
        [sys.executable, "-X", "importtime", "-m", module, *COMMANDS[module]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.split()[-1] == moment:
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=100.0)[1].splitlines()
    said = [line for line in rest if line and not line.startswith("import time:")]
    assert process.returncode == 130
    assert said in ([], ["error: interrupted"])


def test_a_crash_in_the_process_of_a_command_is_told():
    code = (
        "import ctypes, cim_hal.entry, cim_hal.console\n"
        "cim_hal.console.run = lambda _: ctypes.string_at(0)\n"
        "cim_hal.entry.run_program('cim_hal.cli.app:program')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=100
    )
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.startswith(b"Fatal Python error: Segmentation fault")
    assert b"in string_at" in done.stderr


def test_two_interrupts_at_once_are_one():
    code = (
        "import os, signal, sys, types, cim_hal.entry, cim_hal.console\n"
        "def main(program):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "def run(program):\n"
        "    cim_hal.entry.accept_interrupts()\n"
        "    return main(program)\n"
        "cim_hal.console.run = run\n"
        "cim_hal.entry.run_program('cim_hal.cli.app:program')\n"
    )
    process = processes.start(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert (*process.communicate(timeout=100.0), process.returncode) == ("", "", 130)
