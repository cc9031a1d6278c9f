"""Energies of all configurations."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import configurations, model

from cim_hal import IsingModel
from cim_hal.model.enumeration import all_energies


@pytest.mark.parametrize("field", [False, True])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_all_energies_are_those_of_the_model(n, field):
    one = model(n, n, field=field)
    np.testing.assert_allclose(all_energies(one), one.energy(configurations(n)), atol=1e-12)


def test_too_many_spins_are_refused():
    with pytest.raises(ValueError, match="21 spins: at most 20"):
        all_energies(IsingModel.from_couplings(np.zeros((21, 21))))
