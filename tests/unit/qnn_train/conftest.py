"""A machine that only guesses, and two digits to tell apart."""

from __future__ import annotations

import pytest

from qnn_train import load_digits


@pytest.fixture
def guessing(monkeypatch, tmp_path):
    """Name a driver that a server process can import."""
    lines = [
        "import numpy as np",
        "from cim_hal import Capabilities, Driver, Readout, emulated",
        "@emulated",
        "class Guessing(Driver):",
        "    def describe(self):",
        "        return Capabilities(name='guessing', max_spins=400, coupling_bits=8)",
        "    def run(self, program, stop):",
        "        rng = np.random.default_rng(program.seed)",
        "        return Readout(rng.choice([-1, 1], (program.n_runs, program.n_spins)))",
    ]
    (tmp_path / "guessing_bench.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    return "guessing_bench:Guessing"


@pytest.fixture(scope="module")
def pair():
    return load_digits().pair(3, 6)
