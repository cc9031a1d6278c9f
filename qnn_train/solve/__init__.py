"""Solvers, with an Ising machine as oracle: conditional gradients and their neighbours."""

from qnn_train.solve.all_images import AllImagesState, all_images_gradient
from qnn_train.solve.classical_search import (
    LocalSearchResult,
    RandomSearchState,
    polish,
    random_search,
)
from qnn_train.solve.exact import CpSatOracle, Optimum, cp_sat, exhaustive
from qnn_train.solve.extraction import Candidate, Extractor, Scorer
from qnn_train.solve.hedging import HedgingState, RhoSchedule, progressive_hedging
from qnn_train.solve.host_oracles import (
    AnnealingOracle,
    DescentOracle,
    ExactOracle,
    HardnessProbe,
    HardnessRecord,
    PolishedOracle,
    PolishRecord,
)
from qnn_train.solve.iterate import Iterate, restored, to_arrays
from qnn_train.solve.lifting import CoupledProblem, LiftedProblem
from qnn_train.solve.losses import CrossEntropy, DescentLoss, Expansion, SquaredError
from qnn_train.solve.oracle import (
    Answer,
    ExhaustiveOracle,
    Oracle,
    PackedOracle,
    ParallelOracle,
    Sampler,
    SessionOracle,
    minimize_all,
)
from qnn_train.solve.penalty import PenaltyState, default_weight, penalty_method
from qnn_train.solve.perturbed_oracles import (
    NoisyOracle,
    QuantizedOracle,
    RandomizedOracle,
    RandomOracle,
)
from qnn_train.solve.proximal import Annealing, ProximalState, ProximalStep, proximal_descent
from qnn_train.solve.qcgd import (
    Atoms,
    BoundedDual,
    DualRule,
    FixedDual,
    State,
    conditional_gradient,
)

__all__ = [
    "AllImagesState",
    "Annealing",
    "AnnealingOracle",
    "Answer",
    "Atoms",
    "BoundedDual",
    "Candidate",
    "CoupledProblem",
    "CpSatOracle",
    "CrossEntropy",
    "DescentLoss",
    "DescentOracle",
    "DualRule",
    "ExactOracle",
    "ExhaustiveOracle",
    "Expansion",
    "Extractor",
    "FixedDual",
    "HardnessProbe",
    "HardnessRecord",
    "HedgingState",
    "Iterate",
    "LiftedProblem",
    "LocalSearchResult",
    "NoisyOracle",
    "Optimum",
    "Oracle",
    "PackedOracle",
    "ParallelOracle",
    "PenaltyState",
    "PolishRecord",
    "PolishedOracle",
    "ProximalState",
    "ProximalStep",
    "QuantizedOracle",
    "RandomOracle",
    "RandomSearchState",
    "RandomizedOracle",
    "RhoSchedule",
    "Sampler",
    "Scorer",
    "SessionOracle",
    "SquaredError",
    "State",
    "all_images_gradient",
    "conditional_gradient",
    "cp_sat",
    "default_weight",
    "exhaustive",
    "minimize_all",
    "penalty_method",
    "polish",
    "progressive_hedging",
    "proximal_descent",
    "random_search",
    "restored",
    "to_arrays",
]
