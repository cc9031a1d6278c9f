"""Training as quadratic constrained binary optimization."""

from qnn_train.program.assemble import Assembly, assemble, spins_needed
from qnn_train.program.constraints import LinearConstraints, Products
from qnn_train.program.counting import ProgramSize
from qnn_train.program.least_squares import least_squares
from qnn_train.program.qcbo import Qcbo
from qnn_train.program.variables import Block, VariableTable

__all__ = [
    "Assembly",
    "Block",
    "LinearConstraints",
    "Products",
    "ProgramSize",
    "Qcbo",
    "VariableTable",
    "assemble",
    "least_squares",
    "spins_needed",
]
