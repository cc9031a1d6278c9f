"""What an import does not bring along."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("sklearn", "torch", "matplotlib", "ortools", "onnx")


@pytest.mark.parametrize("module", ["cim_hal", "qnn_train", "qnn_train.__main__"])
def test_heavy_packages_are_imported_only_where_they_are_used(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
