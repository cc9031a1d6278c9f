"""Errors of training; they descend from `cim_hal.CimError`.

::

    CimError
    └── TrainingError
        ├── AssemblyError      the network and the samples do not make a program
        ├── CheckpointError    a file that no training can go on from
        ├── DataError          data that is missing, damaged or not there
        └── ModelFileError     a file that is no trained network
"""

from __future__ import annotations

from cim_hal import CimError

__all__ = ["AssemblyError", "CheckpointError", "DataError", "ModelFileError", "TrainingError"]


class TrainingError(CimError, code="training"):
    """Base of the errors of `qnn_train`."""


class AssemblyError(TrainingError, ValueError, code="training.assembly"):
    """The network and the samples do not make a program."""


class CheckpointError(TrainingError, ValueError, code="training.checkpoint"):
    """A file that no training can go on from, or not the one that was asked for."""


class DataError(TrainingError, ValueError, code="training.data"):
    """Data that is missing, damaged, or does not hold what was asked for."""


class ModelFileError(TrainingError, ValueError, code="training.model_file"):
    """A file that does not hold a trained network."""
