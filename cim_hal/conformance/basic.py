"""Checks of shapes, limits and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cim_hal.conformance.verdict import CheckFailed, NotApplicable, require
from cim_hal.errors import CapabilityError
from cim_hal.model.ising import IsingModel
from cim_hal.model.schedule import PumpSchedule

if TYPE_CHECKING:
    from cim_hal.conformance.machine_under_test import MachineUnderTest

__all__ = [
    "constant_description",
    "largest_program",
    "many_runs",
    "refusals",
    "schedules",
    "smallest_program",
]

MANY_RUNS = 1000
SHORT = 100  # round trips, where only the shape of the result matters


def ring(n_spins: int) -> IsingModel:
    """Return a ferromagnetic ring, a pair, or a single spin."""
    here = np.arange(n_spins)
    there = (here + 1) % n_spins
    pairs = sp.coo_array((np.ones(n_spins), (here, there)), shape=(n_spins, n_spins))
    J = sp.csr_array(sp.triu(pairs + pairs.T, k=1) > 0).astype(float)
    return IsingModel.from_couplings(sp.csr_array(J + J.T))


def short(machine: MachineUnderTest) -> PumpSchedule:
    """Return the recommended schedule with fewer round trips."""
    schedule = machine.capabilities.default_schedule
    return schedule.stretched(min(SHORT, schedule.round_trips))


def constant_description(machine: MachineUnderTest) -> str:
    """Check that the description is the same each time."""
    first = machine.capabilities
    for _ in range(3):
        again = machine.session.describe().capabilities
        changed = [name for name, value in first if getattr(again, name) != value]
        require(not changed, f"these fields changed from one call to the next: {changed}")
    bits = "real" if first.coupling_bits is None else f"{first.coupling_bits}-bit"
    return f"{first.name}: {first.max_spins} spins, {bits} couplings"


def smallest_program(machine: MachineUnderTest) -> None:
    """Check that one spin and two spins can be run."""
    for n_spins in (1, 2):
        if n_spins <= machine.capabilities.max_spins:
            _shape(machine, n_spins, 1)


def largest_program(machine: MachineUnderTest) -> str:
    """Check that all spins there are can be run."""
    n_spins = machine.capabilities.max_spins
    _shape(machine, n_spins, 1)
    return f"{n_spins} spins"


def many_runs(machine: MachineUnderTest) -> str:
    """Check that a job can have as many runs as are announced, up to a thousand."""
    n_runs = min(machine.capabilities.max_runs, MANY_RUNS)
    _shape(machine, min(4, machine.capabilities.max_spins), n_runs)
    return f"{n_runs} runs"


def schedules(machine: MachineUnderTest) -> None:
    """Check that the ends of the pump's range, one round trip and many knots can be run."""
    low, high = machine.capabilities.pump_range
    model = ring(min(4, machine.capabilities.max_spins))
    n = min(SHORT, machine.capabilities.max_round_trips)
    middle = 0.5 * (low + high)
    for schedule in (
        PumpSchedule.constant(low, round_trips=n),
        PumpSchedule.constant(high, round_trips=n),
        PumpSchedule.constant(middle, round_trips=1),
        PumpSchedule(tuple(np.linspace(low, high, 64)), n),
    ):
        samples = machine.sample(model, n_runs=2, schedule=schedule)
        require(len(samples) == 2, f"{len(samples)} of 2 runs came back with {schedule}")


def refusals(machine: MachineUnderTest) -> None:
    """Check that what is beyond the capabilities is refused, and the machine goes on."""
    can, model = machine.capabilities, ring(min(4, machine.capabilities.max_spins))
    beyond: dict[str, dict[str, Any]] = {
        "max_spins": {"model": ring(can.max_spins + 1)},
        "max_runs": {"n_runs": can.max_runs + 1},
        "pump_range": {"schedule": PumpSchedule.constant(can.pump_range[1] + 1.0, round_trips=1)},
    }
    if can.coupling_bits is not None and can.coupling_bits < 16:
        beyond["coupling_bits"] = {"coupling_bits": can.coupling_bits + 1}
    for what, change in beyond.items():
        arguments = {"model": model, "n_runs": 1, "seed": 0} | change
        try:
            machine.session.sample(timeout_s=machine.timeout_s, **arguments)
        except CapabilityError as error:
            refused = error.details["what"]
            require(refused == what, f"beyond {what} it refused {refused}")
        else:
            raise CheckFailed(f"more than {what} was taken")
    _shape(machine, model.n_spins, 1)


def _shape(machine: MachineUnderTest, n_spins: int, n_runs: int) -> None:
    model = ring(n_spins)
    if n_spins > machine.capabilities.max_spins:
        raise NotApplicable(f"{n_spins} spins do not fit")
    arguments = {"schedule": short(machine), "seed": machine.seed, "timeout_s": machine.timeout_s}
    samples = machine.session.sample(model, n_runs=n_runs, **arguments)
    shape = samples.spins.shape
    require(shape == (n_runs, n_spins), f"the spins have shape {shape}, not {(n_runs, n_spins)}")
    require(bool((np.abs(samples.spins) == 1).all()), "there are spins other than -1 and +1")
    energies = model.energy(samples.spins)
    require(bool(np.allclose(energies, samples.energies)), "energies are not those of the spins")
