"""Quantum conditional gradient descent, with an Ising machine as oracle."""

from qnn_train.solve.dual import BoundedDual, DualRule, FixedDual
from qnn_train.solve.extraction import Candidate, Extractor, Scorer
from qnn_train.solve.lifting import LiftedProblem
from qnn_train.solve.oracle import Answer, ExhaustiveOracle, Oracle, SessionOracle
from qnn_train.solve.proximal import Annealing, ProximalState, ProximalStep, proximal_descent
from qnn_train.solve.qcgd import Iterate, conditional_gradient

__all__ = [
    "Annealing",
    "Answer",
    "BoundedDual",
    "Candidate",
    "DualRule",
    "ExhaustiveOracle",
    "Extractor",
    "FixedDual",
    "Iterate",
    "LiftedProblem",
    "Oracle",
    "ProximalState",
    "ProximalStep",
    "Scorer",
    "SessionOracle",
    "conditional_gradient",
    "proximal_descent",
]
