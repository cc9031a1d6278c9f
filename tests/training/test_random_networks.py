"""Programs of random networks say what an independent forward pass and a search find.

`benchmarks/training/random_programs.py` does thousands.
"""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import REDUCTIONS, check_case, random_case

from qnn_train.program import builder
from qnn_train.program.builder import Affine

N_NETWORKS = 100


FIRST, *OTHERS = REDUCTIONS


@pytest.mark.parametrize(
    "reduction", [FIRST, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)]
)
def test_programs_of_random_networks_are_exact(reduction):
    done = 0
    for number in range(N_NETWORKS):
        rng = np.random.default_rng([0, number])
        done += check_case(random_case(rng), reduction, rng, words=3)["networks"]
    assert done > 2 * N_NETWORKS


def test_a_division_with_a_rest_is_caught(monkeypatch):
    """The control: such a division was once made, and none of the documented examples showed it."""

    def over(self: Affine, divisor: int) -> Affine:
        return Affine(
            self.constant // divisor, {bit: c // divisor for bit, c in self.terms.items()}
        )

    monkeypatch.setattr(builder.Affine, "over", over)
    with pytest.raises(AssertionError):
        test_programs_of_random_networks_are_exact("one-hot")
