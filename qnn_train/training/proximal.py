"""A training on an open session: steps, checkpoints, and the outcome."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import CheckpointError
from qnn_train.model.file import TrainedModel
from qnn_train.network import QuantizedNetwork
from qnn_train.solve import SessionOracle, check_same, proximal_descent
from qnn_train.training.proximal_checkpoint import Checkpoint
from qnn_train.training.proximal_report import Curve, ProximalReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cim_hal import DevicePool, Session
    from qnn_train.network import Architecture
    from qnn_train.solve import ProximalState, ProximalStep
    from qnn_train.training.proximal_problem import Examples, ProximalProblem

__all__ = ["ProximalOutcome", "ProximalRun"]


@dataclass(frozen=True, eq=False)
class ProximalOutcome:
    """A trained model and how it came to be.

    Attributes
    ----------
    model : TrainedModel
    report : ProximalReport
    """

    model: TrainedModel
    report: ProximalReport


class ProximalRun:
    """A training in progress: iterate over its steps, then ask for the outcome.

    At any moment `checkpoint` holds all that the rest depends on.

    Parameters
    ----------
    problem : ProximalProblem
    session : cim_hal.Session or cim_hal.DevicePool
        A pool is given all calls of a step at once.
    coupling_bits : int, optional
        Those of the machine by default.
    resume : Checkpoint, optional
        Go on from there; the same steps follow as if there had been no stop, on a machine that
        gives the same samples for the same seed.

    Raises
    ------
    AssemblyError
        A neuron that does not fit the machine.
    CapabilityError
        More runs a call than the machine makes.
    CheckpointError
        The checkpoint is of other images, another recipe or another machine.
    """

    def __init__(
        self,
        problem: ProximalProblem,
        session: Session | DevicePool,
        *,
        coupling_bits: int | None = None,
        resume: Checkpoint | None = None,
    ) -> None:
        session.capabilities.check_runs(problem.recipe.n_runs)
        self._problem = problem
        self._capabilities = session.capabilities
        self._coupling_bits = coupling_bits
        self._digest = problem.digest()
        self.block_spins = problem.block_spins(session.capabilities)
        self._sizes = problem.block_sizes(self.block_spins)
        if resume is not None:
            self._check(resume)
        self._before = 0.0 if resume is None else resume.seconds
        self._curve = Curve() if resume is None else resume.curve
        self._calls = 0 if resume is None else resume.calls
        self._stage = 0 if resume is None else resume.stage
        self._state: ProximalState | None = None if resume is None else resume.state
        self._started = time.perf_counter()
        self._oracle = SessionOracle(
            session,
            n_runs=problem.recipe.n_runs,
            seed=problem.recipe.seed,
            coupling_bits=coupling_bits,
            schedule=problem.schedule(session.capabilities),
            settings=problem.recipe.settings_on(session.capabilities),
            calls=self._calls,
        )

    @property
    def steps(self) -> int:
        """Steps of the whole training, without those that stopping early saves."""
        return sum(map(self._steps_of, range(len(self._sizes))))

    @property
    def done(self) -> int:
        """Steps made, those before a checkpoint too."""
        before = sum(map(self._steps_of, range(self._stage)))
        return before if self._state is None else before + self._state.step

    @property
    def calls(self) -> int:
        """Calls of the machine up to the last step."""
        return self._calls

    @property
    def curve(self) -> Curve:
        """What was measured after each sweep."""
        return self._curve

    def __iter__(self) -> Iterator[ProximalStep]:
        while True:
            if not self._is_over():
                for step in self._descent():
                    # all at once: an interruption finds the run before the step, or after it
                    calls, curve = self._oracle.calls, self._curve_after(step.state)
                    self._state, self._calls, self._curve = step.state, calls, curve
                    yield step
                    if self._is_over():
                        break
            if self._stage + 1 == len(self._sizes):
                return
            self._next_stage()

    def checkpoint(self) -> Checkpoint:
        """Return all that the rest depends on, as of the last step."""
        if self._state is None:
            raise RuntimeError("no step was made")
        return Checkpoint(
            dataset=self._problem.selection.dataset,
            classes=self._problem.selection.classes,
            recipe=self._problem.recipe,
            digest=self._digest,
            device=self._capabilities.name,
            coupling_bits=self._coupling_bits,
            block_spins=self.block_spins,
            stage=self._stage,
            state=self._state,
            calls=self._calls,
            seconds=self._seconds(),
            curve=self._curve,
        )

    def accuracy_on(self, examples: Examples) -> float:
        """Return the share of right answers of the best network so far, on any images."""
        if self._state is None:
            raise RuntimeError("no step was made")
        return accuracy(self._network(self._state.best), examples)

    def outcome(self) -> ProximalOutcome:
        """Measure the best network on the test images; once, after the last step."""
        if self._state is None:
            raise RuntimeError("no step was made")
        seconds = self._seconds()
        selection, network = self._problem.selection, self._network(self._state.best)
        model = TrainedModel(
            selection.dataset,
            selection.classes,
            selection.class_names,
            self._problem.features,
            network,
        )
        return ProximalOutcome(model, self._report(network, seconds))

    def _descent(self) -> Iterator[ProximalStep]:
        recipe, held = self._problem.recipe, self._problem.validation
        return proximal_descent(
            self._architecture,
            self._problem.train.inputs,
            self._problem.train.labels,
            self._oracle,
            seed=recipe.seed,
            annealing=self._problem.stages[self._stage].annealing,
            ladder=recipe.ladder,
            block_spins=self.block_spins,
            block_reads=recipe.block_reads,
            tried=recipe.tried,
            judges=(held.inputs, held.labels) if len(held) else None,
            by=recipe.judge_by,
            state=self._state,
        )

    def _curve_after(self, state: ProximalState) -> Curve:
        """Return the curve, with one more point where a sweep has ended."""
        if state.step % self._length:
            return self._curve
        network, held = self._network(state.best), self._problem.validation
        validation = accuracy(network, held) if len(held) else None
        train = accuracy(network, self._problem.train)
        return self._curve.then(self._oracle.calls, state.best_loss, train, validation)

    @property
    def _architecture(self) -> Architecture:
        return self._problem.stages[self._stage].architecture

    @property
    def _length(self) -> int:
        """Steps of a sweep."""
        return len(self._sizes[self._stage])

    def _steps_of(self, stage: int) -> int:
        return len(self._sizes[stage]) * self._problem.stages[stage].sweeps

    def _is_over(self) -> bool:
        """Tell whether all steps of a stage are made, or the patience of the recipe is over."""
        patience, state = self._problem.recipe.patience, self._state
        if state is None or state.step < min(self._length, self._steps_of(self._stage)):
            return False
        stale = state.step - max(state.best_step, self._length) >= patience * self._length
        return state.step >= self._steps_of(self._stage) or (patience > 0 and stale)

    def _next_stage(self) -> None:
        if self._state is None:
            raise RuntimeError("no step was made")
        new = self._problem.stages[self._stage + 1].architecture
        state = self._state.recoded(self._architecture, new)
        self._stage, self._state = self._stage + 1, state

    def _network(self, bits: NDArray[np.int8]) -> QuantizedNetwork:
        return QuantizedNetwork.from_bits(self._architecture, bits)

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def _check(self, resume: Checkpoint) -> None:
        """Refuse a checkpoint of something else."""
        names = ("images or recipe", "block_spins", "coupling_bits", "device")
        found = (resume.digest, resume.block_spins, resume.coupling_bits, resume.device)
        here = (self._digest, self.block_spins, self._coupling_bits, self._capabilities.name)
        check_same(dict(zip(names, found, strict=True)), dict(zip(names, here, strict=True)))
        stages = self._problem.stages
        if resume.stage >= len(stages) or (
            len(resume.state.bits) != stages[resume.stage].architecture.n_bits
        ):
            raise CheckpointError("the checkpoint is of another network")

    def _report(self, network: QuantizedNetwork, seconds: float) -> ProximalReport:
        problem, held = self._problem, self._problem.validation
        selection, recipe = problem.selection, problem.recipe
        return ProximalReport(
            method="proximal",
            dataset=selection.dataset,
            classes=selection.classes,
            class_names=selection.class_names,
            network=str(problem.architecture),
            test_accuracy=accuracy(network, problem.examples(selection.test)),
            train_accuracy=accuracy(network, problem.train),
            validation_accuracy=accuracy(network, held) if len(held) else None,
            n_test=len(selection.test),
            n_train=len(problem.train),
            n_validation=len(held),
            bits_per_parameter=problem.architecture.bits_per_parameter,
            n_parameters=problem.architecture.n_parameters,
            n_bits=problem.architecture.n_bits,
            blocks=len(self._sizes[-1]),
            spins=max(map(max, self._sizes)),
            oracle_calls=self._calls,
            runs_per_call=recipe.n_runs,
            steps=self.done,
            seconds=seconds,
            seed=recipe.seed,
            device=self._capabilities.name,
            coupling_bits=self._coupling_bits or self._capabilities.coupling_bits,
            recipe=asdict(recipe),
            curve=self._curve,
        )


def accuracy(network: QuantizedNetwork, examples: Examples) -> float:
    """Return the share of right answers."""
    return float(np.mean(network.predict(examples.inputs) == examples.labels))
