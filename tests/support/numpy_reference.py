r"""The product of couplings and codes in plain numpy, which tests compare every product with.

Integer products must equal it bit for bit. Floating-point products of dtype with unit roundoff u
differ by no more than `rounding_bound`: a sum of m products, in any order, fused or not, obeys

.. math:: |\hat f - f| \le \gamma_m \sum_j |J_{ij}||c_{jr}|, \qquad
          \gamma_m = \frac{mu}{1 - mu}

and each product that underflows adds at most half the smallest subnormal number.

References
----------
Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), sections 3.1 and 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["reference_product", "rounding_bound"]


def reference_product(J: Any, codes: NDArray[Any]) -> NDArray[Any]:
    """Return the product of `J` (n, n), dense or CSR, and `codes` (n, runs).

    It is int64 where both hold only integers, whatever their dtype, else float64.
    """
    values = J.data if sp.issparse(J) else np.asarray(J)
    kind = np.int64 if _are_integers(values) and _are_integers(codes) else np.float64
    return np.asarray(J.astype(kind) @ codes.astype(kind))


def rounding_bound(J: Any, codes: NDArray[Any], dtype: DTypeLike) -> NDArray[np.float64]:
    """Return how far a product in `dtype` may be from `reference_product`, shape (n, runs).

    It includes the rounding of the reference itself. `J` and `codes` are of `dtype` already.
    """
    magnitudes = np.asarray(abs(J).astype(np.float64) @ np.abs(codes.astype(np.float64)))
    n_terms = int(np.diff(J.indptr).max(initial=0)) if sp.issparse(J) else J.shape[1]
    kinds = np.finfo(dtype), np.finfo(np.float64)
    # one term more, for the rounding of this bound itself
    rounding = sum(_gamma(n_terms + 1, float(kind.eps) / 2) for kind in kinds)
    underflow = n_terms * sum(float(kind.smallest_subnormal) / 2 for kind in kinds)
    return rounding * magnitudes + underflow


def _gamma(n_terms: int, roundoff: float) -> float:
    return n_terms * roundoff / (1 - n_terms * roundoff)


def _are_integers(values: NDArray[Any]) -> bool:
    return bool((values == np.rint(values)).all())
