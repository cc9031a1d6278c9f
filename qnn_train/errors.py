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


class TrainingError(CimError):
    """Base of the errors of `qnn_train`."""

    code = "training"


class AssemblyError(TrainingError, ValueError):
    """The network and the samples do not make a program."""

    code = "training.assembly"


class CheckpointError(TrainingError, ValueError):
    """A file that no training can go on from, or not the one that was asked for."""

    code = "training.checkpoint"


class DataError(TrainingError, ValueError):
    """Data that is missing, damaged, or does not hold what was asked for."""

    code = "training.data"


class ModelFileError(TrainingError, ValueError):
    """A file that does not hold a trained network."""

    code = "training.model_file"
