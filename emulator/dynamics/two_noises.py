"""Noise for oscillators that have two real amplitudes each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.dynamics.kernel import inlined, kernel
from emulator.noise import NoiseKey, fill_normal_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill_two_noises", "fill_two_normals"]

# A counter holds 16 bits of spin pair; here a spin takes the place of a pair.
_SPIN_BITS = 16
_SPIN_MASK = 2**_SPIN_BITS - 1


@inlined
def fill_two_normals(
    key: NoiseKey,
    step: int,
    spin: int,
    first_run: int,
    first: NDArray[Any],
    second: NDArray[Any],
) -> None:
    """Fill two rows of noise for one spin, one value per run from `first_run` on.

    A step owns two round-trip counters, 2 `step` for the first 2^16 spins and 2 `step` + 1 for
    the next; under a counter, a spin takes the two values that a pair of spins has elsewhere.
    """
    counter = 2 * step + (spin >> _SPIN_BITS)
    fill_normal_pair(key, counter, spin & _SPIN_MASK, first_run, first, second)


@kernel
def fill_two_noises(noise: NDArray[Any], key: NoiseKey, step: int, first_run: int) -> None:
    """Fill `noise` (n, 2 runs) with the normals of a step, those of the first amplitude first."""
    runs = noise.shape[1] // 2
    for i in range(len(noise)):
        row = noise[i]
        fill_two_normals(key, step, i, first_run, row[:runs], row[runs:])
