r"""What can be wrong with a real machine: the options.

Their randomness has its place among the counters of `emulator.noise`. Of a job, noise has the
counter word of its round trip, below 2^28, with the number of its stream in the four bits above;
the record of a homodyne detector is stream 0. Static errors are in `emulator.disorder`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from emulator.options import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    SHARE,
    Interval,
    check_options,
    documented,
    option,
    out_of_range,
)

__all__ = [
    "DETECTOR",
    "DRIFT",
    "FLICKER",
    "INJECTION",
    "JITTER",
    "JOB",
    "OUTAGE",
    "PHASE",
    "PUMP",
    "SLIP",
    "Imperfections",
]

INJECTION, PUMP, JITTER, PHASE, SLIP, OUTAGE, FLICKER, DRIFT, JOB, DETECTOR = (
    stream << 28 for stream in range(1, 11)
)


# What acts outside the loop of pulses, or only with something else.
_OUTSIDE = (
    "seed",
    "coupling_error",
    "detector_phase_rad",
    "drift_round_trips",
    "intermittent_round_trips",
    "reference_pulses",
    "train_pulses",
)


def _off(
    doc: str,
    *,
    high: float = 1.0,
    low: float = 0.0,
    within: Interval = NON_NEGATIVE,
    unit: str = "1",
) -> Any:
    """Return an option that is off by default, and that a job may set."""
    return option(0.0, within=within, low=low, high=high, unit=unit, is_searched=False, doc=doc)


@documented
@dataclass(frozen=True, kw_only=True)
class Imperfections:
    r"""Imperfections of a measurement-feedback machine; all are off by default.

    Errors of calibration are static: they are drawn from `seed`, belong to the machine and are the
    same in every job. Noise and drift are drawn from the seed of a job, and do not depend on how
    its runs are grouped. All draws are normal, and independent of each other.

    What is injected into pulse i of a run, and what is read from it, become

    .. math:: g_i &= (1 + \gamma_i)(1 + \nu)(1 + \eta_c)\,2^{-\tau^2}\cos\varphi\,
              \frac{F}{\theta}\sin\frac{\theta f_i}{F}, \qquad f_i \to g_i + \kappa\,g_{i-1} \\
              m_i &\to (1 + \delta_i)\,m_i + \ell\,(1 + \delta_{i-1})\,m_{i-1} + o

    with F the full scale of the DAC, and its pump becomes

    .. math:: p_i = p\,\frac{(1 + \epsilon_i)(1 + \rho)(1 + \rho_c)}{1 + d\,t}
              \Big(1 - D\,\frac{k_i}{K - 1}\Big)

    with t from 0 to 1 over the run, and :math:`k_i` the slot of the pulse in a train of K. What has
    the index c is common to all pulses of a run.

    Examples
    --------
    >>> Imperfections(phase_drift_rad=0.01, relock_round_trips=100).is_ideal
    False
    """

    seed: int = option(
        0,
        within=Interval(0, 2**63, includes_high=False),
        low=0,
        high=2**32 - 1,
        is_searched=False,
        doc="Which machine of its kind this is: the seed of its static errors, 0 to 2^63 - 1.",
    )
    coupling_error: float = _off(r"""Relative standard deviation of a coupling, static.
:math:`J_{ij}(1 + \epsilon_{ij})`, drawn for ij and ji apart, since a product takes them
from different places. The couplings are real then, and their products are no longer exact
integers.""")
    accumulator_bits: int | None = option(
        None,
        within=Interval(2, 48),
        low=0,
        high=48,
        none=0,
        integer=True,
        is_searched=False,
        unit="bits",
        doc=r"""Bits of the accumulator, sign included, 2 or more; 0 (None) for one without end.
