"""Solvers, with an Ising machine as oracle: conditional gradients and their neighbours."""

from qnn_train.solve.annealing import Annealing
from qnn_train.solve.atoms import Atoms
from qnn_train.solve.coupled import CoupledProblem
from qnn_train.solve.cross_entropy import CrossEntropy
from qnn_train.solve.descent_loss import DescentLoss, Expansion
from qnn_train.solve.disturbed import (
    NoisyOracle,
    QuantizedOracle,
    RandomizedOracle,
    RandomOracle,
)
from qnn_train.solve.dual import BoundedDual, DualRule, FixedDual
from qnn_train.solve.exact import CpSatOracle, Optimum, cp_sat, exhaustive
from qnn_train.solve.extraction import Candidate, Extractor, Scorer
from qnn_train.solve.guessing import GuessingState, random_weights
from qnn_train.solve.hedging import HedgingState, RhoSchedule, progressive_hedging
from qnn_train.solve.iterate import Iterate
from qnn_train.solve.lifting import LiftedProblem
from qnn_train.solve.many import ManyOracle, minimize_all
from qnn_train.solve.oracle import Answer, ExhaustiveOracle, Oracle, Sampler, SessionOracle
from qnn_train.solve.packing import PackedOracle
from qnn_train.solve.penalty import PenaltyState, default_weight, penalty_method
from qnn_train.solve.polish import Polished, polish
from qnn_train.solve.proximal import ProximalStep, proximal_descent
from qnn_train.solve.proximal_state import ProximalState
from qnn_train.solve.qcgd import State, conditional_gradient
from qnn_train.solve.saved import restored, to_arrays
from qnn_train.solve.squared_error import SquaredError

__all__ = [
    "Annealing",
    "Answer",
    "Atoms",
    "BoundedDual",
    "Candidate",
    "CoupledProblem",
    "CpSatOracle",
    "CrossEntropy",
    "DescentLoss",
    "DualRule",
    "ExhaustiveOracle",
    "Expansion",
    "Extractor",
    "FixedDual",
    "GuessingState",
    "HedgingState",
    "Iterate",
    "LiftedProblem",
    "ManyOracle",
    "NoisyOracle",
    "Optimum",
    "Oracle",
    "PackedOracle",
    "PenaltyState",
    "Polished",
    "ProximalState",
    "ProximalStep",
    "QuantizedOracle",
    "RandomOracle",
    "RandomizedOracle",
    "RhoSchedule",
    "Sampler",
    "Scorer",
    "SessionOracle",
    "SquaredError",
    "State",
    "conditional_gradient",
    "cp_sat",
    "default_weight",
    "exhaustive",
    "minimize_all",
    "penalty_method",
    "polish",
    "progressive_hedging",
    "proximal_descent",
    "random_weights",
    "restored",
    "to_arrays",
]
