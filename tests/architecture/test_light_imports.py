"""What an import does not bring along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sklearn", "torch", "matplotlib", "ortools", "onnx")
# What a list of commands does without, beside all that is heavy.
UNUSED = ("numpy", "scipy", "numba", "pydantic", "zmq", "rich", *HEAVY)

HELP = """
import contextlib, io, sys
from cim_hal import console
from cim_hal.cli.app import program
with contextlib.redirect_stdout(io.StringIO()):
    for arguments in {arguments}:
        assert console.run(program, arguments) == 0
print([name for name in {heavy} if name in sys.modules])
"""


def _imported_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["cim_hal", "qnn_train", "qnn_train.cli.app"])
def test_heavy_packages_are_imported_only_where_they_are_used(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    assert _imported_by(code) == "[]"


def test_the_list_of_commands_imports_no_package_of_the_commands():
    arguments = [["--help"], ["-h"], ["--version"]]
    assert _imported_by(HELP.format(arguments=arguments, heavy=UNUSED)) == "[]"


def test_the_help_of_a_command_imports_nothing_heavy():
    from cim_hal.cli.app import COMMANDS

    arguments = [[name, "--help"] for name in COMMANDS]
    heavy = ("scipy.stats", "numba", *HEAVY)
    assert _imported_by(HELP.format(arguments=arguments, heavy=heavy)) == "[]"


def test_an_import_of_cim_hal_imports_the_names_when_they_are_used():
    code = (
        f"import sys, cim_hal; print([name for name in {UNUSED} if name in sys.modules]);"
        "cim_hal.CimError; print('numpy' in sys.modules);"
        "cim_hal.IsingModel; print('numpy' in sys.modules)"
    )
    assert _imported_by(code).split() == ["[]", "False", "True"]


def test_servers_and_clients_do_without_files_of_models():
    code = (
        "import sys, cim_hal.server.service, cim_hal.client.session; "
        "print([name for name in sys.modules if 'cim_hal.model' in name and 'file' in name])"
    )
    assert _imported_by(code) == "[]"


def test_a_client_does_without_the_core_of_the_server():
    code = "import sys, cim_hal.client.session; print('cim_hal.protocol.core' in sys.modules)"
    assert _imported_by(code) == "False"


def test_a_job_of_dense_couplings_does_without_sparse_matrices():
    code = (
        "import sys; sys.path.insert(0, 'tests/support'); import cim_hal.cli.serve; "
        "from cim_hal import IsingModel, open_device; "
        "device = open_device('cim_machines:Annealer'); "
        "device.sample(IsingModel.from_couplings([[0, 1], [1, 0]])); device.close(); "
        "print('scipy.sparse' in sys.modules)"
    )
    assert _imported_by(code) == "False"


def test_the_process_of_a_driver_does_without_the_network():
    network = ("zmq", "cim_hal.protocol.wire.messages", "cim_hal.protocol.core")
    code = (
        "import sys, cim_hal.server.driver.child_main; "
        f"print([name for name in {network} if name in sys.modules])"
    )
    assert _imported_by(code) == "[]"


def test_an_emulator_is_made_without_what_only_some_machines_use_of_scipy():
    parts = ("scipy.optimize", "scipy.special", "scipy.linalg", "scipy.sparse")
    code = (
        "import sys; from cim_hal import make_driver; make_driver('emulator'); "
        f"print([name for name in {parts} if name in sys.modules])"
    )
    assert _imported_by(code) == "[]"


NOT_FOR_HELP = (*HEAVY, "numba", "scipy.stats")


@pytest.mark.parametrize("command", ["", "qcbo"])
def test_the_help_of_training_imports_nothing_heavy_nor_the_solvers(command):
    code = (
        "import sys; from cim_hal.console import run; "
        "from qnn_train.cli.app import program; "
        f"assert run(program, [*{command.split()}, '--help']) == 0; "
        f"print([name for name in {(*NOT_FOR_HELP, 'qnn_train.solve')} if name in sys.modules])"
    )
    assert _imported_by(code).splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="hides what Linux has")
def test_all_but_the_process_of_a_driver_is_imported_without_posix():
    script = Path(__file__).parents[1] / "support/without_posix.py"
    done = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
