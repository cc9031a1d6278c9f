"""Proximal descent as a training: stages, sweeps, and the judging of what each sweep has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.text import counted
from qnn_train.archive import checked_array, checked_bits, reading
from qnn_train.arrays import Array, Arrays, BitArray
from qnn_train.errors import CheckpointError
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.solve import ProximalState, ProximalStep, proximal_descent
from qnn_train.solve.proximal import recoded
from qnn_train.solve.straight_through import straight_through
from qnn_train.training.checkpoint import Checkpoint, machine_of
from qnn_train.training.descent import (
    DescentProblem,
    SweepResult,
    number,
    sweep_arrays,
    sweeps_of,
)
from qnn_train.training.oracles import OracleRecord, TrainingOracle, capabilities_of
from qnn_train.training.report import Row

if TYPE_CHECKING:
    from cim_hal import DevicePool, Session


__all__ = ["ProximalStepper"]


WORST = float(np.finfo(np.float64).max)
LITTLE = 0.1  # a gain is a share of a loss, or of this where it is less


@dataclass(frozen=True, eq=False)
class _Best:
    """The best network of a stage so far: its bits, how it was judged, and after which step."""

    bits: BitArray
    loss: float = np.inf
    step: int = 0
    train_score: float = 0.0
    validation_score: float | None = None


@dataclass(frozen=True, eq=False)
class _Position:
    """Where a training is. `sweeps` counts networks judged, at ends of sweeps of all stages."""

    state: ProximalState
    best: _Best
    turn: tuple[float, int] = (WORST, 0)  # least loss of this start, and after which step
    stage: int = 0
    oracle: OracleRecord = field(default_factory=OracleRecord)
    sweeps: int = 0


class ProximalStepper:
    """Steps of a proximal descent, stage after stage; its networks are judged after each sweep.

    Arguments as of `Problem.stepper`. A pool is given all calls of a step at once.

    Raises
    ------
    AssemblyError
        A neuron that does not fit the machine.
    CapabilityError
        More runs a call than the machine makes.
    CheckpointError
        Arrays of another network, or damaged ones.
    """

    def __init__(
        self,
        problem: DescentProblem,
        session: Session | DevicePool | None,
        resume: Checkpoint | None = None,
    ) -> None:
        recipe = problem.recipe
        capabilities = capabilities_of(recipe, session)
        capabilities.check_runs(recipe.n_runs)
        self._problem = problem
        self._block_spins = problem.block_spins(capabilities)
        self.machine = machine_of(capabilities) | {"block_spins": self._block_spins}
        self.sizes = problem.block_sizes(self._block_spins)
        self._rows = [] if resume is None else resume.history.rows()
        self._sweeps: list[SweepResult] = []
        self._pretrained: tuple[int, QuantizedNetwork | None] = -1, None  # by number of the start
        self._at = self._start() if resume is None else self._restored(resume.arrays)
        if resume is None and problem.init is not None:
            self._at = self._judged(self._at)
        self._steps: Iterator[ProximalStep] | None = None
        self._oracle = TrainingOracle(
            recipe,
            session,
            self._at.oracle,
            schedule=problem.schedule(capabilities),
            settings=recipe.settings_on(capabilities),
        )

    @property
    def calls(self) -> int:
        """Calls of the oracle up to the last step."""
        return self._at.oracle.calls

    @property
    def oracle_record(self) -> OracleRecord:
        """What the oracle has done up to the last step."""
        return self._at.oracle

    @property
    def progress(self) -> tuple[int, int]:
        """Steps made, and steps of all stages, without those that stopping early saves."""
        steps = [self._steps_of(stage) for stage in range(len(self.sizes))]
        return sum(steps[: self._at.stage]) + self._at.state.step, sum(steps)

    @property
    def is_over(self) -> bool:
        """Whether all stages are done, or the patience of the recipe is over in the last."""
        return self._at.stage + 1 == len(self.sizes) and self._is_stage_over()

    @property
    def rows(self) -> list[Row]:
        """What was measured after each sweep, and before the first of a given network."""
        return self._rows[: self._at.sweeps]

    @property
    def init_row(self) -> Row | None:
        """How the given network was judged that the descent began with."""
        return None if self._problem.init is None else self._rows[0]

    @property
    def n_sweeps(self) -> int:
        """Number of networks that were judged; that of `rows`."""
        return self._at.sweeps

    @property
    def sweeps(self) -> list[SweepResult]:
        """The network at the end of each sweep, where the problem keeps them."""
        return self._sweeps[: self._at.sweeps]

    def measured(self, first: int) -> Iterator[tuple[SweepResult, Row]]:
        """Yield from `sweeps` and `rows` those from `first` on, without a copy of all."""
        return ((self._sweeps[sweep], self._rows[sweep]) for sweep in range(first, self._at.sweeps))

    @property
    def state(self) -> ProximalState:
        """State of the descent after the last step."""
        return self._at.state

    @property
    def best(self) -> QuantizedNetwork:
        """The best network so far; that of the last step before the first sweep is over."""
        best = self._at.best
        return QuantizedNetwork.from_bits(self._architecture(self._at, best.step), best.bits)

    def step(self) -> ProximalStep:
        """Make one step."""
        at = self._at
        if self._is_stage_over():
            at, self._steps = self._next_stage(), None
        elif self._is_stale():
            at, self._steps = self._next_start(), None
        if self._steps is None:
            self._steps = self._descent(at)
        made = next(self._steps)
        at = replace(at, state=made.state, oracle=self._oracle.record)
        if made.state.step % self._turn_steps == 0:
            self._steps = None  # the next start may have another clip
        if made.state.step % len(self.sizes[at.stage]) == 0:
            at = self._judged(at)
        self._at = at  # all at once: an interruption finds it before the step, or after it
        return made

    def status(self) -> str:
        """Return calls, least loss and accuracies of the best network."""
        best, text = self._at.best, counted(self.calls, "call")
        if not self._at.sweeps:
            return text
        held = best.validation_score
        validation = "" if held is None else f", validation {100 * held:.2f} %"
        accuracies = f"train {100 * best.train_score:.2f} %{validation}"
        return f"{text}, least loss {best.loss:.4f}, {accuracies}"

    def arrays(self) -> dict[str, Array]:
        """Return the state."""
        at = self._at
        numbers = [
            at.state.scale,
            at.best.loss,
            at.best.train_score,
            number(at.best.validation_score),
        ]
        found = {
            "bits": np.packbits([at.state.bits, at.best.bits], axis=1),
            "numbers": np.array(numbers),
            "counts": np.array([at.stage, at.state.step, at.best.step, self.calls, at.sweeps]),
            "turn": np.array(at.turn, np.float64),
        } | at.oracle.arrays()
        if self._problem.KEEPS_SWEEPS:
            found |= sweep_arrays(self.sweeps, self._problem)
        return found

    def _start(self) -> _Position:
        problem = self._problem
        architecture, seed = problem.stages[0].architecture, problem.recipe.seed
        state = ProximalState.start(architecture, seed=seed)
        if problem.init is not None:
            state = ProximalState(0, problem.init.to_bits(), problem.init_scale(problem.init))
        self._at = _Position(state, _Best(state.bits))
        network = self._network_of_start(self._at)
        if problem.init is None and network is not None:
            state = ProximalState(0, network.to_bits(), 0.0)
        return _Position(state, _Best(state.bits))

    def _descent(self, at: _Position) -> Iterator[ProximalStep]:
        recipe, stage = self._problem.recipe, self._problem.stages[at.stage]
        return proximal_descent(
            self._architecture(at, at.state.step + 1),
            self._problem.train.inputs,
            self._problem.train.labels,
            self._oracle,
            seed=recipe.seed,
            loss=self._problem.loss,
            annealing=stage.annealing,
            ladder=recipe.ladder,
            block_spins=self._block_spins,
            block_reads=recipe.block_reads,
            tried=recipe.tried,
            weights=self._problem.train.weights,
            start=self._network_of_start(at),
            state=at.state,
        )

    def _network_of_start(self, at: _Position) -> QuantizedNetwork | None:
        """Return where the descent begins that the next step belongs to; None for random bits."""
        problem, steps = self._problem, self._problem.recipe.pretraining
        if problem.init is not None or not steps:
            return problem.init
        start = at.state.step // self._turn_steps
        if self._pretrained[0] != start:
            train = problem.train
            network, _ = straight_through(
                self._architecture(at, at.state.step + 1),
                *(train.inputs, train.labels),
                loss=problem.loss,
                seed=problem.recipe.seed + start,
                steps=steps,
                weights=train.weights,
            )
            self._pretrained = start, network
        return self._pretrained[1]

    def _judged(self, at: _Position) -> _Position:
        """Measure the network at the end of a sweep, and record it."""
        state, best, tolerance = at.state, at.best, self._problem.recipe.tolerance
        network = QuantizedNetwork.from_bits(self._architecture(at, state.step), state.bits)
        found = self._problem.judge(network, state.scale)
        if found.objective < best.loss:
            scores = found.train_score, found.validation_score
            best = _Best(state.bits, found.objective, state.step, *scores)
        turn = at.turn if at.turn[1] > self._begin(state.step) else (WORST, 0)
        if found.objective < turn[0] - tolerance * max(turn[0], LITTLE):
            turn = found.objective, state.step
        del self._rows[at.sweeps :], self._sweeps[at.sweeps :]
        row = Row(at.oracle.calls, best.loss, best.train_score)
        self._rows.append(row._replace(validation_accuracy=best.validation_score))
        if self._problem.KEEPS_SWEEPS:
            self._sweeps.append(found)
        return replace(at, best=best, turn=turn, sweeps=at.sweeps + 1)

    def _steps_of(self, stage: int) -> int:
        return len(self.sizes[stage]) * self._problem.stages[stage].sweeps

    def _is_stage_over(self) -> bool:
        at = self._at
        steps, end = self._steps_of(at.stage), self._begin(at.state.step) + self._turn_steps
        is_learned = at.best.loss < self._problem.recipe.tolerance
        return is_learned or at.state.step >= steps or (end >= steps and self._is_stale())

    @property
    def _turn_steps(self) -> int:
        """Steps of a descent from one start."""
        sweeps, stage = self._problem.stages[self._at.stage].annealing.restart, self._at.stage
        return sweeps * len(self.sizes[stage]) or self._steps_of(stage)

    def _begin(self, step: int) -> int:
        """Return the step before the first of the descent that a step belongs to."""
        return max(0, step - 1) // self._turn_steps * self._turn_steps

    def _is_stale(self) -> bool:
        """Tell whether the patience of the recipe is over in this descent."""
        at, recipe = self._at, self._problem.recipe
        length, begin = len(self.sizes[at.stage]), self._begin(at.state.step)
        counted = max(at.turn[1], begin + length * (recipe.annealed or 1))
        return 0 < recipe.patience * length <= at.state.step - counted

    def _next_start(self) -> _Position:
        """Return the beginning of the next descent, see `proximal_descent`."""
        at = self._at
        step = self._begin(at.state.step) + self._turn_steps
        return replace(at, state=replace(at.state, step=step))

    def _next_stage(self) -> _Position:
        """Return the beginning of the next stage, from the best network of this one."""
        at, stages = self._at, self._problem.stages
        old, new = (stages[at.stage + index].architecture for index in (0, 1))
        state, is_exact = recoded(at.best.bits, at.state.scale, old, new)
        best = replace(at.best, bits=state.bits, step=0)
        if not is_exact:
            best = replace(best, loss=np.inf)
        return replace(at, state=state, best=best, turn=(WORST, 0), stage=at.stage + 1)

    def _architecture(self, at: _Position, step: int) -> Architecture:
        """Return the network that a step of a stage trains, the first of which is 1."""
        sweep = max(0, step - 1) // len(self.sizes[at.stage])
        return self._problem.stages[at.stage].architecture_in(sweep)

    def _restored(self, arrays: Arrays) -> _Position:
        with reading("the checkpoint", CheckpointError, "holds no such state", arrays):
            counts = checked_array(arrays, "counts", "i", (5,)).tolist()
            numbers, turn = arrays["numbers"], checked_array(arrays, "turn", "f", (2,)).tolist()
            stage, step, best_step, calls, sweeps = counts
            if numbers.shape != (4,) or numbers.dtype.kind != "f" or min(counts) < 0:
                raise ValueError("counts below 0, or no numbers")
            if stage >= len(self.sizes) or not np.isfinite(numbers[0]):
                raise ValueError(f"no stage {stage}")
            if sweeps != len(self._rows):
                raise ValueError(f"a history of {counted(len(self._rows), 'sweep')}")
            n_bits = self._problem.stages[stage].architecture.n_bits
            record = OracleRecord.restored(arrays, calls)
            bits, best_bits = checked_bits(arrays, "bits", 2, n_bits)
            if self._problem.KEEPS_SWEEPS:
                self._sweeps = sweeps_of(arrays, self._problem, sweeps)
        scale, loss, train, held = numbers.tolist()
        best = _Best(best_bits, loss, best_step, train, None if np.isnan(held) else held)
        state = ProximalState(step, bits, scale)
        return _Position(state, best, (turn[0], int(turn[1])), stage, record, sweeps)
