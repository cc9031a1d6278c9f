"""The machine under test: a session, a seed, tests of significance, and how a check ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import CimError
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet

__all__ = [
    "ALPHA",
    "Cable",
    "CheckFailed",
    "MachineUnderTest",
    "NotApplicable",
    "chance",
    "require",
]

# A correct machine fails one of about twenty statistical tests once in a million each.
ALPHA = 1e-6


class CheckFailed(Exception):  # noqa: N818  a finding, not an error of this program
    """The machine breaks its promise; the message says how."""


class NotApplicable(Exception):  # noqa: N818
    """The check does not apply to this machine; the message says why."""


def require(holds: bool, said: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise ``CheckFailed`` with the observation `said`, unless the promise `holds`."""
    if not holds:
        raise CheckFailed(said)


def chance(hits: int, n: int, at_most: float) -> float:
    """Return the probability of at least `hits` of `n`, each of probability `at_most`."""
    from scipy.stats import binomtest  # takes long to import

    return float(binomtest(hits, n, at_most, alternative="greater").pvalue)


@dataclass(frozen=True, eq=False)
class Cable:
    """How a check cuts a machine off from its driver, and connects it again."""

    unplug: Callable[[], object]
    plug: Callable[[], object]


@dataclass(frozen=True, eq=False)
class MachineUnderTest:
    """A machine under test.

    Attributes
    ----------
    session : Session
        Open; only jobs are submitted.
    seed : int
        Of all problems, and of the jobs.
    n_runs : int
        Runs of a statistical test.
    timeout_s : float
        For each job.
    cancel_s : float
        How soon a cancelled job must have ended.
    cable : Cable, optional
        For the check that unplugs the machine; it is skipped without.
    """

    session: Session
    seed: int = 0
    n_runs: int = 256
    timeout_s: float = 120.0
    cancel_s: float = 5.0
    cable: Cable | None = None

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the machine says it can do."""
        return self.session.describe(timeout_s=self.timeout_s).capabilities

    @property
    def spins_for_models(self) -> int:
        """Spins that are left for a model with a field."""
        return self.capabilities.max_spins - self.capabilities.field_spins

    def spins(self, most: int, *, least: int = 1) -> int:
        """Return the spins of a small problem: `most`, or as many as the machine has.

        Raises
        ------
        NotApplicable
            The machine has fewer than `least`.
        """
        n_spins = min(most, self.capabilities.max_spins)
        if n_spins < least:
            raise NotApplicable(f"it takes {counted(least, 'spin')}")
        return n_spins

    def rng(self, *key: int) -> np.random.Generator:
        """Return a random generator for the seed of the test and a key."""
        return np.random.default_rng([self.seed, *key])

    def sample(self, model: IsingModel, *, n_runs: int | None = None, **options: Any) -> SampleSet:
        """Sample a model, in several jobs where `max_runs` demands it.

        Raises
        ------
        NotApplicable
            The machine has too few spins.
        """
        self.spins(model.n_spins, least=model.n_spins)
        left = self.n_runs if n_runs is None else n_runs
        options = {"seed": self.seed, "timeout_s": self.timeout_s} | options
        found: SampleSet | None = None
        while left:
            now = min(left, self.capabilities.max_runs)
            part = self.session.sample(model, n_runs=now, **options)
            found = part if found is None else found.concat(part)
            options["seed"] += 1
            left -= now
        if found is None:
            raise ValueError("a check asked for no runs")
        return found

    def ignores_stop(self, job_id: str) -> bool:
        """Cancel a job that was not over in time; return whether it goes on all the same."""
        try:
            self.session.cancel(job_id, timeout_s=self.timeout_s)
            return self.session.job(job_id).wait(2 * self.cancel_s) not in TERMINAL
        except CimError:  # the server knows it no more, or ends
            return False

    def require_often(self, hits: NDArray[np.bool_], what: str, *, more_than: float = 0.5) -> float:
        """Return the share of hits; raise ``CheckFailed`` where chance explains them."""
        share = float(hits.mean())
        p = chance(int(hits.sum()), len(hits), more_than)
        require(
            p < ALPHA,
            f"{what} in {100 * share:.1f} % of {counted(len(hits), 'run')}; more than "
            f"{100 * more_than:.3g} % was required (p = {p:.1g}, must be below {ALPHA:.0e})",
        )
        return share
