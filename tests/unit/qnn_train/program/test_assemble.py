"""Samples and networks as programs: what is refused, and what takes no spin."""

from __future__ import annotations

import pytest

from qnn_train import (
    AssemblyError,
    SquaredLoss,
    assemble,
    threshold_unit,
    weight_code,
)


@pytest.mark.parametrize(
    ("inputs", "labels", "sentence"),
    [
        ([[1, 1, 1]], [1], "inputs have shape"),
        ([[1, 1]], [1, 1], "labels have shape"),
        ([[1, 1]], [2], "-1 or \\+1"),
        ([[0.5, 1]], [1], "integers"),
    ],
)
def test_samples_that_make_no_program_are_refused(inputs, labels, sentence):
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    with pytest.raises(AssemblyError, match=sentence):
        assemble(unit, inputs, labels, loss=SquaredLoss(1.0))
