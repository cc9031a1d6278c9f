"""The methods by name, each of which starts a solver on a task, and the loop that trains by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import Arrays, BitArray
from qnn_train.errors import TrainingError
from qnn_train.method_names import QCBO_METHODS
from qnn_train.program import Assembly, Parts, Task
from qnn_train.solve import (
    AllImagesState,
    BoundedDual,
    Candidate,
    CoupledProblem,
    DualRule,
    Extractor,
    FixedDual,
    HedgingState,
    Iterate,
    LiftedProblem,
    Oracle,
    PenaltyState,
    RandomSearchState,
    RhoSchedule,
    Scorer,
    State,
    all_images_gradient,
    conditional_gradient,
    penalty_method,
    progressive_hedging,
    random_search,
    restored,
    to_arrays,
)
from qnn_train.solve.all_images import Rule
from qnn_train.solve.qcgd import ConicProgram

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "METHODS",
    "AllImages",
    "Decomposed",
    "Gradient",
    "Hedging",
    "Method",
    "Penalty",
    "RandomSearch",
    "SolverState",
    "TrainingStep",
    "method_named",
    "train",
]

Iterates: TypeAlias = "Iterator[Iterate[DataclassInstance]]"


class Method(Protocol):
    """Something that trains."""

    @property
    def about(self) -> str:
        """What it is, in a line."""
        ...

    @property
    def batch(self) -> int | None:
        """Samples of a part; None where the program is whole."""
        ...

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Return the iterates, without an end; those after a state that was saved.

        Raises
        ------
        CheckpointError
            The arrays are not a state of this method on this task, see `restored`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Quantum conditional gradients on the whole program.

    Parameters
    ----------
    rule : {"cgal", "q-fw", "homotopy"}
        How the multipliers move: bounded steps, γ = β0 always, or not at all.
    penalty : float
        β0.
    atoms : int
        Samples that share a step.
    """

    rule: Literal["cgal", "q-fw", "homotopy"] = "cgal"
    penalty: float = 1.0
    atoms: int = 1
    batch: None = None

    @property
    def about(self) -> str:
        """What the rule is."""
        return QCBO_METHODS["qcgd" if self.rule == "cgal" else self.rule]

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Descend on the lifted program."""
        return _descent(self, LiftedProblem.lift(task.qcbo), oracle, saved)


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """The penalty method.

    Parameters
    ----------
    weights : sequence of float, optional
        λ of each call in turn; by default the one that makes the penalty form exact.
    """

    weights: Sequence[float] | None = None
    about: str = QCBO_METHODS["penalty"]
    batch: None = None

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Sample the penalty form."""
        state = restored(PenaltyState(), saved)
        return penalty_method(task.qcbo, oracle, weights=self.weights, state=state)


@dataclass(frozen=True, kw_only=True)
class Decomposed:
    """Conditional gradients on parts coupled by moments (DLBO).

    Parameters
    ----------
    batch : int
        Samples of a part.
    moments : {1, 2}
    rule, penalty, atoms
        See `Gradient`.
    """

    batch: int = 5
    moments: Literal[1, 2] = 1
    rule: Literal["cgal", "q-fw", "homotopy"] = "cgal"
    penalty: float = 1.0
    atoms: int = 1

    @property
    def about(self) -> str:
        """What is coupled."""
        return QCBO_METHODS["dlbo" if self.moments == 1 else "dlbo-2"]

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Descend on all parts at once."""
        problem = CoupledProblem.lift(_parts(task, self.batch), order=self.moments)
        return _descent(self, problem, oracle, saved)


@dataclass(frozen=True, kw_only=True)
class Hedging:
    """Quantum progressive hedging.

    Parameters
    ----------
    batch : int
        Samples of a part.
    rho : RhoSchedule, optional
    weight : float, optional
        Penalty of a part's constraints.
    """

    batch: int = 5
    rho: RhoSchedule | None = None
    weight: float | None = None
    about: str = QCBO_METHODS["qph"]

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Solve the parts again and again."""
        parts = _parts(task, self.batch)
        state = restored(HedgingState.start(parts), saved)
        return progressive_hedging(parts, oracle, rho=self.rho, weight=self.weight, state=state)


