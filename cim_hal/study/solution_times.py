"""Time to solution, and whether its optimum over the length of a run lies between the lengths.

A time to solution at a length that does not suit the machine is an upper bound of what the machine
can do: it is stated only where a shorter and a longer length than the best are shown to be slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from cim_hal.study.plan import named_levels
from cim_hal.study.shares import Interval, error_of, has_few, normal_quantile, repeats, share_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.study.plan import Level
    from cim_hal.study.rows import Row

__all__ = [
    "Length",
    "Optimum",
    "optimum_of",
    "run_error",
    "run_seconds",
    "said_of",
    "solution_time",
]

CONFIDENCE = 0.99  # of R99
NOT_BRACKETED = "optimum not bracketed: an upper bound only"


@dataclass(frozen=True, eq=False)
class Length:
    """What was measured at one length of a run.

    Attributes
    ----------
    round_trips : float
    run_s : float
        Seconds of the machine for a run.
    successes, runs : array of int
        Of each model, as `share_of` takes them; the models are the same at all lengths.
    run_error : float
        Relative standard error of `run_s`.
    """

    round_trips: float
    run_s: float
    successes: NDArray[np.int64]
    runs: NDArray[np.int64]
    run_error: float = 0.0

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each model."""
        return self.successes / self.runs

    def time(self, level: float = 0.95) -> Interval:
        """Return the time to solution."""
        return solution_time(share_of(self.successes, self.runs, level=level).of_family, self.run_s)


@dataclass(frozen=True)
class Optimum:
    """The length with the least time to solution.

    Attributes
    ----------
    round_trips : float
    n_lengths : int
    time : Interval
        It holds whichever of the lengths was found to be the best.
    doubt : str
        Why the optimum may lie beyond the lengths, empty where it lies between them.
    """

    round_trips: float
    n_lengths: int
    time: Interval
    doubt: str


def solution_time(share: Interval, run_s: float) -> Interval:
    """Return seconds until a success is seen with 99 %: those of a run, times the repeats."""
    runs = repeats(share)
    return Interval(runs.value * run_s, runs.low * run_s, runs.high * run_s)


def run_seconds(
    round_trips: float | None, rows: Sequence[Row], capabilities: Capabilities
) -> float:
    """Return seconds of the machine for a run: of its round trips, where it says how long one is.

    Of other machines it is what their driver took: the median over jobs, which is not changed by a
    few that had to wait for something else.
    """
    if capabilities.round_trip_s is not None:
        trips = capabilities.default_round_trips if round_trips is None else round_trips
        return trips * capabilities.round_trip_s
    return median(row.device_s / row.runs for row in rows)


def run_error(rows: Sequence[Row], capabilities: Capabilities) -> float:
    """Return the relative standard error of `run_seconds`: none of round trips, else of a median.

    It is that of normal values whose spread is known by their median absolute deviation.
    """
    if capabilities.round_trip_s is not None:
        return 0.0
    seconds = [row.device_s / row.runs for row in rows]
    middle = median(seconds)
    if len(seconds) < 2 or middle <= 0:
        return math.inf
    spread = 1.4826 * median(abs(each - middle) for each in seconds)
    return math.sqrt(0.5 * math.pi / len(seconds)) * spread / middle


def optimum_of(lengths: Sequence[Length], *, error_rate: float = 0.05) -> Optimum:
    """Return the best length; the optimum lies between where it is slower on both sides.

    That a shorter length is slower, and a longer one, is shown by tests of their own
    (`_is_slower`), with Bonferroni's correction for all pairs that might have been compared. If the
    time grows from one end of the lengths on, the optimum is taken for bracketed with at most the
    probability `error_rate`.
    """
    best, doubt = bracketed(lengths, error_rate)
    time = best.time(1 - error_rate / len(lengths))
    return Optimum(best.round_trips, len(lengths), time, doubt)


def bracketed(lengths: Sequence[Length], error_rate: float) -> tuple[Length, str]:
    """Return the best length, and why the optimum may lie beyond, empty where it does not."""
    at = sorted(lengths, key=lambda one: one.round_trips)
    best = min(at, key=lambda one: one.run_s / _rate(one)[0])
    return best, _doubt(at, best, error_rate)


