r"""The search for a machine's schedule and settings that suit one model.

Every trial is one job of the same cost: a *unit* of work is `work` round trips, spent on
:math:`g = \mathrm{max}(1, \mathrm{work} / \mathrm{round\_trips})` runs, and a job has
`UNITS` of them. The score is the mean over units of the lowest energy in a unit: what the same
time buys, be it many short runs or a few long ones.

The search is a Parzen-estimator one (Bergstra et al., NIPS 2011) by Optuna, an extra
(``tune``). Its best score is the luckiest of many, so `compare`
measures the winner again, beside the machine's defaults, with seeds that no trial has used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CimError, ModelError
from cim_hal.extras import load_extra
from cim_hal.model.conversion import require, whole_number, with_article
from cim_hal.model.ising import check_model
from cim_hal.model.schedule import PumpSchedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Setting
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import Note

__all__ = ["UNITS", "Candidate", "Comparison", "Trial", "Tuner"]

UNITS = 16
# A run may be this much shorter or longer than the machine recommends.
SPAN = 8.0
MAX_SEED = 2**63


@dataclass(frozen=True)
class Candidate:
    """A schedule, and the settings that differ from the machine's defaults."""

    schedule: PumpSchedule
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trial:
    """One job of the search; number 0 has the defaults of the machine."""

    number: int
    candidate: Candidate
    unit_energies: NDArray[np.float64]

    @property
    def score(self) -> float:
        """Mean of the lowest energies; lower is better."""
        return float(self.unit_energies.mean())

    @property
    def best_energy(self) -> float:
        """Lowest energy of all."""
        return float(self.unit_energies.min())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two candidates, measured again with the same fresh seeds: lowest energies of each unit.

    The notes are those in the record of the last job of each.
    """

    tuned: NDArray[np.float64]
    default: NDArray[np.float64]
    tuned_notes: Mapping[str, Note] = field(default_factory=dict)
    default_notes: Mapping[str, Note] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        """Mean energy of the defaults less that of the tuned; positive is better."""
        return float(self.default.mean() - self.tuned.mean())

    @property
    def standard_error(self) -> float:
        """Of `gain`."""
        variances = (v.var(ddof=1) / len(v) for v in (self.tuned, self.default))
        return float(np.sqrt(sum(variances)))

    @property
    def is_better(self) -> bool:
        """Whether the gain exceeds twice its standard error."""
        return self.gain > 2 * self.standard_error


class Tuner:
    """A search on an open session; iterate for as long as time allows.

    Parameters
    ----------
    session : Session
    model : IsingModel
    seed : int
        Of the search and of every job.
    work : int, optional
        Round trips of a unit; by default two runs as long as the machine recommends.
    settings : mapping of str to float, optional
        Of every job; these are not searched.

    Raises
    ------
    CimError
        Optuna is not installed.
    CapabilityError
        A setting that the machine does not have, or out of its range.
    """

    def __init__(
        self,
        session: Session,
        model: IsingModel,
        *,
        seed: int = 0,
        work: int | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> None:
        check_model(model)
        if not hasattr(session, "capabilities"):
            kind = with_article(type(session).__name__)
            raise ModelError(f"the session is {kind}", hint="pass what open_device returns")
        work = None if work is None else whole_number("work", work, ModelError, 1)
        seed = whole_number("seed", seed, ModelError, 0, MAX_SEED - 1)
        session.capabilities.check_settings({} if settings is None else settings)
        self._fixed = dict(settings or {})
        optuna = _optuna()
        self._session, self._model, self._seed = session, model, seed
        recommended = session.capabilities.default_schedule.round_trips
        self.work = 2 * recommended if work is None else work
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=True)
        self._study = optuna.create_study(sampler=sampler)
        self._study.enqueue_trial(self._default_parameters())
        self._n_jobs = 0
        self._notes: Mapping[str, Note] = {}
        self.best: Trial | None = None

    def __iter__(self) -> Iterator[Trial]:
        """Yield trial after trial, the machine's defaults first; endless."""
        while True:
            asked = self._study.ask()
            candidate = self._suggested(asked)
            trial = Trial(asked.number, candidate, self._measure(candidate))
            self._study.tell(asked, trial.score)
            if self.best is None or trial.score < self.best.score:
                self.best = trial
            yield trial

    @property
    def default(self) -> Candidate:
        """The machine's own schedule and settings, and those given."""
        return Candidate(self._session.capabilities.default_schedule, self._fixed)

    def compare(self, candidate: Candidate, *, jobs: int = 2) -> Comparison:
        """Measure a candidate and the defaults again, in `jobs` jobs each."""
        require("candidate", candidate, Candidate, ModelError, hint="that of a trial, or `default`")
        jobs = whole_number("jobs", jobs, ModelError, 1)
        tuned = np.concatenate([self._measure(candidate) for _ in range(jobs)])
        tuned_notes = self._notes
        default = np.concatenate([self._measure(self.default) for _ in range(jobs)])
        return Comparison(tuned, default, tuned_notes, self._notes)

    def _measure(self, candidate: Candidate) -> NDArray[np.float64]:
        capabilities = self._session.capabilities
        runs = max(1, round(self.work / candidate.schedule.round_trips))
        runs = min(runs, max(1, capabilities.max_runs // UNITS))
        samples = self._session.sample(
            self._model,
            candidate.schedule,
            n_runs=min(runs * UNITS, capabilities.max_runs),
            seed=(self._seed + self._n_jobs) % MAX_SEED,
            settings=candidate.settings,
        )
        self._n_jobs += 1
        self._notes = samples.record.notes
        # samples are ranked, runs are independent: dealt in random order they are units again
        energies = np.random.default_rng(self._n_jobs).permutation(samples.energies)
        return np.array(
            [unit.min() for unit in np.array_split(energies, min(UNITS, len(energies)))]
        )

    def _default_parameters(self) -> dict[str, Any]:
        capabilities = self._session.capabilities
        schedule = capabilities.default_schedule
        return {
            "pump.first": schedule.pump[0],
            "pump.last": schedule.pump[-1],
            "round_trips": schedule.round_trips,
            **{f"settings.{s.name}": s.default for s in self._searched()},
        }

    def _suggested(self, asked: Any) -> Candidate:
        capabilities = self._session.capabilities
        recommended = capabilities.default_schedule
        low, high = capabilities.pump_range
        high = min(high, max(2 * max(recommended.pump), low))
        first = asked.suggest_float("pump.first", low, high)
        last = asked.suggest_float("pump.last", low, high)
        shortest = max(1, int(recommended.round_trips / SPAN))
        longest = min(self.work, int(recommended.round_trips * SPAN))
        longest = max(shortest, recommended.round_trips, min(longest, capabilities.max_round_trips))
        round_trips = asked.suggest_int("round_trips", shortest, longest, log=True)
        settings = dict(self._fixed)
        for s in self._searched():
            suggest = asked.suggest_int if s.integer else asked.suggest_float
            kind = int if s.integer else float
            value = suggest(f"settings.{s.name}", kind(s.low), kind(s.high), log=s.log)
            if value != s.default:
                settings[s.name] = float(value)
        if asked.number == 0:  # with all its knots, of which the search moves the ends
            return self.default
        return Candidate(PumpSchedule((first, last), round_trips), settings)

    def _searched(self) -> Iterator[Setting]:
        known = self._session.capabilities.settings
        return (s for s in known if s.searched and s.name not in self._fixed)


def _optuna() -> Any:
    optuna = load_extra("optuna", "tuning", CimError)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