@dataclass(frozen=True, kw_only=True)
class AllImages:
    """Conditional gradients with the constraints of all images.

    Parameters
    ----------
    rule, penalty, margin
        See `all_images_gradient`.
    seed : int
        Of the first network.
    """

    rule: Rule = "multipliers"
    penalty: float = 0.03
    margin: float = 1.0
    seed: int = 0
    batch: None = None

    @property
    def about(self) -> str:
        """What the rule is."""
        return QCBO_METHODS["qcgd-all" if self.rule == "multipliers" else "penalty-all"]

    def start(self, task: Task | Assembly, oracle: Oracle, saved: Arrays | None = None) -> Iterates:
        """Descend with the host at the side of the machine; the task is not assembled."""
        if not isinstance(task, Task):
            raise TrainingError("an assembled program is too large", hint="pass the Task")
        images = len(np.asarray(task.inputs))
        start = AllImagesState.start(task.architecture, images, seed=self.seed)
        return all_images_gradient(
            task.architecture,
            task.inputs,
            task.labels,
            oracle,
            loss=task.loss,
            rule=self.rule,
            penalty=self.penalty,
            margin=self.margin,
            state=restored(start, saved),
        )


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Random weights, without a machine.

    Parameters
    ----------
    n_samples : int
        Networks of a call.
    seed : int
    """

    n_samples: int = 64
    seed: int = 0
    about: str = QCBO_METHODS["random"]
    batch: None = None

    def start(
        self,
        task: Task | Assembly,
        oracle: Oracle,  # noqa: ARG002  it asks nobody
        saved: Arrays | None = None,
    ) -> Iterates:
        """Draw networks."""
        bits = task.architecture.n_bits
        state = restored(RandomSearchState(), saved)
        return random_search(bits, n_samples=self.n_samples, seed=self.seed, state=state)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "qcgd": Gradient(),
        "q-fw": Gradient(rule="q-fw"),
        "homotopy": Gradient(rule="homotopy"),
        "penalty": Penalty(),
        "dlbo": Decomposed(),
        "dlbo-2": Decomposed(moments=2),
        "qph": Hedging(),
        "qcgd-all": AllImages(),
        "penalty-all": AllImages(rule="penalty"),
        "random": RandomSearch(),
    }
)


def method_named(name: str, *, batch: int, n_samples: int, seed: int) -> Method:
    """Return a method of ``METHODS``, with samples of a part, and size and seed of random draws.

    Raises
    ------
    TrainingError
        There is no such method.
    """
    if name not in METHODS:
        raise TrainingError(f"no method {name!r}", hint=f"one of {', '.join(METHODS)}")
    method = METHODS[name]
    if isinstance(method, (Decomposed, Hedging)):
        return replace(method, batch=batch)
    if isinstance(method, RandomSearch):
        return replace(method, n_samples=n_samples, seed=seed)
    if isinstance(method, AllImages):
        return replace(method, seed=seed)
    return method


def _descent(
    method: Gradient | Decomposed, problem: ConicProgram, oracle: Oracle, saved: Arrays | None
) -> Iterator[Iterate[State]]:
    return conditional_gradient(
        problem,
        oracle,
        rule=_dual_rule(method, problem),
        penalty=method.penalty,
        atoms=method.atoms,
        state=restored(State.start(problem), saved),
    )


def _dual_rule(method: Gradient | Decomposed, problem: ConicProgram) -> DualRule:
    if method.rule == "cgal":
        return BoundedDual(method.penalty, reach=problem.reach)
    if method.rule in {"q-fw", "homotopy"}:
        return FixedDual(method.penalty if method.rule == "q-fw" else 0.0)
    raise TrainingError(f"no rule {method.rule!r}", hint="cgal, q-fw or homotopy")


def _parts(task: Task | Assembly, batch: int) -> Parts:
    if not isinstance(task, Task):
        raise TrainingError("an assembled program has no parts", hint="pass the Task")
    return task.parts(batch)


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of a solver and the best network so far.

    Attributes
    ----------
    iterate : Iterate
    best : Candidate
    candidates : int
        Number of different networks seen.
    """

    iterate: Iterate[DataclassInstance]
    best: Candidate
    candidates: int
    _extractor: Extractor = field(repr=False)

    def saved(self) -> SolverState:
        """Return all that the next step depends on."""
        networks = self._extractor.seen(self.candidates)
        return SolverState(to_arrays(self.iterate.state), networks, self.best)


@dataclass(frozen=True, eq=False)
class SolverState:
    """Where a training was after a step."""

    solver: Arrays  # state of the method, see `to_arrays`
    networks: BitArray  # shape (candidates, n_bits); the different networks seen
    best: Candidate  # the best of them


@checked
def train(
    task: Task | Assembly,
    oracle: Oracle,
    scorer: Scorer,
    *,
    method: Method = METHODS["qcgd"],
    saved: SolverState | None = None,
) -> Iterator[TrainingStep]:
    """Train; the caller decides when to stop.

    Parameters
    ----------
    task : Task or Assembly
        What to learn. Methods that work on parts need the task, since a program has none.
    oracle : Oracle
        Called once a step, or for each part.
    scorer : Scorer
        Labelled images on which all samples are compared; never those of the test.
    method : Method
        The same samples are scored in the same way whatever the method.
    saved : SolverState, optional
        Where to go on; the oracle must do so too, see `SessionOracle`.

    Raises
    ------
    CheckpointError
        What was saved is of another task or method.

    Examples
    --------
    >>> from qnn_train import ExhaustiveOracle, Scorer, SquaredLoss, assemble
    >>> from qnn_train import threshold_unit, weight_code
    >>> unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    >>> inputs, labels = [[-1, -1], [-1, 1], [1, -1], [1, 1]], [-1, -1, -1, 1]  # logical and
    >>> assembly = assemble(unit, inputs, labels, loss=SquaredLoss(1))
    >>> next(train(assembly, ExhaustiveOracle(), Scorer(inputs, labels))).best.accuracy
    1.0
    """
    before = {} if saved is None else {"seen": saved.networks, "best": saved.best}
    extractor = Extractor(task.architecture, scorer, **before)
    for iterate in method.start(task, oracle, saved and saved.solver):
        best = extractor.add(iterate.bits)
        yield TrainingStep(iterate, best, extractor.n_candidates, extractor)