def _doubt(at: Sequence[Length], best: Length, error_rate: float) -> str:
    if len(at) < 3:
        return "fewer than three lengths were measured"
    place = at.index(best)
    n_pairs = (len(at) - 1) * (len(at) - 2) / 2
    for name, others in {"shorter": at[:place], "longer": at[place + 1 :]}.items():
        if not others:
            return f"no {name} length was measured than the best"
        if not any(_is_slower(other, best, error_rate / n_pairs) for other in others):
            return f"no {name} length is shown to be slower"
    return ""


def _is_slower(other: Length, best: Length, error_rate: float) -> bool:
    """Return whether a length is shown to be slower: paired by model, where their spread is known.

    Where it is not, the low end of its time has to be above the high end of the other.
    """
    if any(has_few(one.successes, one.runs) for one in (other, best)):
        low, high = other.time(1 - error_rate).low, best.time(1 - error_rate).high
        error = math.hypot(other.run_error, best.run_error)
        return low * math.exp(-normal_quantile(1 - error_rate) * error) > high
    return _p_slower(other, best) <= error_rate


def _p_slower(other: Length, best: Length) -> float:
    r"""Return the p-value of a test whether a length is slower, paired by model.

    With the rate :math:`g(p) = -\ln(1 - p)`, R99 is :math:`\ln 100/g`, 1 at least: a length is
    slower where :math:`\ln(t/g) - \ln(t_b/g_b) > 0`. Its error is that of the same difference of
    the shares of each model, linearized, and no less than that of the runs; and that of the time of
    a run, where that was measured.
    """
    from scipy.stats import t

    (rate, slope), (best_rate, best_slope) = _rate(other), _rate(best)
    gained = math.log(other.run_s / best.run_s) + math.log(best_rate / rate)
    error, df = error_of(best_slope * best.shares - slope * other.shares)
    of_runs = math.hypot(best_slope * _runs_error(best), slope * _runs_error(other))
    error = math.hypot(max(error, of_runs), other.run_error, best.run_error)
    if not error:  # one run is enough at both, and only its time counts
        return float(gained <= 0)
    return float(t.sf(gained / error, df)) if df else 1.0


def _rate(length: Length) -> tuple[float, float]:
    """Return g of the mean share, and the slope of its logarithm."""
    p = float(length.shares.mean())
    if p <= 0:
        return 1e-300, 0.0
    if p >= CONFIDENCE:
        return -math.log1p(-CONFIDENCE), 0.0
    rate = -math.log1p(-p)
    return rate, 1 / ((1 - p) * rate)


def _runs_error(length: Length) -> float:
    """Return the error of the mean share by runs alone, with one success and failure more."""
    p = (length.successes + 1) / (length.runs + 2)
    return math.sqrt(float((p * (1 - p) / length.runs).sum())) / p.size


def said_of(found: Optimum | None, at: dict[str, Level]) -> dict[str, Any]:
    """Return what ``summary.json`` says at a combination of the other factors.

    None stands for a study in which `round_trips` is no factor.
    """
    if found is None:
        found = Optimum(0, 1, Interval(math.inf, 0, math.inf), "round_trips is no factor")
        said: dict[str, Any] = {"at": at, "round_trips": None}
    else:
        said = {"at": at, "round_trips": found.round_trips}
    is_bracketed, time = not found.doubt, found.time
    return said | {
        "n_lengths": found.n_lengths,
        "is_bracketed": is_bracketed,
        "tts": time.value if is_bracketed else None,
        "tts_low": time.low if is_bracketed else None,
        "tts_high": time.high,
        "verdict": _sentence(found, at),
    }


def _sentence(found: Optimum, at: dict[str, Level]) -> str:
    where = ", ".join(named_levels(at.items()))
    where, time = f"{where}: " if where else "", found.time
    best = f"round_trips = {found.round_trips:g}, the best of {found.n_lengths} lengths"
    if not found.doubt:
        return f"{where}{time.value:.3g} s [{time.low:.3g}, {time.high:.3g}] at {best}"
    bound = f"; at most {time.high:.3g} s at {best}" if time.high < math.inf else ""
    return f"{where}{NOT_BRACKETED} ({found.doubt}){bound}"
