"""Bounds one can state before anything runs.

The abstracts of arXiv:2506.18240 (versions 1 to 5) announce bounds of these four kinds: the error
of a spline, the number of spins, the error of rounded coefficients, the time to solution. No body
was available to us: every form and every constant here is classical, or ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qnn_train.arrays import ArrayLike
from qnn_train.errors import AssemblyError

__all__ = [
    "machine_time",
    "mean_oracle_error",
    "repetitions",
    "rounding_error",
    "spline_error",
    "two_sided_encoding",
    "two_sided_spins",
]


def spline_error(width: float, largest_derivative: float, *, degree: int) -> float:
    r"""Return the largest distance between a function and its spline, before any rounding.

    .. math:: \tfrac{h}{2} \max|f'| \quad\text{(degree 0, the value at the midpoint)},
              \qquad \tfrac{h^2}{8} \max|f''| \quad\text{(degree 1, joined at the ends)}

    The constants are the classical ones of interpolation. `Spline.error` is the exact distance on
    the integers that occur, with the rounding to levels: half a level for degree 0, and for degree
    1 half a level for each unit of z in a piece, since its slopes are rounded.

    Parameters
    ----------
    width : float
        h, the width of a piece.
    largest_derivative : float
        max|f'| for degree 0, max|f''| for degree 1.

    Raises
    ------
    AssemblyError
        Another degree.
    """
    if degree not in {0, 1}:
        raise AssemblyError(f"a spline of degree {degree}", hint="0 or 1")
    return width / 2 * largest_derivative if degree == 0 else width**2 / 8 * largest_derivative


def two_sided_encoding(reach: int) -> int:
    """Return the bits 1 + 2 ⌈log2(2R + 1)⌉ of a sign neuron with slack on both sides.

    One indicator, and two groups of slack bits over [-R, R] with resolution 1, one for each of the
    inequalities (F2), turned into equalities in the usual way; our `BitEncoding` is never longer.

    Parameters
    ----------
    reach : int
        R, the largest size of the pre-activation.
    """
    return 1 + 2 * (2 * reach).bit_length()


def two_sided_spins(
    sizes: Sequence[int],
    n_samples: int,
    *,
    weight_bits: int = 1,
    bias_bits: int = 1,
    encodings: Sequence[int] | None = None,
    factors: Sequence[int] | None = None,
) -> int:
    r"""Return the spins of a program whose neurons have slack on both sides.

    .. math:: S = \sum_l d_l (d_{l-1} B + B') + N\Big[\sum_l d_l (n_l + s_l)
              + \sum_{l \ge 2} d_l d_{l-1} B\,\nu_{l-1}\Big]

    The sum is our derivation. `count_spins` counts our own program exactly.

    Parameters
    ----------
    sizes : sequence of int
        d: inputs, then the neurons of each layer; the output is a sign neuron too.
    n_samples : int
        N.
    weight_bits, bias_bits : int
        B and B'.
    encodings : sequence of int, optional
        n_l + s_l of each layer; by default `two_sided_encoding` with the R of weights, inputs and
        biases ±1.
    factors : sequence of int, optional
        ν of each hidden layer, the indicators that a weight is multiplied with; 1 by default.

    Examples
    --------
    >>> two_sided_spins((9, 3, 1), 0), two_sided_spins((9, 3, 1), 10)
    (34, 484)
    """
    before, after = np.array(sizes[:-1]), np.array(sizes[1:])
    if encodings is None:
        encodings = [two_sided_encoding(int(d) + (bias_bits > 0)) for d in before]
    nu = np.ones(len(after) - 1, dtype=int) if factors is None else np.array(factors)
    parameters = (after * (before * weight_bits + bias_bits)).sum()
    products = (after[1:] * before[1:] * weight_bits * nu).sum()
    return int(parameters + n_samples * ((after * np.array(encodings)).sum() + products))


def rounding_error(size: int, largest: float, bits: int) -> float:
    r"""Return how far above the minimum the best answer for a rounded gradient can be.

    .. math:: \delta \le p^2 \Delta, \qquad \Delta = \frac{\max|G|}{2^{k-1} - 1}

    Every entry moves by at most Δ/2, so every :math:`w^T G w` with :math:`w \in \{0,1\}^p` by at
    most :math:`p^2 \Delta/2`, the minimum and the answer's value each once. The constant is our
    derivation.

    Parameters
    ----------
    size : int
        p, the rows of the gradient G: the number of bits plus one.
    largest : float
        Largest absolute entry of G.
    bits : int
        k, at least 2, on one symmetric scale.

    Raises
    ------
    AssemblyError
        Fewer than 2 bits.
    """
    if bits < 2:
        raise AssemblyError(f"{bits} bits hold no scale", hint="at least 2")
    return size**2 * largest / (2 ** (bits - 1) - 1)


def mean_oracle_error(errors: ArrayLike) -> float:
    r"""Return the part of the gap that an inexact oracle leaves after T calls.

    .. math:: \frac{2}{T(T+1)} \sum_{t=1}^{T} t\,\delta_t

    A weighted mean, so that early errors are forgotten: with all :math:`\delta_t = \delta` it is
    δ. The weights are those of the step 2/(t + 1), our statement.

    Parameters
    ----------
    errors : float array, shape (T,)
        δ_t, the expected excess of the oracle's answer at each call.
    """
    delta = np.asarray(errors, dtype=np.float64)
    return float(np.average(delta, weights=np.arange(1, len(delta) + 1)))


def repetitions(success: ArrayLike, failure: float, calls: int) -> float:
    r"""Return the shots a call that make all calls succeed but for a probability `failure`.

    .. math:: \min\Big\{R : \prod_{t=1}^T\big(1 - (1 - q_t)^R\big) \ge 1 - \rho\Big\}
              \le \Big\lceil \frac{\ln(\rho / T)}{\ln(1 - \min_t q_t)} \Big\rceil

    Calls are independent. The smallest q of all calls gives a bound; their mean does not, since
    one call that never succeeds is enough to fail.

    Parameters
    ----------
    success : float or float array, shape (T,)
        q, the probability that one shot finds the minimum: the smallest of all calls, or each.
    failure : float
        ρ, the allowed probability that any call fails, between 0 and 1.
    calls : int
        T.

    Returns
    -------
    float
        A whole number; infinite if one call never succeeds.

    Raises
    ------
    AssemblyError
        A probability outside its range, or as many as there are not calls.
    """
    q = np.asarray(success, dtype=np.float64)
    fits = q.shape in {(), (calls,)} and bool(((q >= 0) & (q <= 1)).all())
    if not (calls >= 1 and fits and 0 < failure < 1):
        raise AssemblyError(f"q = {success}, ρ = {failure}, {calls} calls")
    if q.min() == 0:
        return math.inf
    q = np.broadcast_to(q, (calls,))

    def fail_too_often(shots: int) -> bool:
        with np.errstate(divide="ignore"):
            missed = np.exp(shots * np.log1p(-q))
        return -math.expm1(float(np.log1p(-missed).sum())) > failure

    low, high = 0, 1
    while fail_too_often(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fail_too_often(middle) else (low, middle)
    return float(high)


def machine_time(
    calls: int, *, success: ArrayLike, failure: float, shot_s: float, overhead_s: float = 0.0
) -> float:
    r"""Return the seconds that `calls` of a machine take.

    .. math:: T\,(R\,t_{\text{shot}} + t_{\text{overhead}})

    with R of `repetitions`.

    Parameters
    ----------
    calls : int
        T.
    success : float or float array, shape (T,)
        q of `repetitions`.
    failure : float
        ρ of `repetitions`.
    shot_s : float
        Seconds a shot.
    overhead_s : float
        Seconds a call beside its shots: upload, readout.
    """
    return calls * (repetitions(success, failure, calls) * shot_s + overhead_s)
