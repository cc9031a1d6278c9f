"""Bounds one can state before anything runs.

The abstracts of arXiv:2506.18240 (versions 1 to 5) announce bounds of these kinds: the error of a
spline, the number of spins, by the sample complexity of empirical risk minimization too, the error
of rounded coefficients, the time to solution. No body was available to us: every form and every
constant here is classical, or ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cim_hal.text import counted
from qnn_train.arrays import ArrayLike
from qnn_train.errors import AssemblyError

__all__ = [
    "excess_risk",
    "guaranteed_spins",
    "machine_time",
    "mean_oracle_error",
    "repetitions",
    "rounding_error",
    "samples_needed",
    "spline_error",
    "success_needed",
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
        Another degree, or a number below 0.
    """
    if degree not in {0, 1} or min(width, largest_derivative) < 0:
        raise AssemblyError(
            f"a spline of degree {degree}, pieces {width} wide, derivative {largest_derivative}",
            hint="degree 0 or 1, and no number below 0",
        )
    return width / 2 * largest_derivative if degree == 0 else width**2 / 8 * largest_derivative


def two_sided_encoding(reach: int) -> int:
    """Return the bits 1 + 2 ⌈log2(2R + 1)⌉ of a sign neuron with slack on both sides.

    One indicator, and two groups of slack bits over [-R, R] with resolution 1, one for each of the
    inequalities (F2), turned into equalities in the usual way; our `BitEncoding` is never longer.

    Parameters
    ----------
    reach : int
        R, the largest size of the pre-activation.

    Raises
    ------
    AssemblyError
        A size below 0.
    """
    if reach < 0:
        raise AssemblyError(f"pre-activations up to {reach}", hint="0 or more")
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
        Fewer than 2 bits, no row, or a largest entry below 0.
    """
    if bits < 2 or size < 1 or largest < 0:
        raise AssemblyError(
            f"{counted(size, 'row')}, entries up to {largest}, {counted(bits, 'bit')}",
            hint="2 or more",
        )
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

    Raises
    ------
    AssemblyError
        No call, or an excess below 0.
    """
    delta = np.asarray(errors, dtype=np.float64)
    if delta.ndim != 1 or not len(delta) or not (delta >= 0).all():
        raise AssemblyError("errors must be one for each call, and not below 0")
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
        raise AssemblyError(f"q = {success}, ρ = {failure}, {counted(calls, 'call')}")
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


def success_needed(shots: int, failure: float, calls: int) -> float:
    r"""Return the q with which `shots` a call are enough: `repetitions` solved for it.

    .. math:: q = 1 - \big(1 - (1 - \rho)^{1/T}\big)^{1/R}

    Parameters
    ----------
    shots : int
        R, of every call.
    failure : float
        ρ of `repetitions`.
    calls : int
        T.

    Returns
    -------
    float
        The least q that every call may have.

    Raises
    ------
    AssemblyError
        A number outside its range.
    """
    if min(shots, calls) < 1 or not 0 < failure < 1:
        raise AssemblyError(f"{counted(calls, 'call')} of {counted(shots, 'shot')}, ρ = {failure}")
    of_call = -math.expm1(math.log1p(-failure) / calls)
    return -math.expm1(math.log(of_call) / shots)


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

    Raises
    ------
    AssemblyError
        What `repetitions` refuses, or a time below 0.
    """
    if min(shot_s, overhead_s) < 0:
        raise AssemblyError(f"{shot_s} s a shot and {overhead_s} s a call")
    return calls * (repetitions(success, failure, calls) * shot_s + overhead_s)


def excess_risk(
    n_bits: int,
    n_samples: int,
    *,
    failure: float,
    loss_range: float = 1.0,
    loss_error: float = 0.0,
    gap: float = 0.0,
    rounding: float = 0.0,
) -> float:
    r"""Return how much more a trained network may lose, on average, than the best of its shape.

    .. math:: R(\hat h) - \min_h R(h) \le M\sqrt{\frac{2\,(B\ln2 + \ln(1/\rho))}{N}}
              + 2\sigma + \frac{g + \delta}{N}

    with probability 1 - ρ over the N samples of the program, drawn independently. R is the mean
    loss over what they are drawn from. The theorem is ours, by Hoeffding's inequality for each of
    the at most :math:`2^B` networks; its proof is in the docs, `proofs`.

    Parameters
    ----------
    n_bits : int
        B, the parameter bits, `Architecture.n_bits`.
    n_samples : int
        N.
    failure : float
        ρ, between 0 and 1.
    loss_range : float
        M, the largest less the smallest loss of a sample; 1 for the zero-one loss.
    loss_error : float
        σ, the largest distance between the loss and its spline, `spline_error` or `Spline.error`.
    gap : float
        g, the objective of the program at the network less a lower bound of the program, such as
        the `bound` of an iterate with an exact oracle.
    rounding : float
        δ, by how much that bound may be too large: `rounding_error` for a rounded oracle.

    Raises
    ------
    AssemblyError
        No sample, a probability outside its range, or a number below 0.

    Examples
    --------
    >>> round(excess_risk(54, 8086, failure=0.05), 4)
    0.1
    """
    _check_learning(n_bits, failure, loss_range)
    if n_samples < 1 or min(loss_error, gap, rounding) < 0:
        raise AssemblyError(
            f"{counted(n_samples, 'sample')}, errors {loss_error}, {gap} and {rounding}"
        )
    chance = math.sqrt(2 * (n_bits * math.log(2) - math.log(failure)) / n_samples)
    return loss_range * chance + 2 * loss_error + (gap + rounding) / n_samples


def samples_needed(n_bits: int, *, excess: float, failure: float, loss_range: float = 1.0) -> int:
    r"""Return the samples with which a best network loses little more than the best of all.

    .. math:: N = \Big\lceil \frac{2M^2(B\ln2 + \ln(1/\rho))}{\epsilon^2} \Big\rceil

    The first term of `excess_risk` solved for N.

    Parameters
    ----------
    n_bits, failure, loss_range
        See `excess_risk`.
    excess : float
        ε, above 0.

    Raises
    ------
    AssemblyError
        A number outside its range.
    """
    _check_learning(n_bits, failure, loss_range)
    if excess <= 0:
        raise AssemblyError(f"an excess of {excess}", hint="above 0")
    needed = 2 * loss_range**2 * (n_bits * math.log(2) - math.log(failure)) / excess**2
    return max(1, math.ceil(needed))


def guaranteed_spins(
    n_bits: int,
    sample_spins: int,
    *,
    excess: float,
    failure: float,
    loss_range: float = 1.0,
) -> int:
    """Return the spins that a program with `samples_needed` samples takes at most.

    They do not depend on how large the data set is that the samples are drawn from.

    Parameters
    ----------
    n_bits, excess, failure, loss_range
        See `samples_needed`.
    sample_spins : int
        The most that a sample adds: `spins_needed` of it less `n_bits`.

    Raises
    ------
    AssemblyError
        A number outside its range.

    Examples
    --------
    >>> guaranteed_spins(54, 15, excess=0.1, failure=0.05)
    121344
    """
    if sample_spins < 0:
        raise AssemblyError(f"{counted(sample_spins, 'spin')} a sample")
    samples = samples_needed(n_bits, excess=excess, failure=failure, loss_range=loss_range)
    return n_bits + sample_spins * samples


def _check_learning(n_bits: int, failure: float, loss_range: float) -> None:
    if n_bits < 0 or not 0 < failure < 1 or loss_range < 0:
        raise AssemblyError(
            f"{counted(n_bits, 'bit')}, ρ = {failure}, losses in a range of {loss_range}"
        )
