"""Run k of a seed is the same bits, whatever the threads and however many runs a job has."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import Capabilities, IsingModel
from emulator import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Converter,
    EmulatedCim,
    MeanField,
    MeasurementFeedback,
    PositiveP,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
    TruncatedWigner,
)
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.dynamics.nmfa import NoisyMeanFieldAnnealing
from emulator.dynamics.simcim import SimCim

BITS = {"adc": Converter(full_scale=0.12, bits=8), "dac": Converter(full_scale=0.2, bits=12)}
PHYSICAL = [
    MeasurementFeedback(),
    MeasurementFeedback(adc=Converter(full_scale=0.1)),
    MeasurementFeedback(delay=0, precision="double"),
    GaussianFeedback(),
    GaussianFeedback(**BITS),
    GaussianFeedback(measurement_decay=3.0, field_amplitude=0.1),
    MeanField(noise=0.01),
    TruncatedWigner(coupling_loss=1.0),
    PositiveP(coupling_gain=0.1),
]
WATCHED = [
    BestSeen(dynamics=dynamics)
    for dynamics in (
        ChaoticAmplitudeControl(),
        ChaoticFeedbackControl(),
        SeparatedFeedbackControl(),
        AmplitudeHeterogeneityCorrection(),
        SimulatedBifurcation(variant="adiabatic"),
        SimulatedBifurcation(variant="ballistic"),
        SimulatedBifurcation(variant="discrete"),
        SimCim(),
        NoisyMeanFieldAnnealing(),
    )
]
FORMS = {
    "integers": lambda J: np.rint(5 * J),
    "sparse integers": lambda J: sp.csr_array(np.rint(5 * J)),
    "reals": np.asarray,
    "sparse reals": sp.csr_array,
}


def _cases():
    """All dynamics by all forms; each form is compiled anew: quick tests have two of dense ones."""
    for dynamics, form in product(PHYSICAL + WATCHED, FORMS):
        is_quick = form == "integers" or (dynamics is PHYSICAL[0] and form == "reals")
        marks = () if is_quick else pytest.mark.slow
        yield pytest.param(dynamics, form, marks=marks, id=f"{dynamics}-{form}")


@pytest.mark.parametrize(("dynamics", "form"), list(_cases()))
def test_neither_threads_nor_the_number_of_runs_change_a_run(dynamics, form, amplitudes_of):
    rng = np.random.default_rng(5)
    upper = np.triu(rng.normal(size=(37, 37)), 1)
    h = rng.integers(-3, 4, 37) if dynamics.has_field else None
    model = IsingModel.from_couplings(FORMS[form](upper + upper.T), h)
    capabilities = Capabilities(
        name="test",
        max_spins=100,
        coupling_bits=8 if dynamics.largest_code is not None else None,
        has_field=dynamics.has_field,
        default_pump=(0.0, 1.2),
    )

    def run(threads: int, n_runs: int):
        driver = EmulatedCim(dynamics, capabilities=capabilities, threads=threads)
        return amplitudes_of(driver, model, n_runs=n_runs, round_trips=40)

    whole = run(1, 150)  # blocks of 64, 64 and 22
    assert whole.shape == (150, 37)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    # one block of 1, of 64 and of 2 x 32, of 65 and of 150
    for threads, n_runs in ((1, 1), (1, 64), (2, 64), (1, 65), (2, 65), (3, 150)):
        np.testing.assert_array_equal(run(threads, n_runs), whole[:n_runs])
