"""Lowering policies: what the server then takes as it is, and what is left of the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import Capabilities, CapabilityError, IsingModel, ModelError, lower, lower_by
from cim_hal.machine.policies import POLICIES, Policy
from cim_hal.model.enumeration import all_energies

ALL = (*POLICIES, "quantile:0.9", "splitting:0.9")


def machine(bits: int | None, *, field_bits: int | None = None, max_spins: int = 500):
    return Capabilities(
        name="levels",
        max_spins=max_spins,
        coupling_bits=bits,
        has_field=field_bits is not None,
        field_bits=field_bits,
    )


def drawn(seed: int, *, n: int = 9, field: bool = True, is_sparse: bool = False) -> IsingModel:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.7), 1)
    upper[0, 1] = 30
    J = upper + upper.T
    h = rng.normal(size=n) if field else None
    return IsingModel.from_couplings(sp.csr_array(J) if is_sparse else J, h, offset=2)


def numbers(model: IsingModel) -> np.ndarray:
    J = model.J if isinstance(model.J, np.ndarray) else model.J.toarray()
    return np.r_[J[np.triu_indices(len(J), 1)], model.h]


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("field_bits", [None, 3, 8])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_the_server_takes_what_is_sent_without_an_error(policy, field_bits, is_sparse):
    for seed, bits in enumerate((2, 3, 5, 8)):
        here = machine(bits, field_bits=field_bits)
        model = drawn(seed, field=seed != 2, is_sparse=is_sparse)
        lowered = lower_by(policy, model, here, seed=seed)
        report = lower(lowered.model, here).report
        if policy != "max":
            assert (report.step, report.max_error) == (1, 0)
            assert lowered.model.is_sparse == is_sparse
        assert lowered.rounded.n_spins == model.n_spins
        assert (lowered.auxiliary_spins > 0) == policy.startswith("splitting")


@pytest.mark.parametrize("field_bits", [None, 4])
def test_max_is_what_the_server_does(field_bits):
    model, here = drawn(0), machine(4, field_bits=field_bits)
    lowered, report = lower_by("max", model, here), lower(model, here).report
    assert lowered.model is model
    assert lowered.step == report.step
    assert lowered.max_error == pytest.approx(report.max_error)
    assert lowered.energy_error_bound == pytest.approx(report.energy_error_bound)


@pytest.mark.parametrize("policy", ALL)
def test_integers_that_fit_stay_as_they_are(policy):
    model = IsingModel.from_couplings([[0, 3, -2], [3, 0, 1], [-2, 1, 0]], [1, 0, -3])
    lowered = lower_by(policy, model, machine(3), seed=1)
    assert lowered.model is model
    assert (numbers(lowered.rounded) == numbers(model)).all()


def test_the_energy_error_is_that_over_all_configurations():
    model = drawn(3, n=6)
    lowered = lower_by("least-error", model, machine(4))
    spins = 1 - 2 * (np.arange(64)[:, None] >> np.arange(6) & 1)
    off = model.energy(spins) - model.offset - lowered.step * lowered.rounded.energy(spins)
    assert np.sqrt((off**2).mean()) == pytest.approx(lowered.energy_error)
    assert np.abs(off).max() <= lowered.energy_error_bound * (1 + 1e-12)


def test_no_step_has_less_error_than_the_least():
    here = machine(3)
    for seed in range(20):
        model = drawn(seed, n=7)
        model = IsingModel.from_couplings(np.where(model.J == 30, 4.0, model.J), model.h)
        least = lower_by("least-error", model, here)
        v = numbers(model)
        steps = np.geomspace(0.05, 5, 4000)[:, None]
        errors = ((v - steps * np.clip(np.rint(v / steps), -3, 3)) ** 2).sum(axis=1)
        # Tried steps are few: it may be the second best of several minima, by little.
        assert least.energy_error <= 1.05 * np.sqrt(errors.min())
        assert least.energy_error <= lower_by("max", model, here).energy_error


def test_the_least_error_of_many_couplings_is_found_from_few_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(size=(80, 80)), 1)
    upper[0, 1] = 30
    model = IsingModel.from_couplings(upper + upper.T, rng.normal(size=80))
    whole = lower_by("least-error", model, machine(5)).energy_error
    monkeypatch.setattr("cim_hal.machine.policies.MOST_TRIED", 200)
    assert lower_by("least-error", model, machine(5)).energy_error <= 1.02 * whole


@pytest.mark.parametrize("policy", [each for each in ALL if each != "max"])
def test_multiples_of_one_unit_have_no_error(policy):
    J = np.array([[0, 1.5, -50], [1.5, 0, 0.5], [-50, 0.5, 0]])
    lowered = lower_by(policy, IsingModel.from_couplings(J, [0, 2, 0]), machine(8))
    assert (lowered.step, lowered.max_error) == (0.5, 0)
    assert lowered.model.J[0, 2] == -100


def test_a_quantile_clips_the_share_above_it_and_one_clips_nothing():
    model, here = drawn(1, n=12, field=False), machine(5)
    whole = lower_by("quantile:1", model, here)
    assert (numbers(whole.rounded) == numbers(lower_by("max", model, here).rounded)).all()
    clipped = lower_by("quantile:0.9", model, here)
    v = np.abs(numbers(model))
    count = np.count_nonzero(v)
    assert np.count_nonzero(v > 15 * clipped.step) == count - 1 - int(0.9 * (count - 1))


def test_stochastic_rounding_is_unbiased_and_repeats_with_its_seed():
    model, here, n = drawn(2, n=8), machine(3), 4000
    found = np.array(
        [
            lowered.step * numbers(lowered.rounded)
            for lowered in (lower_by("stochastic", model, here, seed=k) for k in range(n))
        ]
    )
    v = numbers(model)
    step = lower_by("max", model, here).step
    up = v / step - np.floor(v / step)
    error = step * np.sqrt(up * (1 - up) / n)
    # 44 numbers: 4.5 standard errors are passed by chance in 3 of 10,000 sets of seeds
    assert (np.abs(found.mean(axis=0) - v) <= 4.5 * error + 1e-9).all()
    again = lower_by("stochastic", model, here, seed=3)
    assert (step * numbers(again.rounded) == found[3]).all()


def test_splitting_keeps_integers_exactly_and_quantiles_round_them():
    rng = np.random.default_rng(0)
    upper = np.triu(rng.integers(-9, 10, (10, 10)), 1).astype(float)
    upper[2, 3] = 700
    model = IsingModel.from_couplings(upper + upper.T)
    exact = lower_by("splitting", model, machine(8))
    assert (exact.step, exact.max_error, exact.auxiliary_spins) == (1, 0, 5)
    coarse = lower_by("splitting:0.99", model, machine(4))
    assert coarse.step == pytest.approx(9 / 7)
    assert coarse.auxiliary_spins == 77  # 544 levels on the spin's 7 and on copies of 7


@pytest.mark.parametrize("policy", POLICIES)
def test_numbers_of_any_size_are_lowered_or_refused(policy):
    for far in (1e290, 1e-290, 2.0**60):
        J = np.array([[0, far, 1], [far, 0, 0], [1, 0, 0]])
        model = IsingModel.from_couplings(J)
        try:
            lowered = lower_by(policy, model, machine(8))
        except ModelError:
            assert policy == "splitting"
            continue
        assert np.isfinite([lowered.step, lowered.energy_error, lowered.energy_error_bound]).all()
        assert lower(lowered.model, machine(8)).report.max_error == 0 or policy == "max"


def test_what_cannot_be_is_refused():
    model = drawn(0)
    with pytest.raises(ModelError, match=r"lowering = 'maximal' \(one of max, quantile"):
        lower_by("maximal", model, machine(8))
    for text in ("quantile:0", "splitting:2", "quantile:x"):
        with pytest.raises(ModelError, match="a quantile is above 0, at most 1"):
            Policy.of(text)
    with pytest.raises(ModelError, match="levels takes real numbers"):
        lower_by("splitting", model, machine(None))
    with pytest.raises(CapabilityError, match="auxiliary spins; fewer with splitting:QUANTILE"):
        lower_by("splitting", model, machine(3, max_spins=12))
    assert lower_by("max", model, machine(None)).model is model


def choice(n: int, k: int, penalty: float) -> IsingModel:
    """Choose the k cheapest of n, under a penalty far above the costs."""
    Q = penalty * (np.ones((n, n)) - 2 * k * np.eye(n)) + np.diag(np.linspace(-1, 1, n))
    return IsingModel.from_qubo(Q, offset=penalty * k**2)


def ground_states(model: IsingModel) -> list[int]:
    energies = all_energies(model)
    return np.flatnonzero(energies <= energies.min() + 1e-9).tolist()


@pytest.mark.parametrize("bits", [None, 8])
def test_weakening_keeps_the_optimum_that_few_levels_lose(bits):
    model, here = choice(14, 4, 1000.0), machine(bits, field_bits=bits or 16)
    lowered = lower_by("weakening", model, here)
    assert ground_states(lowered.rounded) == ground_states(model) == [0b1111]
    assert 0 < lowered.penalty_share < 0.1
    assert lowered.model.n_spins == 14
    assert lowered.energy_error > 0
    plain = lower_by("max", model, here).rounded
    assert len(ground_states(plain)) == (1 if bits is None else math.comb(14, 4))


def test_weakening_sends_other_models_as_they_are_or_rounded():
    model = drawn(2)
    assert lower_by("weakening", model, machine(None)).model is model
    lowered = lower_by("weakening", model, machine(4))
    assert (numbers(lowered.model) == numbers(lower_by("max", model, machine(4)).rounded)).all()
    assert lowered.penalty_share == 1
