"""What can be wrong with a measurement-feedback machine: one number for each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Imperfections"]


@dataclass(frozen=True, kw_only=True)
class Imperfections:
    r"""Imperfections of a measurement-feedback machine; all are off by default.

    Errors of calibration are static: they are drawn from `seed`, belong to the machine and are the
    same in every job. Noise and drift are drawn from the seed of a job, and do not depend on how
    its runs are grouped. All draws are normal, and independent of each other.

    What is injected into pulse i of a run, and what is read from it, become

    .. math:: f_i \to (1 + \gamma_i)(1 + \nu)\,2^{-\tau^2}\cos\varphi\,f_i, \qquad
              m_i \to (1 + \delta_i)\,m_i + \ell\,(1 + \delta_{i-1})\,m_{i-1} + o

    and its pump becomes

    .. math:: p_i = p\,\frac{(1 + \epsilon_i)(1 + \rho)}{1 + d\,t}\Big(1 - D\,\frac{k_i}{K - 1}\Big)

    with t from 0 to 1 over the run, and :math:`k_i` the slot of the pulse in a train of K.

    Parameters
    ----------
    seed : int
        Of the static errors: which machine of its kind this is, 0 to 2^63 - 1.
    coupling_error : float
        Relative standard deviation of a coupling, static: :math:`J_{ij}(1 + \epsilon_{ij})`, drawn
        for ij and ji apart, since a product takes them from different places. The couplings are
        real then, and their products are no longer exact integers.
    accumulator_bits : int or None
        Bits of the accumulator, sign included, 2 to 48: the product of couplings and codes
        saturates at :math:`\pm(2^{b-1} - 1)`. None for one that never does.
    injection_gain_error : float
        Standard deviation of :math:`\gamma_i`, static: calibration of the modulator.
    injection_noise : float
        Standard deviation of :math:`\nu`, white over pulses and round trips.
    injection_phase_rad : float
        Static part of the phase :math:`\varphi` between injection and cavity, in radians.
    phase_drift_rad : float
        Step of the random walk of :math:`\varphi`, in radians per square root of a round trip.
    relock_round_trips : int
        Round trips from one lock of the phase to the next, which ends the walk; 0 for no relock.
        A run begins locked.
    relock_residual_rad : float
        Standard deviation of what a lock, the first one too, leaves of :math:`\varphi`, in radians.
    timing_jitter : float
        Standard deviation of :math:`\tau`, the delay between an injected pulse and its partner, in
        units of the full width at half maximum of their Gaussian intensity.
    pump_error : float
        Standard deviation of :math:`\epsilon_i`, static: pump amplitude (or gain) by pulse.
    pump_noise : float
        Standard deviation of :math:`\rho`, relative to the amplitude (half of that of power), white
        over pulses and round trips.
    pump_depletion : float
        D, by how much the last pump pulse of the train falls short of the first, relative.
    threshold_drift : float
        d, relative growth of the threshold from the first round trip of a run to its last.
    detector_gain_error : float
        Standard deviation of :math:`\delta_i`, static: calibration of the readout by pulse.
    detector_offset : float
        o, added to each record, in units in which a record of vacuum has a standard deviation of
        :math:`\sqrt{1/2}`. It acts as a field, :math:`h_i \propto o\sum_j J_{ij}`.
    leakage : float
        :math:`\ell`, share of the record of the pulse before: finite bandwidth or extinction.
    dead_fraction : float
        Probability that a slot is dead, static.
    dead_pulses : tuple of int
        Spins whose slots are dead besides. A dead slot has no pulse and its record is gated: mean,
        record and amplitude are exactly 0, so the spin that comes back is +1.
    reference_pulses : int
        Slots at the head of the train that hold no spins: they serve to lock the cavity, and their
        records are gated.
    train_pulses : int or None
        K, slots of the train; None for as many as a job needs.

    Raises
    ------
    ValueError
        A parameter out of its range.

    Examples
    --------
    >>> Imperfections(phase_drift_rad=0.01, relock_round_trips=100).is_ideal
    False
    """

    seed: int = 0
    coupling_error: float = 0.0
    accumulator_bits: int | None = None
    injection_gain_error: float = 0.0
    injection_noise: float = 0.0
    injection_phase_rad: float = 0.0
    phase_drift_rad: float = 0.0
    relock_round_trips: int = 0
    relock_residual_rad: float = 0.0
    timing_jitter: float = 0.0
    pump_error: float = 0.0
    pump_noise: float = 0.0
    pump_depletion: float = 0.0
    threshold_drift: float = 0.0
    detector_gain_error: float = 0.0
    detector_offset: float = 0.0
    leakage: float = 0.0
    dead_fraction: float = 0.0
    dead_pulses: tuple[int, ...] = ()
    reference_pulses: int = 0
    train_pulses: int | None = None

    def __post_init__(self) -> None:
        bits, train = self.accumulator_bits, self.train_pulses
        checks = {
            "seed": 0 <= self.seed < 2**63,
            "accumulator_bits": bits is None or 2 <= bits <= 48,
            "injection_phase_rad": math.isfinite(self.injection_phase_rad),
            "relock_round_trips": self.relock_round_trips >= 0,
            "pump_depletion": 0 <= self.pump_depletion <= 1,
            "threshold_drift": -1 < self.threshold_drift < math.inf,
            "detector_offset": math.isfinite(self.detector_offset),
            "leakage": -1 <= self.leakage <= 1,
            "dead_fraction": 0 <= self.dead_fraction <= 1,
            "dead_pulses": all(pulse >= 0 for pulse in self.dead_pulses),
            "reference_pulses": self.reference_pulses >= 0,
            "train_pulses": train is None or train > self.reference_pulses,
        }
        widths = {name: 0 <= getattr(self, name) < math.inf for name in _WIDTHS}
        wrong = [name for name, is_right in {**checks, **widths}.items() if not is_right]
        if wrong:
            raise ValueError(f"{wrong[0]} = {getattr(self, wrong[0])} is out of range")

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is wrong in the loop of pulses, couplings aside."""
        unused = {"seed": 0, "coupling_error": 0.0, "reference_pulses": 0, "train_pulses": None}
        return replace(self, **unused) == Imperfections()

    @property
    def has_phase(self) -> bool:
        """Whether the phase of the injection is ever wrong."""
        return any((self.injection_phase_rad, self.phase_drift_rad, self.relock_residual_rad))

    @property
    def max_spins(self) -> int | None:
        """Slots that are left for spins; None where the train is as long as a job needs."""
        return None if self.train_pulses is None else self.train_pulses - self.reference_pulses

    @property
    def accumulator_top(self) -> float:
        """Largest sum of the accumulator."""
        bits = self.accumulator_bits
        return math.inf if bits is None else float(2 ** (bits - 1) - 1)


# standard deviations
_WIDTHS = (
    "coupling_error",
    "injection_gain_error",
    "injection_noise",
    "phase_drift_rad",
    "relock_residual_rad",
    "timing_jitter",
    "pump_error",
    "pump_noise",
    "detector_gain_error",
)
