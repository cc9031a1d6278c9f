"""A descent on a table: sweep after sweep, judged, reported, kept, and stopped when it should."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.estimator.checkpoint import Checkpoint
from qnn_train.network import QuantizedNetwork
from qnn_train.solve import Annealing, SessionOracle, proximal_descent
from qnn_train.solve.blocks import block_bits, partition
from qnn_train.training.cost import Cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cim_hal import Capabilities, DevicePool, PumpSchedule, Session
    from qnn_train.estimator.prediction_task import OutputScale, PredictionTask
    from qnn_train.network import Architecture
    from qnn_train.training.proximal_problem import Examples
    from qnn_train.training.proximal_recipe import ProximalRecipe

__all__ = ["Descent", "Progress", "SweepResult"]

BLOCK_SPINS = 128


@dataclass(frozen=True)
class Progress:
    """What a callback is told at the end of a sweep.

    Candidates are always tried by the exact forward pass, so that no constraint can be violated
    and there is no gap to report.

    Attributes
    ----------
    sweep, sweeps : int
        Sweeps made, and those there are at most.
    calls : int
        Calls of the machine so far.
    objective : float
        Mean loss of the network at the end of this sweep on the samples that judge.
    best_objective : float
        The least so far.
    train_score : float
        Of the network at the end of this sweep, what `score` of the estimator tells.
    validation_score : float or None
        The same; None where no samples are kept apart.
    """

    sweep: int
    sweeps: int
    calls: int
    objective: float
    best_objective: float
    train_score: float
    validation_score: float | None


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A network at the end of a sweep.

    Attributes
    ----------
    network : QuantizedNetwork
    head : OutputScale
        What follows its margins.
    objective, train_loss : float
        Mean loss on the samples that judge, and on those that are trained on.
    """

    network: QuantizedNetwork
    head: OutputScale
    objective: float
    train_loss: float

    def outputs(self, inputs: NDArray[np.int16]) -> NDArray[np.float64]:
        """Return what the loss is of, (n, outputs)."""
        return self.head.outputs(_margins(self.network, inputs))