The product of couplings and codes ends at :math:`\pm(2^{b-1} - 1)`.""",
    )
    injection_gain_error: float = _off(
        r"Standard deviation of :math:`\gamma_i`, static: calibration of the modulator."
    )
    injection_noise: float = _off(
        r"Standard deviation of :math:`\nu`, white over pulses and round trips."
    )
    injection_phase_rad: float = _off(
        r"Static part of the phase :math:`\varphi` between injection and cavity.",
        low=-math.pi,
        high=math.pi,
        within=FINITE,
        unit="rad",
    )
    injection_spill: float = option(
        0.0,
        within=Interval(-1, 1),
        low=-1.0,
        high=1.0,
        is_searched=False,
        symbol=r"\kappa",
        doc="Share of an injection that reaches the next pulse: bandwidth of the modulator.",
    )
    modulator_swing_rad: float = _off(
        r"""Phase of the modulator at full scale of the DAC, whose field goes as its sine.
:math:`\theta` of the law above: 0 for a linear one, and for a full scale without end.""",
        high=math.pi / 2,
        within=Interval(0, math.pi / 2),
        unit="rad",
    )
    gain_drift: float = _off(
        r"""Standard deviation of :math:`\eta_c`, slow relative drift of the injection in a run.
Common to all pulses; an Ornstein-Uhlenbeck process."""
    )
    drift_round_trips: float = option(
        1000.0,
        within=POSITIVE,
        low=1.0,
        high=1e6,
        log=True,
        is_searched=False,
        unit="round trips",
        doc="Correlation time of `gain_drift`.",
    )
    phase_drift_rad: float = _off(
        r"Step of the random walk of :math:`\varphi`.", unit="rad per root of a round trip"
    )
    relock_round_trips: int = option(
        0,
        within=NON_NEGATIVE,
        low=0,
        high=1_000_000,
        is_searched=False,
        unit="round trips",
        doc="""Round trips from one lock of the phase to the next, which ends the walk; 0 for never.
A run begins locked.""",
    )
    relock_residual_rad: float = _off(
        r"Standard deviation of what a lock, the first one too, leaves of :math:`\varphi`.",
        high=math.pi,
        unit="rad",
    )
    phase_slip_rate: float = _off(
        r"Probability that the lock slips by half a turn: :math:`\varphi` grows by :math:`\pi`.",
        within=SHARE,
        unit="per round trip",
    )
    job_phase_rad: float = _off(
        "Standard deviation of a phase of the injection that differs from job to job.",
        high=math.pi,
        unit="rad",
    )
    timing_jitter: float = _off(
        r"""Standard deviation of :math:`\tau`, the delay between an injected pulse and its partner.
In units of the full width at half maximum of their Gaussian intensity.""",
        high=3.0,
        unit="pulse widths",
    )
    pump_error: float = _off(
        r"Standard deviation of :math:`\epsilon_i`, static: pump amplitude (or gain) by pulse."
    )
    pump_noise: float = _off(
        r"""Standard deviation of :math:`\rho`, white over pulses and round trips.
Relative to the amplitude: half of that of power."""
    )
    pump_flicker: float = _off(
        r"""Standard deviation of :math:`\rho_c`, 1/f noise common to all pulses of a run.
A sum of Ornstein-Uhlenbeck processes, one for each octave from a round trip to the run."""
    )
    pump_depletion: float = _off(
        "D, by how much the last pump pulse of the train falls short of the first, relative.",
        within=SHARE,
    )
    threshold_drift: float = option(
        0.0,
        within=Interval(-1, math.inf, includes_low=False, includes_high=False),
        low=-0.5,
        high=2.0,
        is_searched=False,
        doc="d, relative growth of the threshold from the first round trip of a run to its last.",
    )
    job_pump_error: float = _off(
        "Standard deviation of the pump, relative, from job to job: drift of the threshold."
    )
    job_gain_error: float = _off(
        "Standard deviation of the gain of the injection, relative, from job to job."
    )
    calibration_drift: float = _off(
        r"""d of the static errors by pulse, by which they differ from job to job.
