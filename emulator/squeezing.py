r"""Squeezing of the light that leaves an oscillator, as a spectrum analyser shows it.

References
----------
Collett, Gardiner, Phys. Rev. A 30, 1386 (1984), doi:10.1103/PhysRevA.30.1386.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "NoiseSpectrum",
    "SqueezingSpectrum",
    "noise_spectrum",
    "squeezing_db",
    "squeezing_spectrum",
]

VACUUM_VARIANCE = 0.5


class SqueezingSpectrum(NamedTuple):
    """Power of the two quadratures relative to vacuum, float64, in the shape of frequencies."""

    antisqueezed: NDArray[np.float64]
    squeezed: NDArray[np.float64]


class NoiseSpectrum(NamedTuple):
    """Power of a record relative to white noise of variance 1, and how far it may be off.

    Attributes
    ----------
    frequency : float64 array, shape (segment // 2 + 1,)
        Angular, in radians per unit of time.
    power : float64 array, same shape
    error : float64 array, same shape
        Standard error of `power`.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    error: NDArray[np.float64]


def squeezing_spectrum(
    frequency: ArrayLike, *, pump: float, efficiency: float = 1.0
) -> SqueezingSpectrum:
    r"""Return the spectrum of light from a lone oscillator below threshold, relative to vacuum.

    .. math:: S_\pm(\omega) = 1 \pm \frac{4p\,\eta}{(1 \mp p)^2 + \omega^2}

    Parameters
    ----------
    frequency : array_like
        :math:`\omega`, angular, per lifetime of the field.
    pump : float
        p, in thresholds, at least 0 and below 1.
    efficiency : float
        :math:`\eta`, the share of the lost light that is detected: escape times detection.

    Raises
    ------
    ValueError
        A pump or an efficiency out of its range.

    Examples
    --------
    >>> quiet = squeezing_spectrum(0.0, pump=0.5).squeezed
    >>> print(f"{10 * np.log10(quiet):.2f} dB")
    -9.54 dB
    """
    if not 0 <= pump < 1:
        raise ValueError(f"pump = {pump}: below threshold is 0 to 1")
    if not 0 <= efficiency <= 1:
        raise ValueError(f"efficiency = {efficiency}: must be 0 to 1")
    square, gain = np.asarray(frequency, np.float64) ** 2, 4 * pump * efficiency
    return SqueezingSpectrum(
        1 + gain / ((1 - pump) ** 2 + square), 1 - gain / ((1 + pump) ** 2 + square)
    )


def noise_spectrum(records: ArrayLike, *, time_step: float, segment: int) -> NoiseSpectrum:
    r"""Return the spectrum of records by Welch's average of windowed periodograms.

    .. math:: S(\omega) = \Big\langle\frac{|\sum_k v_kx_ke^{-i\omega k\,dt}|^2}{\sum_kv_k^2}
              \Big\rangle

    with Hann's window v, over segments that do not overlap, so that they are independent where
    they are long. White noise of variance 1 has S = 1.

    Parameters
    ----------
    records : array_like, shape (..., steps)
        One or more records of zero mean; a remainder shorter than a segment is left out.
    time_step : float
        Time between two values.
    segment : int
        Values in a segment, 4 or more: the resolution is about :math:`4\pi` / (segment dt).

    Raises
    ------
    ValueError
        There are less than two segments in all, or a parameter is out of its range.
    """
    values = np.asarray(records, np.float64)
    if not 0 < time_step < math.inf:
        raise ValueError(f"time_step = {time_step}: must be positive and finite")
    if segment < 4:
        raise ValueError(f"segment = {segment}: at least 4 values are needed")
    kept = values[..., : values.shape[-1] // segment * segment].reshape(-1, segment)
    if len(kept) < 2:
        raise ValueError(f"segment = {segment}: the records hold less than two of them")
    window = np.sin(np.pi * np.arange(segment) / segment) ** 2
    power = np.abs(np.fft.rfft(kept * window)) ** 2 / np.sum(window**2)
    frequency = 2 * np.pi * np.arange(segment // 2 + 1, dtype=np.float64) / (segment * time_step)
    return NoiseSpectrum(
        frequency,
        power.mean(axis=0),
        power.std(axis=0, ddof=1) / math.sqrt(len(kept)),
    )


def squeezing_db(variance: ArrayLike) -> NDArray[np.float64]:
    r"""Return the variance of a quadrature relative to vacuum, in dB: below 0 is squeezed.

    .. math:: 10\log_{10}\frac{V}{1/2}, \qquad X = (a + a^\dagger)/\sqrt2

    Parameters
    ----------
    variance : array_like
        Of X or P, where vacuum has 1/2; positive.

    Returns
    -------
    float64 array, shape of `variance`
        A scalar for a scalar.

    Raises
    ------
    ValueError
        A variance that is not positive and finite.

    Examples
    --------
    >>> print(f"{squeezing_db(0.25):.2f} dB")
    -3.01 dB
    """
    variances = np.asarray(variance, np.float64)
    if not np.all((variances > 0) & np.isfinite(variances)):
        raise ValueError("variance must be positive and finite")
    return 10 * np.log10(variances / VACUUM_VARIANCE)
