"""The penalty method on a task, in the calls that its recipe makes; its weight, chosen.

    python benchmarks/training/penalty.py shirt-20 --seeds 5 --factors 0.0001 0.001

A program holds what fits a machine of about a thousand spins: 20 images of two classes and a
majority of three neurons, or one image of each of ten classes and three neurons with a trained
layer behind them; features and neurons are signs, the loss is squared. Every network that the
machine returns is compared on all training images of the task. The command prints accuracies on
training images that were not drawn, or on all of them where all are; no test image is looked at.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self

import numpy as np
from heats import accuracy, best_of
from tasks import TASKS, problem_of
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train import (
    Architecture,
    Layer,
    PooledSign,
    SessionOracle,
    SquaredLoss,
    Task,
    bias_code,
    majority_network,
    one_against_rest,
    weight_code,
)
from qnn_train.data.datasets import augmented
from qnn_train.solve import default_weight
from qnn_train.training import Cost, Examples
from qnn_train.training.methods import Penalty

if TYPE_CHECKING:
    from cim_hal import Session
    from qnn_train.data import ImageSet
    from qnn_train.solve import Candidate
    from qnn_train.training import ProximalProblem

__all__ = ["PATIENCE_S", "TUNED", "PenaltyProgram", "sampled"]

# Four voters would tie; more neurons behind ten outputs would not leave room for images.
NEURONS, GRID = 3, 4
TWO, TEN = 20, 10  # images in a program of two and of ten classes
# Runs of a job: the emulator is twice as fast with many at once, and each run is the same. The
# coefficients of the programs are integers of about 16 bits, which halves the time once more.
TOGETHER, BITS = 1008, 16
# Seconds in which a busy computer must answer.
PATIENCE_S = 120
FACTORS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
# Of the default weight; chosen with the command above.
TUNED = {
    "pairs": 3e-5,
    "shirt-20": 3e-5,
    "shirt-100": 1e-5,
    "shirt-all": 1e-5,
    "ten-binary": 1e-3,
    "ten-ternary": 1e-3,
    "tiny": 1e-3,
}


@dataclass(frozen=True, eq=False)
class PenaltyProgram:
    """The images of a task and a program of some of them.

    Attributes
    ----------
    problem : ProximalProblem
        What our own method has to do: its images and its calls.
    drawn : ImageSet
        The training images of the task, without their copies.
    features : PooledSign
    train : Examples
        All that networks are compared on, copies included.
    """

    problem: ProximalProblem
    drawn: ImageSet
    features: PooledSign
    train: Examples

    @classmethod
    def of(cls, problem: ProximalProblem) -> Self:
        """Draw the images that `problem` has drawn, and take signs of their cells."""
        recipe, drawn = problem.recipe, problem.selection.train
        if recipe.train_samples is not None:
            drawn = drawn.take(drawn.stratified(recipe.train_samples, seed=recipe.seed))
        shown = augmented(drawn, shift=recipe.shift, mirror=recipe.mirror)
        features = PooledSign.fit(shown.images, grid=min(GRID, recipe.grid))
        return cls(problem, drawn, features, _signs(features, shown))

    def task(self, seed: int) -> Task:
        """Return the network, the images in the program and the loss."""
        two = _two(self.problem)
        count = min(TWO if two else TEN, len(self.drawn))
        chosen = self.drawn.take(self.drawn.stratified(count, seed=seed))
        inputs = self.features.transform(chosen.images)
        if two:
            weights = weight_code(self.problem.recipe.weights)
            network = majority_network(inputs.shape[1], NEURONS, weights=weights, bias_bits=2)
            return Task(network, inputs, chosen.labels, SquaredLoss(NEURONS))
        weights, outputs = weight_code("binary"), self.problem.selection.n_outputs
        hidden = Layer(inputs.shape[1], NEURONS, weights, bias_code(2))
        network = Architecture((hidden,), Layer(NEURONS, outputs, weights, bias_code(0)))
        labels = one_against_rest(chosen.labels, outputs)
        return Task(network, inputs, labels, SquaredLoss(NEURONS))

    def examples(self, images: ImageSet) -> Examples:
        """Return the features of other images."""
        return _signs(self.features, images)


def sampled(
    program: PenaltyProgram, session: Session, seed: int, factor: float, runs: int
) -> Candidate:
    """Return the best network of some runs, rounded up to whole jobs.

    Parameters
    ----------
    factor : float
        Of the default weight.
    """
    problem, task = program.problem, program.task(seed)
    machine, jobs = session.capabilities, -(-runs // TOGETHER)
    oracle = SessionOracle(
        session,
        n_runs=-(-runs // jobs),
        seed=seed,
        coupling_bits=BITS,
        schedule=problem.schedule(machine),
        settings=problem.recipe.settings_on(machine),
    )
    method = Penalty(weights=[factor * default_weight(task.qcbo)])
    n_bits = task.architecture.n_bits
    steps = islice(method.start(task, oracle), jobs)
    bits = np.unique(np.concatenate([step.bits[:, :n_bits] for step in steps]), axis=0)
    rng = np.random.default_rng([seed, 9])
    return best_of(task.architecture, len(bits), bits.__getitem__, program.train, rng)


def _two(problem: ProximalProblem) -> bool:
    return problem.selection.n_outputs == 1


def _signs(features: PooledSign, images: ImageSet) -> Examples:
    return Examples(features.transform(images.images), images.labels)


def main() -> None:
    """Print a line for each weight."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100, help="not those of the results")
    parser.add_argument("--every", type=int, default=1, help="only each of so many pairs")
    parser.add_argument("--runs", type=int, help="as many as the recipe makes by default")
    options = parser.parse_args()
    task = TASKS[options.task]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with threadpool_limits(1), open_device(task.device, timeout_s=PATIENCE_S) as session:
        for factor in options.factors:
            found = [
                _apart(problem_of(task, classes, seed), session, factor, options.runs)
                for classes in task.groups[:: options.every]
                for seed in seeds
            ]
            spread = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
            print(f"{factor:g}: {100 * np.mean(found):.2f} ± {100 * spread:.2f} %", flush=True)


def _apart(problem: ProximalProblem, session: Session, factor: float, runs: int | None) -> float:
    """Return the accuracy on the training images that were not drawn, or on all of them."""
    program = PenaltyProgram.of(problem)
    runs = runs or Cost.of(problem, session.capabilities).runs
    best = sampled(program, session, problem.recipe.seed, factor, runs)
    if problem.recipe.train_samples is None:
        return best.accuracy
    whole = problem.selection.train
    drawn = whole.stratified(problem.recipe.train_samples, seed=problem.recipe.seed)
    apart = whole.take(np.setdiff1d(np.arange(len(whole)), drawn))
    return float(accuracy(best.network, program.examples(apart)))


if __name__ == "__main__":
    main()
