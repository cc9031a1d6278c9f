r"""What moves slowly and is common to all pulses of a run: the phase, the gain, the pump."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # not scipy.special: it takes 0.2 s, and machines without such errors do not need it

from emulator.disorder import drawn_once
from emulator.imperfections import DRIFT, FLICKER, JOB, PHASE, Imperfections
from emulator.noise import Draw, NoiseKey, fill_normals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CommonDrift", "PhaseWalk", "SlowNoise"]

# Octaves of 1/f noise: beyond, it stands still in any run.
MOST_OCTAVES = 20


class PhaseWalk:
    r"""The phase error of each run of a block: a random walk between locks.

    .. math:: \varphi_k = \varphi_0 + r_l\,u_l + s\sum_{j = l + 1}^{k} w_j

    with l the round trip of the last lock, s the drift, r the residual of a lock, and u, w
    standard normals; it may also slip by half a turn. All pulses of a run share it.

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
        of_job = imperfections.job_phase_rad * drawn_once(key, JOB, 1)[0]
        self._static = imperfections.injection_phase_rad + float(of_job)
        self.phase = np.full(n_runs, self._static)
        self.largest = np.zeros(n_runs)
        self.relocks = 0
        self._imperfections, self._draw = imperfections, Draw(key, 0, first_run)
        self._normals = np.zeros((4, n_runs), np.float32)

    def advance(self, round_trip: int) -> None:
        """Go on to a round trip, the next one."""
        options = self._imperfections
        fill_normals(self._draw._replace(round_trip=PHASE | round_trip), self._normals)
        step, residual, slip, _ = self._normals
        every = options.relock_round_trips
        if round_trip == 0 or (every and round_trip % every == 0):
            self.relocks += round_trip > 0
            self.phase = self._static + options.relock_residual_rad * residual.astype(float)
        else:
            self.phase += options.phase_drift_rad * step.astype(float)
            self.phase += math.pi * (slip < scipy.special.ndtri(options.phase_slip_rate))
        np.maximum(self.largest, np.abs(self.phase), out=self.largest)

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return the largest error of the first runs, and the locks; nothing where none is."""
        if not self._imperfections.has_phase:
            return {}
        largest = float(self.largest[:n_runs].max())
        return {"largest_phase_error_rad": largest, "relocks": self.relocks}

    def projection(self) -> NDArray[np.float64]:
        r"""Return :math:`\cos\varphi`, the share of the injection in phase with the pulses."""
        return np.cos(self.phase)


class SlowNoise:
    r"""A sum of Ornstein-Uhlenbeck processes of one run each, of variance 1 together.

    .. math:: z = K^{-1/2}\sum_k z_k, \qquad z_k \to a_kz_k + \sqrt{1 - a_k^2}\,w_k,
              \quad a_k = e^{-1/T_k}

    Octaves of correlation times :math:`T_k` make a spectrum that falls as 1/f.
    """

    def __init__(self, times: Sequence[float], draw: Draw, *, n_runs: int) -> None:
        self._keep = np.exp(-1 / np.array(times))[:, None]
        self._fresh = np.sqrt(1 - self._keep**2)
        self._draw = draw
        self._state = np.zeros((len(times), n_runs))
        self._normals = np.zeros((len(times) + len(times) % 2, n_runs), np.float32)

    def advance(self, round_trip: int) -> NDArray[np.float64]:
        """Go on to a round trip, the next one, and return the noise (runs,)."""
        place = self._draw._replace(round_trip=self._draw.round_trip | round_trip)
        fill_normals(place, self._normals)
        drawn = self._normals[: len(self._state)].astype(float)
        is_first = round_trip == 0  # which is stationary already
        self._state = drawn if is_first else self._keep * self._state + self._fresh * drawn
        return self._state.sum(axis=0) / math.sqrt(len(self._state))


class CommonDrift:
    """Gain of the injection and of the pump, common to all pulses of a run.

    Attributes
    ----------
    phase : PhaseWalk
    """

    def __init__(
        self,
        imperfections: Imperfections,
        key: NoiseKey,
        *,
        first_run: int,
        n_runs: int,
        round_trips: int,
    ) -> None:
        options = self._imperfections = imperfections
        self.phase = PhaseWalk(options, key, first_run=first_run, n_runs=n_runs)
        _, gain, pump = drawn_once(key, JOB, 3)
        self._of_job = 1 + options.job_gain_error * gain, 1 + options.job_pump_error * pump
        self._last = max(round_trips - 1, 1)
        octaves = min(math.ceil(math.log2(self._last + 1)), MOST_OCTAVES)
        slow: dict[int, list[float]] = {}
        if options.gain_drift:
            slow[DRIFT] = [options.drift_round_trips]
        if options.pump_flicker:
            slow[FLICKER] = [2.0**k for k in range(octaves + 1)]
        self._slow = {
            stream: SlowNoise(times, Draw(key, stream, first_run), n_runs=n_runs)
            for stream, times in slow.items()
        }

    def advance(self, round_trip: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Go on to a round trip, the next one: return factors of injection and pump (runs,)."""
        options, (gain, pump) = self._imperfections, self._of_job
        if options.has_phase:
            self.phase.advance(round_trip)
        noise = {stream: slow.advance(round_trip) for stream, slow in self._slow.items()}
        threshold = 1 + options.threshold_drift * round_trip / self._last
        drifted = 1 + options.gain_drift * noise.get(DRIFT, 0.0)
        flickering = 1 + options.pump_flicker * noise.get(FLICKER, 0.0)
        ones = np.ones_like(self.phase.phase)
        return self.phase.projection() * gain * drifted, ones * pump / threshold * flickering
