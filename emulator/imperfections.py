r"""What can be wrong with a real machine: options, the static errors of one machine, its phase.

Their randomness has its place among the counters of `emulator.noise`. Of a job, noise has the
counter word of its round trip, below 2^28, with the number of its stream in the four bits above;
the record of a homodyne detector is stream 0. Static errors have a key of their own: seeds of jobs
end below 2^63, and that of a machine is 2^63 or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from emulator.kernel import kernel
from emulator.noise import Draw, NoiseKey, fill_normals, normal_pair, normals
from emulator.options import (
    FINITE,
    NON_NEGATIVE,
    SHARE,
    Interval,
    check_options,
    documented,
    option,
    out_of_range,
)
from emulator.products.dense import DenseFloats

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "INJECTION",
    "JITTER",
    "PHASE",
    "PUMP",
    "Disorder",
    "Imperfections",
    "PhaseWalk",
    "disturbed",
    "machine_seed",
]

INJECTION, PUMP, JITTER, PHASE = (stream << 28 for stream in (1, 2, 3, 4))


def machine_seed(seed: int) -> int:
    """Return the seed of the static errors of machine `seed`: that of no job."""
    return seed | 2**63


def _off(doc: str, *, within: Interval = NON_NEGATIVE) -> Any:
    """Return an option that is off by default."""
    return option(0.0, within=within, doc=doc)


@documented
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

    Examples
    --------
    >>> Imperfections(phase_drift_rad=0.01, relock_round_trips=100).is_ideal
    False
    """

    seed: int = option(
        0,
        within=Interval(0, 2**63, includes_high=False),
        doc="Of the static errors: which machine of its kind this is, 0 to 2^63 - 1.",
    )
    coupling_error: float = _off(r"""Relative standard deviation of a coupling, static:
:math:`J_{ij}(1 + \epsilon_{ij})`, drawn for ij and ji apart, since a product takes them
from different places. The couplings are real then, and their products are no longer exact
integers.""")
    accumulator_bits: int | None = option(
        None,
        within=Interval(2, 48),
        doc=r"""Bits of the accumulator, sign included, 2 to 48: the product of couplings and
codes saturates at :math:`\pm(2^{b-1} - 1)`. None for one that never does.""",
    )
    injection_gain_error: float = _off(
        r"Standard deviation of :math:`\gamma_i`, static: calibration of the modulator."
    )
    injection_noise: float = _off(
        r"Standard deviation of :math:`\nu`, white over pulses and round trips."
    )
    injection_phase_rad: float = _off(
        r"Static part of the phase :math:`\varphi` between injection and cavity, in radians.",
        within=FINITE,
    )
    phase_drift_rad: float = _off(r"""Step of the random walk of :math:`\varphi`, in radians per
square root of a round trip.""")
    relock_round_trips: int = option(
        0,
        within=NON_NEGATIVE,
        doc="""Round trips from one lock of the phase to the next, which ends the walk; 0 for
no relock. A run begins locked.""",
    )
    relock_residual_rad: float = _off(r"""Standard deviation of what a lock, the first one too,
leaves of :math:`\varphi`, in radians.""")
    timing_jitter: float = _off(r"""Standard deviation of :math:`\tau`, the delay between an
injected pulse and its partner, in units of the full width at half maximum of their Gaussian
intensity.""")
    pump_error: float = _off(r"""Standard deviation of :math:`\epsilon_i`, static: pump amplitude
(or gain) by pulse.""")
    pump_noise: float = _off(r"""Standard deviation of :math:`\rho`, relative to the amplitude
(half of that of power), white over pulses and round trips.""")
    pump_depletion: float = _off(
        "D, by how much the last pump pulse of the train falls short of the first, relative.",
        within=SHARE,
    )
    threshold_drift: float = option(
        0.0,
        within=Interval(-1, math.inf, includes_low=False, includes_high=False),
        doc="d, relative growth of the threshold from the first round trip of a run to its last.",
    )
    detector_gain_error: float = _off(r"""Standard deviation of :math:`\delta_i`, static:
calibration of the readout by pulse.""")
    detector_offset: float = _off(
        r"""o, added to each record, in units in which a record
of vacuum has a standard deviation of :math:`\sqrt{1/2}`. It acts as a field, :math:`h_i
\propto o\sum_j J_{ij}`.""",
        within=FINITE,
    )
    leakage: float = option(
        0.0,
        within=Interval(-1, 1),
        doc=r""":math:`\ell`, share of the record of the pulse before: finite bandwidth or
extinction.""",
    )
    dead_fraction: float = _off("Probability that a slot is dead, static.", within=SHARE)
    dead_pulses: tuple[int, ...] = option(
        (),
        within=NON_NEGATIVE,
        doc="""Spins whose slots are dead besides. A dead slot has no pulse and its record is
gated: mean, record and amplitude are exactly 0, so the spin that comes back is +1.""",
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


class PhaseWalk:
    r"""The phase error of each run of a block: a random walk between locks.

    .. math:: \varphi_k = \varphi_0 + r_l\,u_l + s\sum_{j = l + 1}^{k} w_j

    with l the round trip of the last lock, s the drift, r the residual of a lock, and u, w
    standard normals. All pulses of a run share it.

    Attributes
    ----------
    phase : float64 array, shape (runs,)
        In the current round trip, in radians.
    largest : float64 array, shape (runs,)
        Largest magnitude so far, in radians.
    relocks : int
        Locks so far, the one before the first round trip aside.
    """

    def __init__(
        self, imperfections: Imperfections, key: NoiseKey, *, first_run: int, n_runs: int
    ) -> None:
        self.phase = np.full(n_runs, imperfections.injection_phase_rad)
        self.largest = np.zeros(n_runs)
        self.relocks = 0
        self._imperfections, self._draw = imperfections, Draw(key, 0, first_run)
        self._normals = np.zeros((2, n_runs))

    def advance(self, round_trip: int) -> None:
        """Go on to a round trip, the next one."""
        options = self._imperfections
        fill_normals(self._draw._replace(round_trip=PHASE | round_trip), self._normals)
        step, residual = self._normals
        every = options.relock_round_trips
        if round_trip == 0 or (every and round_trip % every == 0):
            self.relocks += round_trip > 0
            self.phase = options.injection_phase_rad + options.relock_residual_rad * residual
        else:
            self.phase += options.phase_drift_rad * step
        np.maximum(self.largest, np.abs(self.phase), out=self.largest)

    def projection(self) -> NDArray[np.float64]:
        r"""Return :math:`\cos\varphi`, the share of the injection in phase with the pulses."""
        return np.cos(self.phase)


# Counter words of static errors by pulse; those below 2^17 are rows of couplings.
INJECTION_GAIN, PUMP_AMPLITUDE, DETECTOR_GAIN, DEATH = (2**31 + word for word in range(4))


class Disorder(NamedTuple):
    """Static errors by pulse, arrays of shape (n,), n even.

    Attributes
    ----------
    injection_gain, pump_scale, detector_gain : array
        Factors, 1 where nothing is wrong.
    is_dead : bool array
    """

    injection_gain: NDArray[Any]
    pump_scale: NDArray[Any]
    detector_gain: NDArray[Any]
    is_dead: NDArray[np.bool_]

    @classmethod
    def of(cls, imperfections: Imperfections, n_spins: int, dtype: DTypeLike) -> Disorder:
        """Draw the errors of the first spins; they are the same in every job."""
        options, n_pulses = imperfections, n_spins + n_spins % 2

        def drawn(word: int) -> NDArray[np.float64]:
            seed = machine_seed(options.seed)
            return normals(seed, round_trip=word, n_spins=n_pulses, n_runs=1)[:, 0].astype(float)

        slots = options.train_pulses or options.reference_pulses + n_spins
        slot = options.reference_pulses + np.arange(n_pulses)
        left = 1 - options.pump_depletion * slot / max(slots - 1, 1)
        is_dead = drawn(DEATH) < ndtri(options.dead_fraction)
        is_dead[[pulse for pulse in options.dead_pulses if pulse < n_pulses]] = True
        return cls(
            (1 + options.injection_gain_error * drawn(INJECTION_GAIN)).astype(dtype),
            ((1 + options.pump_error * drawn(PUMP_AMPLITUDE)) * left).astype(dtype),
            (1 + options.detector_gain_error * drawn(DETECTOR_GAIN)).astype(dtype),
            is_dead,
        )


@kernel
def _disturb_rows(key: NoiseKey, error: Any, values: NDArray[Any]) -> None:
    for i in range(len(values)):
        row = values[i]
        for pair in range(len(row) // 2):
            even, odd = normal_pair(key, np.uint32(i), np.uint32(pair), np.uint32(0))
            row[2 * pair] *= 1 + error * even
            row[2 * pair + 1] *= 1 + error * odd
        if len(row) % 2:
            even, _ = normal_pair(key, np.uint32(i), np.uint32(len(row) // 2), np.uint32(0))
            row[-1] *= 1 + error * even


@kernel
def _disturb_sparse(
    key: NoiseKey, error: Any, starts: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]
) -> None:
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            column = np.uint32(columns[k])
            even, odd = normal_pair(
                key, np.uint32(i), np.uint32(column >> np.uint32(1)), np.uint32(0)
            )
            values[k] *= 1 + error * (odd if column & np.uint32(1) else even)


def disturbed(
    coupling: CouplingMatrix, imperfections: Imperfections, dtype: DTypeLike
) -> CouplingMatrix:
    r"""Return couplings :math:`J_{ij}(1 + \epsilon_{ij})` in the same unit, as reals of `dtype`.

    Errors belong to the pair (i, j) of a machine: they are the same in every job, whether it has
    dense or sparse couplings.
    """
    dtype = np.dtype(dtype)
    key, error = (
        NoiseKey.from_seed(machine_seed(imperfections.seed)),
        dtype.type(imperfections.coupling_error),
    )
    floats = coupling.as_floats(dtype, copy=True)
    if isinstance(floats, DenseFloats):
        _disturb_rows(key, error, floats.values)
    else:
        _disturb_sparse(key, error, *floats)
    return coupling.with_floats(floats)
