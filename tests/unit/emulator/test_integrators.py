"""Which integrator goes with which equation, and what one says of itself."""

from __future__ import annotations

import dataclasses

import pytest

from emulator import (
    EulerMaruyama,
    Heun,
    LinearlyImplicitEuler,
    MeanField,
    PositiveP,
    RungeKutta4,
    StrangSplitting,
    TruncatedWigner,
)
from emulator.integrators import ItoIntegrator, StratonovichIntegrator

ALL = [EulerMaruyama(), Heun(), LinearlyImplicitEuler(), RungeKutta4(), StrangSplitting()]


@pytest.mark.parametrize("machine", [TruncatedWigner, PositiveP])
@pytest.mark.parametrize("integrator", [Heun(), RungeKutta4()])
def test_a_stratonovich_integrator_is_refused_by_an_equation_of_ito(machine, integrator):
    with pytest.raises(ValueError, match=r"sense of Stratonovich.* written in that of Itô"):
        machine(integrator=integrator)
    assert machine(integrator=integrator, interpretation="stratonovich").integrator is integrator


@pytest.mark.parametrize("machine", [TruncatedWigner, PositiveP])
@pytest.mark.parametrize("integrator", [EulerMaruyama(), StrangSplitting()])
def test_an_ito_integrator_is_refused_by_an_equation_of_stratonovich(machine, integrator):
    with pytest.raises(ValueError, match=r"sense of Itô.* written in that of Stratonovich"):
        machine(integrator=integrator, interpretation="stratonovich")


@pytest.mark.parametrize("integrator", ALL[:-1])
def test_additive_noise_goes_with_every_sense(integrator):
    assert MeanField(integrator=integrator, noise=0.1).integrator == integrator


@pytest.mark.parametrize(
    ("machine", "integrator"),
    [
        (MeanField, StrangSplitting()),
        (TruncatedWigner, LinearlyImplicitEuler()),
        (PositiveP, LinearlyImplicitEuler()),
    ],
)
def test_an_integrator_that_needs_another_kind_of_equation_is_refused(machine, integrator):
    with pytest.raises(ValueError, match=rf"{type(integrator).__name__}\(\) does not serve"):
        machine(integrator=integrator)


@pytest.mark.parametrize("machine", [TruncatedWigner, PositiveP])
def test_a_third_sense_is_out_of_range(machine):
    with pytest.raises(ValueError, match="interpretation = klimontovich"):
        machine(interpretation="klimontovich")


@pytest.mark.parametrize("integrator", ALL)
def test_an_integrator_is_a_value_whose_type_says_its_sense(integrator):
    kinds = {"ito": ItoIntegrator, "stratonovich": StratonovichIntegrator}
    assert isinstance(integrator, kinds[integrator.interpretation])
    assert integrator == dataclasses.replace(integrator)
    assert repr(integrator) == f"{type(integrator).__name__}()"
