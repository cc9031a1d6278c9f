"""Training as quadratic constrained binary optimization."""

from qnn_train.program.allocation import Allocation, allocate_bits
from qnn_train.program.assemble import Assembly, Task, assemble
from qnn_train.program.builder import Block, VariableTable
from qnn_train.program.counting import (
    ProgramSize,
    SpinCount,
    count_spins,
    dynamic_range,
    spins_needed,
)
from qnn_train.program.loss import (
    HingeLoss,
    Loss,
    SquaredLoss,
    TabulatedLoss,
    ZeroOneLoss,
    cross_entropy_loss,
    logistic_loss,
    one_against_rest,
)
from qnn_train.program.qcbo import Gates, LinearConstraints, Parts, Products, Qcbo, least_squares

__all__ = [
    "Allocation",
    "Assembly",
    "Block",
    "Gates",
    "HingeLoss",
    "LinearConstraints",
    "Loss",
    "Parts",
    "Products",
    "ProgramSize",
    "Qcbo",
    "SpinCount",
    "SquaredLoss",
    "TabulatedLoss",
    "Task",
    "VariableTable",
    "ZeroOneLoss",
    "allocate_bits",
    "assemble",
    "count_spins",
    "cross_entropy_loss",
    "dynamic_range",
    "least_squares",
    "logistic_loss",
    "one_against_rest",
    "spins_needed",
]
