"""Kernels of the mean-field machine: steps of all oscillators in all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.dynamics.local_field import mean_magnitude
from emulator.dynamics.saturation import cubic_drift, linear_drift, sine_drift, tanh_drift
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.products.operand import multiply_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.operand import CouplingOperand

__all__ = [
    "OscillatorConstants",
    "Oscillators",
    "advance_oscillators",
    "advance_oscillators_through",
    "drive",
    "increment_oscillators",
]

# places in `SATURATIONS`
_CUBIC, _TANH, _SINE = range(3)


class Oscillators(NamedTuple):
    """Arrays of the kernels: (n, runs) twice, (n,) and (runs,), n even."""

    x: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    field_amplitude: NDArray[Any]


class OscillatorConstants(NamedTuple):
    """Scalars of the kernels, of the state's dtype but for the place of the saturation."""

    saturation: int
    pump: Any
    net_pump: Any
    coupling: Any
    drive_top: Any
    time_step: Any
    three_steps: Any
    noise: Any
    one: Any
    half: Any


@njit(inline="always")
def drive(product: float, field: float, c: OscillatorConstants) -> float:
    r"""Return :math:`F(\xi\sum_j J_{ij}f(x_j) + \xi h_i a)`; `field` is :math:`h_i a`."""
    return min(max(c.coupling * (product + field), -c.drive_top), c.drive_top)


@njit(inline="always")
def write_drift(
    x: NDArray[Any], drives: NDArray[Any], c: OscillatorConstants, out: NDArray[Any]
) -> None:
    """Write the drift of one oscillator in all runs; a loop for each saturation vectorizes."""
    if c.saturation == _CUBIC:
        for r in range(len(x)):
            out[r] = cubic_drift(x[r], drives[r], c.net_pump)
    elif c.saturation == _TANH:
        for r in range(len(x)):
            out[r] = tanh_drift(x[r], drives[r], c.pump)
    elif c.saturation == _SINE:
        for r in range(len(x)):
            out[r] = sine_drift(x[r], drives[r], c.pump, c.half)
    else:
        for r in range(len(x)):
            out[r] = linear_drift(x[r], drives[r], c.net_pump)


@njit(cache=True, nogil=True, error_model="numpy")
def increment_oscillators(
    arrays: Oscillators, kicks: NDArray[Any], out: NDArray[Any], c: OscillatorConstants
) -> None:
    """Write the change of every amplitude in an explicit step to `out` (n, runs)."""
    drives = np.empty_like(out[0])
    for i in range(len(out)):
        products, h, change, kick = arrays.product[i], arrays.field[i], out[i], kicks[i]
        for r in range(len(drives)):
            drives[r] = drive(products[r], h * arrays.field_amplitude[r], c)
        write_drift(arrays.x[i], drives, c, change)
        for r in range(len(drives)):
            change[r] = c.time_step * change[r] + c.noise * kick[r]


@njit(cache=True, nogil=True, error_model="numpy")
def advance_oscillators(  # noqa: PLR0917  a kernel takes arrays
    arrays: Oscillators,
    kicks: NDArray[Any],
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    c: OscillatorConstants,
) -> None:
    r"""Make one step of every parametric oscillator, linearly implicit in the cubic term.

    .. math:: x \leftarrow x + \frac{F(x)\,dt}{1 + 3x^2dt} + s\sqrt{dt}\,w

    with F the drift. The first two rows of `kicks` are scratch.
    """
    is_noisy = c.noise != 0
    for pair in range(len(arrays.x) // 2):
        if is_noisy:
            fill_normal_pair(key, round_trip, pair, first_run, kicks[0], kicks[1])
        for side in range(2):
            i = 2 * pair + side
            x, products, h, kick = arrays.x[i], arrays.product[i], arrays.field[i], kicks[side]
            for r in range(len(x)):
                a = x[r]
                pull = drive(products[r], h * arrays.field_amplitude[r], c)
                slope = cubic_drift(a, pull, c.net_pump)
                x[r] = a + c.time_step * slope / (c.one + c.three_steps * a * a) + c.noise * kick[r]


@njit(cache=True, nogil=True, error_model="numpy")
def advance_oscillators_through(  # noqa: PLR0917  a kernel takes arrays
    operand: CouplingOperand,
    arrays: Oscillators,
    fed_back: NDArray[Any],
    kicks: NDArray[Any],
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    net_pumps: NDArray[Any],
    limit: float,
    follows_mean: bool,  # noqa: FBT001
    c: OscillatorConstants,
) -> None:
    """Make a step at each of the net pumps; `fed_back` (n, runs) is scratch.

    With `follows_mean` a field has the mean magnitude of what is fed back as its amplitude.
    """
    product = arrays.product[: len(fed_back)]
    for step in range(len(net_pumps)):
        for i in range(len(fed_back)):
            x, clipped = arrays.x[i], fed_back[i]
            for r in range(len(clipped)):
                clipped[r] = min(max(x[r], -limit), limit)
        multiply_rows(operand, fed_back, 0, product)
        if follows_mean:
            mean_magnitude(fed_back, arrays.field_amplitude)
        now = OscillatorConstants(
            c.saturation,
            c.pump,
            net_pumps[step],
            c.coupling,
            c.drive_top,
            c.time_step,
            c.three_steps,
            c.noise,
            c.one,
            c.half,
        )
        advance_oscillators(arrays, kicks, key, round_trip + step, first_run, now)
