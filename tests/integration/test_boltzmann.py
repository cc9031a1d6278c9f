"""A Boltzmann machine of D-Wave's plugin for PyTorch, trained with noisy oscillators as sampler.

torch is in an environment of its own: `.ci/environments --all`.
"""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from source_tree import ROOT

pytest.importorskip("dimod")


def test_a_boltzmann_machine_learns_from_noisy_oscillators():
    """Exact samples come to about half of the bound, and no training to thirty times as much."""
    pytest.importorskip("torch", reason="in an environment of its own: .ci/environments --all")
    boltzmann = runpy.run_path(str(ROOT / "benchmarks/boltzmann.py"))
    data = boltzmann["exact"](boltzmann["random_model"](8, 100))
    uniform = boltzmann["divergence"](data, np.full(256, 1 / 256))
    with boltzmann["Oscillators"]() as sampler:
        found = boltzmann["train"](sampler)
        assert sampler.beta == pytest.approx(1, abs=0.2)
    assert found < 0.05 < uniform / 10
