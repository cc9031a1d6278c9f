r"""The vacuum that splitters let in where light couples oscillators.

Splitters with amplitude decay :math:`\Gamma = (1 + j)I - \xi J` keep vacuum as it is only if what
they let in is correlated as :math:`\Gamma` is. Independent noise of the same width would turn
vacuum into light and squeezed light.

References
----------
Gardiner, Collett, Phys. Rev. A 31, 3761 (1985), doi:10.1103/PhysRevA.31.3761.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # not its parts: they take 0.3 s, and light without splitters does not need them

from cim_hal.model.conversion import is_sparse
from emulator.noise import fill_two_noises
from emulator.products.dense import DenseFloats
from emulator.products.packing import aligned_zeros, padded_runs
from emulator.products.sparse import SparseFloats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.noise import Draw
    from emulator.products.coupling import CouplingMatrix

__all__ = ["SharedVacuum", "SplitterNoise", "splitter_noise"]

# A mode may be dark, without any loss, to within this share of the loss.
ROUNDING = 1e-12
# The stream of this noise; it has two counters for each step, as noise of two amplitudes has.
SPLITTERS = 7 << 28
# Where the last bits of a product depend on the number of runs, it is always that of a block.
BLOCK_RUNS = 64


class SplitterNoise(NamedTuple):
    r"""Vacuum :math:`v\,dW + F\,dW'` of all splitters, :math:`\mathrm{diag}(v) + FF^T` in all.

    Attributes
    ----------
    vacuum : array, shape (n,)
        v, independent from pulse to pulse.
    factor : DenseFloats or SparseFloats
        F (n, m).
    n_noises : int
        m.
    """

    vacuum: NDArray[Any]
    factor: DenseFloats | SparseFloats
    n_noises: int


class SharedVacuum:
    """The part F dW' of `SplitterNoise` in a block of runs.

    Attributes
    ----------
    values : array, shape (n, 2 runs)
        Of the last draw, in units of the root of a time step.
    """

    def __init__(self, noise: SplitterNoise, n_runs: int) -> None:
        dtype, factor = noise.vacuum.dtype, noise.factor
        width = padded_runs(n_runs)
        if factor.depends_on_grouping:
            width = -(-n_runs // BLOCK_RUNS) * BLOCK_RUNS
        self._factor, self._n_runs, self._width = factor, n_runs, width
        self._normals = aligned_zeros((noise.n_noises, 2 * width), dtype)
        self._all = aligned_zeros((len(noise.vacuum), 2 * width), dtype)
        is_exact_width = width == n_runs
        self.values = self._all if is_exact_width else np.zeros((len(self._all), 2 * n_runs), dtype)

    def draw(self, draw: Draw) -> None:
        """Draw that of a step."""
        if not len(self._normals):
            return
        step = draw._replace(round_trip=SPLITTERS | draw.round_trip)
        fill_two_noises(step, self._normals)
        self._factor.multiply(self._normals, self._all)
        if self.values is not self._all:
            runs, width = self._n_runs, self._width
            self.values[:, :runs] = self._all[:, :runs]
            self.values[:, runs:] = self._all[:, width : width + runs]


def splitter_noise(
    coupling: CouplingMatrix,
    *,
    strength: float,
    loss: float,
    dtype: np.dtype[Any],
    scale: float = 1,
) -> SplitterNoise:
    r"""Return the noise of covariance :math:`\frac a2(\ell I - \xi J)`.

    Sparse couplings that add up to less than the loss in each row have a noise for each pair that
    is coupled, :math:`\frac a2\xi|J_{ij}|\,(e_i - s_{ij}e_j)(e_i - s_{ij}e_j)^T` with
    :math:`s_{ij}` the sign, which costs as much as their product. All others have Cholesky's
    factor.

    Parameters
    ----------
    strength : float
        :math:`\xi`, in units of the stored couplings.
    loss : float
        :math:`\ell`.
    scale : float
        a.

    Raises
    ------
    ValueError
        A mode is coupled more strongly than it is lost.
    """
    J: Any = coupling.as_floats(np.float64).matrix()
    left = loss - strength * np.asarray(abs(J).sum(axis=1)).ravel()
    is_dominant = (left >= -ROUNDING * loss).all()
    if is_sparse(J) and is_dominant:
        pairs, left = scipy.sparse.triu(J, 1).tocoo(), scale * np.maximum(left, 0)
        return _of_pairs(pairs, scale * strength, left, dtype)
    if not strength * coupling.norm:
        J = scipy.sparse.coo_array((len(left), len(left)))
        return _of_pairs(J, 0.0, scale * left, dtype)
    J = J.toarray() if is_sparse(J) else J
    covariance = 0.5 * scale * ((1 + ROUNDING) * loss * np.eye(len(J)) - strength * J)
    try:
        factor = scipy.linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise _too_strong(J, strength, loss) from None
    return SplitterNoise(
        np.zeros(len(J), dtype), DenseFloats(factor.astype(dtype, order="C")), len(J)
    )


def _of_pairs(
    pairs: Any, strength: float, left: NDArray[np.float64], dtype: np.dtype[Any]
) -> SplitterNoise:
    width = np.sqrt(0.5 * strength * np.abs(pairs.data))
    (first, second), noise = pairs.coords, np.arange(len(width))
    values = np.concatenate([width, -np.sign(pairs.data) * width])
    places = np.concatenate([first, second]), np.concatenate([noise, noise])
    factor = scipy.sparse.csr_array((values, places), (len(left), len(width)))
    return SplitterNoise(
        (0.5 * left).astype(dtype),
        SparseFloats.of(factor, factor.data.astype(dtype)),
        len(width),
    )


def _too_strong(J: NDArray[np.float64], strength: float, loss: float) -> ValueError:
    few = len(J) < 64
    values = np.linalg.eigvalsh(J) if few else scipy.sparse.linalg.eigsh(J, 1, which="LA")[0]
    largest = float(values[-1])
    gain = strength * largest
    return ValueError(
        f"couplings give a mode the gain {gain:.4g}, and splitters lose {loss:.4g} of it: light "
        f"that is only split cannot grow. Raise coupling_loss by {gain - loss:.3g} or more, or "
        f"multiply coupling_gain by {loss / gain:.3g} or less"
    )