@dataclass(frozen=True, eq=False)
class Descent:
    """What is trained, on what, and how.

    Parameters
    ----------
    task : PredictionTask
    architecture : Architecture
    recipe : ProximalRecipe
        Of which sweeps, ladder, runs, round trips, annealing and seed are used.
    train, validation : Examples
        Labels are those of the task; `validation` may be empty.
    patience : int
        Sweeps without a better network after which it ends; 0 for never.
    block_spins : int or None
        Largest block; None for 128, or more where a neuron needs it.
    """

    task: PredictionTask
    architecture: Architecture
    recipe: ProximalRecipe
    train: Examples
    validation: Examples
    patience: int = 0
    block_spins: int | None = None
    callbacks: Sequence[Callable[[Progress], object]] = ()
    history: list[Progress] = field(default_factory=list)

    def run(self, session: Session | DevicePool, path: Path | None = None) -> list[SweepResult]:
        """Train, and return the network at the end of each sweep.

        Parameters
        ----------
        path : Path, optional
            Where to go on from if the file is there, and what to write after each sweep.

        Raises
        ------
        AssemblyError
            A neuron that does not fit the machine.
        CheckpointError
            The file is of another training.
        """
        session.capabilities.check_runs(self.recipe.n_runs)
        digest = self._digest(session.capabilities)
        checkpoint = Checkpoint(digest)
        if path is not None and path.exists():
            checkpoint = Checkpoint.load(path, digest=digest, n_bits=self.architecture.n_bits)
        found: list[SweepResult] = []
        for index in range(len(checkpoint)):
            found.append(self._found(checkpoint, index))
            self._report(found, checkpoint.calls[index])
        if found and self._is_over(found):
            return found
        self._go_on(session, checkpoint, found, path)
        return found

    def cost(self, capabilities: Capabilities) -> Cost:
        """Count what it takes at most; nothing is sent to a machine."""
        block_spins = self._largest_block(capabilities)
        blocks = partition(self.architecture, block_spins)
        spins = max(len(block_bits(self.architecture, block).positions) for block in blocks)
        spins += capabilities.field_spins
        calls = self.recipe.sweeps * len(blocks) * len(self.recipe.ladder)
        trips, trip_s = self._schedule(capabilities).round_trips, capabilities.round_trip_s
        runs = calls * self.recipe.n_runs
        return Cost(
            network=str(self.architecture),
            n_train=len(self.train),
            n_validation=len(self.validation),
            n_parameters=self.architecture.n_parameters,
            n_bits=self.architecture.n_bits,
            bits_per_parameter=self.architecture.bits_per_parameter,
            blocks=len(blocks),
            spins=spins,
            couplings=spins * (spins - 1) // 2,
            calls=calls,
            runs=runs,
            machine_s=None if trip_s is None else runs * trips * trip_s,
        )

    def _go_on(
        self,
        session: Session | DevicePool,
        checkpoint: Checkpoint,
        found: list[SweepResult],
        path: Path | None,
    ) -> None:
        recipe, block_spins = self.recipe, self._largest_block(session.capabilities)
        length = len(partition(self.architecture, block_spins))
        oracle = SessionOracle(
            session,
            n_runs=recipe.n_runs,
            seed=recipe.seed,
            schedule=self._schedule(session.capabilities),
            settings=recipe.settings_on(session.capabilities),
            calls=checkpoint.calls[-1] if len(checkpoint) else 0,
        )
        steps = proximal_descent(
            self.architecture,
            self.train.inputs,
            self.train.labels,
            oracle,
            seed=recipe.seed,
            loss=self.task.loss,
            annealing=Annealing(sweeps=recipe.sweeps, batch=recipe.batch, width=recipe.width),
            ladder=recipe.ladder,
            block_spins=block_spins,
            judges=(self.train.inputs[:1], self.train.labels[:1]),  # judged here, all of them
            state=checkpoint.state(length),
        )
        for step in islice(steps, length - 1, None, length):
            checkpoint.append(step.state, oracle.calls)
            if path is not None:
                checkpoint.save(path)
            found.append(self._found(checkpoint, -1))
            told = self._report(found, oracle.calls)
            stops = [callback(told) for callback in self.callbacks]
            if any(stop is True for stop in stops) or self._is_over(found):
                return

    def _is_over(self, found: list[SweepResult]) -> bool:
        best = int(np.argmin([each.objective for each in found]))
        stale = len(found) - 1 - best
        return len(found) >= self.recipe.sweeps or 0 < self.patience <= stale

    def _found(self, checkpoint: Checkpoint, index: int) -> SweepResult:
        network = QuantizedNetwork.from_bits(self.architecture, checkpoint.bits[index])
        margins, labels = _margins(network, self.train.inputs), self.train.labels
        head = self.task.head(margins, labels, checkpoint.scales[index])
        of_train = judged = self.task.objective(head.outputs(margins), labels)
        if len(self.validation):
            outputs = head.outputs(_margins(network, self.validation.inputs))
            judged = self.task.objective(outputs, self.validation.labels)
        return SweepResult(network, head, judged, of_train)

    def _report(self, found: list[SweepResult], calls: int) -> Progress:
        held = self.validation
        told = Progress(
            sweep=len(found),
            sweeps=self.recipe.sweeps,
            calls=calls,
            objective=found[-1].objective,
            best_objective=min(each.objective for each in found),
            train_score=self._score(found[-1], self.train),
            validation_score=self._score(found[-1], held) if len(held) else None,
        )
        self.history.append(told)
        return told

    def _score(self, found: SweepResult, examples: Examples) -> float:
        return self.task.score(found.outputs(examples.inputs), examples.labels)

    def _largest_block(self, capabilities: Capabilities) -> int:
        room = capabilities.max_spins - capabilities.field_spins
        if self.block_spins is not None:
            return min(self.block_spins, room)
        layers = partition(self.architecture, self.architecture.n_bits)  # each is one block
        neurons = [
            len(block_bits(self.architecture, layer).positions) // len(layer.units)
            for layer in layers
        ]
        return min(max(BLOCK_SPINS, *neurons), room)

    def _schedule(self, capabilities: Capabilities) -> PumpSchedule:
        trips, default = self.recipe.round_trips, capabilities.default_schedule
        return default if trips is None else default.stretched(trips)

    def _digest(self, capabilities: Capabilities) -> str:
        loss = self.task.loss
        settings = (self.architecture, loss, self.recipe, self.block_spins, capabilities.name)
        found = hashlib.sha256(repr(settings).encode())
        for part in (self.train, self.validation):
            found.update(np.ascontiguousarray(part.inputs).tobytes())
            found.update(np.ascontiguousarray(part.labels).tobytes())
        return found.hexdigest()


def _margins(network: QuantizedNetwork, inputs: NDArray[np.int16]) -> NDArray[np.float64]:
    margins = network.margin(inputs).astype(np.float64)
    return margins.reshape(len(inputs), network.architecture.n_outputs)