:math:`\sqrt{1 - d^2}` times those of the machine and d times those of the job.""",
        within=SHARE,
    )
    detector_gain_error: float = _off(
        r"Standard deviation of :math:`\delta_i`, static: calibration of the readout by pulse."
    )
    detector_offset: float = _off(
        r"""o, added to each record; vacuum has a standard deviation of 0.71.
It acts as a field, :math:`h_i \propto o\sum_j J_{ij}`.""",
        low=-100.0,
        high=100.0,
        within=FINITE,
        unit="quadrature X",
    )
    detector_phase_rad: float = _off(
        r"""Phase of the local oscillator, which measures :math:`X\cos + P\sin` of it.
P is taken to be vacuum.""",
        low=-math.pi,
        high=math.pi,
        within=FINITE,
        unit="rad",
    )
    adc_inl: float = _off(
        r"""Integral nonlinearity of the ADC: how far a record is off, at the most.
An S of :math:`\tfrac{3\sqrt3}{2}(x - x^3)`, x being the record over the full scale.""",
        low=-0.5,
        high=0.5,
        within=Interval(-0.5, 0.5),
        unit="full scales",
    )
    adc_dnl: float = _off(
        """Standard deviation of the transitions of the ADC, static: differential nonlinearity.
Of an ADC of up to 16 bits; no transition goes farther than to the next code.""",
        unit="steps of the ADC",
    )
    leakage: float = option(
        0.0,
        within=Interval(-1, 1),
        low=-1.0,
        high=1.0,
        is_searched=False,
        doc=r""":math:`\ell`, share of the record of the pulse before.
Finite bandwidth or extinction.""",
    )
    pulse_slip_rate: float = _off(
        "Probability that a pulse slips by half a turn: its amplitude changes its sign.",
        within=SHARE,
        unit="per round trip",
    )
    intermittent_fraction: float = _off(
        "Share of the time in which a pulse has no pump, by turns.", within=SHARE
    )
    intermittent_round_trips: int = option(
        10,
        within=Interval(1, math.inf, includes_high=False),
        low=1,
        high=1_000_000,
        is_searched=False,
        unit="round trips",
        doc="Length of an outage of `intermittent_fraction`.",
    )
    dead_fraction: float = _off("Probability that a slot is dead, static.", within=SHARE)
    dead_pulses: tuple[int, ...] = option(
        (),
        within=NON_NEGATIVE,
        doc="""Spins whose slots are dead besides. A dead slot has no gain and takes no injection:
it holds vacuum, and its record is shot noise, fed back like any other. Its spin is a coin.""",
    )
    reference_pulses: int = option(
        0,
        within=NON_NEGATIVE,
        doc="""Slots at the head of the train that hold no spins: they serve to lock the
cavity, and their records are gated.""",
    )
    train_pulses: int | None = option(
        None,
        doc="K, slots of the train; None for as many as a job needs.",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.train_pulses is not None and self.train_pulses <= self.reference_pulses:
            raise out_of_range(self, "train_pulses")

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is wrong in the loop of pulses, couplings and local oscillator aside."""
        inside = (f for f in fields(self) if f.name not in _OUTSIDE)
        return all(getattr(self, f.name) == f.default for f in inside)

    @property
    def has_phase(self) -> bool:
        """Whether the phase of the injection is ever wrong."""
        errors = self.injection_phase_rad, self.phase_drift_rad, self.relock_residual_rad
        return any((*errors, self.phase_slip_rate, self.job_phase_rad))

    @property
    def max_spins(self) -> int | None:
        """Slots that are left for spins; None where the train is as long as a job needs."""
        return None if self.train_pulses is None else self.train_pulses - self.reference_pulses

    @property
    def accumulator_top(self) -> float:
        """Largest sum of the accumulator."""
        bits = self.accumulator_bits
        return math.inf if bits is None else float(2 ** (bits - 1) - 1)
