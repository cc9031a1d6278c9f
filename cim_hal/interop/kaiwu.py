r"""Machines as solvers of the Kaiwu community SDK, ``kaiwu-community``, which the extra installs.

Kaiwu's energy of an Ising matrix M is :math:`-s^T M s` over all entries, so that
:math:`J = M + M^T` and the trace is a constant. A linear term lies in the last spin, which its
solvers turn to +1 (``negtail_flip``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from kaiwu.core import IsingSolver, QuboSolver  # pyright: ignore[reportMissingImports]

from cim_hal import DevicePool, Session, open_device
from cim_hal.errors import ModelError, TargetError
from cim_hal.model.conversion import real_array, whole_number
from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cim_hal.machine.config import MachineConfig
    from cim_hal.machine.options import OptionValue
    from cim_hal.model.sampleset import SampleSet

__all__ = ["CIMSolver", "from_ising_matrix"]


def from_ising_matrix(matrix: ArrayLike) -> IsingModel:
    """Return the model with the energies of an Ising matrix of Kaiwu, shape (n, n).

    Raises
    ------
    ModelError
        It is no square matrix of real numbers.
    """
    M = real_array("the Ising matrix", matrix, ModelError)
    if M.ndim != 2 or M.shape[0] != M.shape[1] or not len(M):
        raise ModelError(f"the Ising matrix has shape {M.shape}", hint="it must be (n, n)")
    J = M + M.T
    np.fill_diagonal(J, 0.0)
    return IsingModel.from_couplings(J, offset=-float(np.trace(M)))


class CIMSolver(IsingSolver, QuboSolver):
    """A machine as an `IsingSolver` and a `QuboSolver` of Kaiwu.

    ``solve(matrix)`` returns a sample in each row, ``solve_qubo(model)`` the best one by names of
    variables, and its value. The machine is opened for each call, unless it is an open session or
    pool.

    Parameters
    ----------
    target : str, path, MachineConfig, Session or DevicePool
        As `cim_hal.open_device` takes it.
    n_runs : int
        Samples of each call.
    seed : int, optional
        The same samples in each call, on a machine whose runs are reproducible.
    options : mapping of str to str, int, float or bool, optional
        Options of the driver that the target names.
    **sampling
        More of `cim_hal.Session.sample`: ``schedule``, ``settings``, ``coupling_bits``.

    Attributes
    ----------
    samples : SampleSet or None
        Those of the last call, with their record.
    """

    def __init__(
        self,
        target: str | MachineConfig | Session | DevicePool = "emulator",
        *,
        n_runs: int = 100,
        seed: int | None = None,
        options: dict[str, OptionValue] | None = None,
        **sampling: Any,
    ) -> None:
        super().__init__()
        if isinstance(target, Session | DevicePool) and options:
            raise TargetError("options are for a driver that is still to be built")
        self._target, self._options = target, options
        self._sampling = {"n_runs": whole_number("n_runs", n_runs, ModelError, 1), "seed": seed}
        self._sampling |= sampling
        self.samples: SampleSet | None = None

    def _solve(self, ising_matrix: Any = None) -> NDArray[np.int8]:
        """Return the samples, lowest energy first; called by ``solve``."""
        model = from_ising_matrix(self.matrix if ising_matrix is None else ising_matrix)
        with self._opened() as session:
            self.samples = session.sample(model, **self._sampling)
        return self.samples.spins

    @contextmanager
    def _opened(self) -> Iterator[Session | DevicePool]:
        if isinstance(self._target, Session | DevicePool):
            yield self._target
            return
        with open_device(self._target, options=self._options) as session:
            yield session
