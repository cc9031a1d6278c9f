"""Machines as records: their numbers, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal import Capabilities
from emulator.dynamics.best_seen import BestSeen
from emulator.machine import EmulatedCim

if TYPE_CHECKING:
    from emulator.dynamics.base import Dynamics
    from emulator.optics import FibreCavity

__all__ = ["Preset", "algorithm"]

# What a record says of a machine: each is published, or else assumed.
NUMBERS = (
    "max_spins",
    "coupling_bits",
    "pulses",
    "pulse_rate_hz",
    "fibre_length_m",
    "round_trips",
    "dynamics",
)


# From no pump to the threshold of a lone oscillator.
RAMP = (0.0, 1.0)
HIGHEST_PUMP = 4.0
ROUND_TRIPS = 2000
MAX_ROUND_TRIPS = 1_000_000


def algorithm(
    name: str,
    title: str,
    dynamics: Dynamics,
    *,
    pump: tuple[float, ...] = RAMP,
    highest_pump: float = HIGHEST_PUMP,
    round_trips: int = ROUND_TRIPS,
) -> EmulatedCim:
    """Return an algorithm as a machine: real couplings, a field, and the best a run has seen.

    Parameters
    ----------
    name : str
        The machine is called ``emulator-`` and this.
    title : str
        Of the algorithm, for people.
    dynamics : Dynamics
    pump, highest_pump, round_trips
        The recommended schedule, in thresholds, and the end of the pump's range.
    """
    capabilities = Capabilities(
        name=f"emulator-{name}",
        description=f"{title}, with real couplings and a field; the best a run has seen.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        max_round_trips=MAX_ROUND_TRIPS,
        pump_range=(0.0, highest_pump),
        reports_amplitudes=True,
        reproducible=True,
        default_pump=pump,
        default_round_trips=round_trips,
    )
    return EmulatedCim(BestSeen(dynamics=dynamics), capabilities=capabilities)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A machine by name, with the sources of its numbers.

    Parameters
    ----------
    name : str
        Of the machine and of its entry point.
    description : str
        One sentence for people.
    max_spins : int
        Pulses that serve as spins.
    coupling_bits : int or None
        Bits of a coupling, sign included; None for real couplings.
    dynamics : Dynamics
        Its physics, imperfections included.
    pulses : int or None
        In the cavity, those included that are no spins; None where there is no cavity.
    pulse_rate_hz : float or None
        Repetition rate in hertz.
    cavity : FibreCavity or None
        The fibre that holds the pulses, where a machine is known to have one.
    pump : tuple of float
        Knots of the recommended pump schedule, in thresholds.
    round_trips : int
        Recommended length of a run.
    sources : tuple of str
        Publications and manuals.
    published : tuple of str
        Which of `NUMBERS` are in a source, as far as we have checked. All else is assumed.

    Raises
    ------
    ValueError
        More spins than pulses, or a number that a machine does not have.
    """

    name: str
    description: str
    max_spins: int
    coupling_bits: int | None
    dynamics: Dynamics
    pulses: int | None = None
    pulse_rate_hz: float | None = None
    cavity: FibreCavity | None = None
    pump: tuple[float, ...] = (0.0, 1.1)
    round_trips: int = 2000
    sources: tuple[str, ...] = ()
    published: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pulses is not None and self.pulses < self.max_spins:
            raise ValueError(f"{self.name}: {self.max_spins} spins, but {self.pulses} pulses")
        unknown = set(self.published) - set(NUMBERS)
        if unknown:
            raise ValueError(f"{self.name}: no machine has {', '.join(sorted(unknown))}")

    @property
    def round_trip_s(self) -> float | None:
        """Time of a round trip in seconds: the fibre is trimmed to hold whole pulses."""
        if self.pulses is None or self.pulse_rate_hz is None:
            return None
        return self.pulses / self.pulse_rate_hz

    @property
    def assumed(self) -> tuple[str, ...]:
        """Which of `NUMBERS` are assumed."""
        return tuple(name for name in NUMBERS if name not in self.published)

    def machine(self) -> EmulatedCim:
        """Return the machine."""
        capabilities = Capabilities(
            name=self.name,
            description=self.description,
            max_spins=self.max_spins,
            coupling_bits=self.coupling_bits,
            has_field=self.dynamics.has_field,
            round_trip_s=self.round_trip_s,
            reports_amplitudes=True,
            reproducible=True,
            default_pump=self.pump,
            default_round_trips=self.round_trips,
            properties={
                "pulses": self.pulses,
                "pulse_rate_hz": self.pulse_rate_hz,
                "fibre_length_m": None if self.cavity is None else self.cavity.length_m,
                "sources": "; ".join(self.sources),
                "published": ", ".join(self.published),
                "assumed": ", ".join(self.assumed),
            },
        )
        return EmulatedCim(self.dynamics, capabilities=capabilities)
