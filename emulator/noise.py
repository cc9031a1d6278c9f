r"""Counter-based Gaussian noise: each (seed, run, round trip, spin) fixes its value.

The counter goes through Threefry-2x32 with 20 rounds, whose two words become two independent
normals by the Box-Muller transform:

.. math:: w_{2k} = \sqrt{-2\ln u}\,\cos 2\pi v, \qquad w_{2k+1} = \sqrt{-2\ln u}\,\sin 2\pi v

Nothing is carried from one value to the next, so batches, blocks and threads cannot change a
value, and the loop over runs vectorizes. Values are float32 and end at 6.7 standard deviations.

A word of the counter holds 16 bits of run and 16 bits of spin pair. Runs and pairs beyond have
another key for each 2^16 of them, so that no two places share a value.

References
----------
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11,
doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.kernel import fused, inlined, kernel, kernel_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Draw",
    "NoiseKey",
    "at",
    "fill_normal_pair",
    "fill_normals",
    "fill_two_noises",
    "fill_two_normals",
    "normal_pair",
    "normals",
    "threefry",
]

_PARITY = np.uint32(0x1BD11BDA)
_HALF_WORD = np.uint32(16)
_LOW = 2**16 - 1
_SCALE_UNIT = np.float32(2.0**-32)
_OFFSET_UNIT = np.float32(2.0**-33)
_SCALE_ANGLE = np.float32(2.0 * math.pi * 2.0**-32)
_EIGHTH_TURN = np.uint32(2**29)
_QUADRANT_SHIFT = np.uint32(30)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_HALF = np.float32(0.5)
_LN2 = np.float32(math.log(2.0))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA_BITS = np.int32(23)
_MANTISSA_MASK = np.int32(0x007FFFFF)

# Minimax polynomials of Cephes (S. Moshier): logf on [sqrt(1/2), sqrt(2)), sinf and cosf on an
# eighth of a turn either side of zero.
_LOG = tuple(
    np.float32(value)
    for value in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
_SIN = tuple(np.float32(value) for value in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
_COS = tuple(np.float32(value) for value in (2.4433157118e-5, -1.3887316255e-3, 4.1666645683e-2))


class NoiseKey(NamedTuple):
    """The 64 bits of a seed as two words."""

    low: np.uint32
    high: np.uint32

    @classmethod
    def from_seed(cls, seed: int) -> NoiseKey:
        """Split a seed of 0 to 2^64 - 1 into its words; others are a ValueError."""
        if not 0 <= seed < 1 << 64:
            raise ValueError(f"seed = {seed} must be 0 to 2^64 - 1")
        return cls(np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32))


class Draw(NamedTuple):
    """A place in the noise: the key of a seed, a round trip, and the first run of a block."""

    key: NoiseKey
    round_trip: int
    first_run: int

    @classmethod
    def of_seed(cls, seed: int, *, round_trip: int = 0, first_run: int = 0) -> Draw:
        """Return the place in the noise of a seed."""
        return cls(NoiseKey.from_seed(seed), round_trip, first_run)

    def after(self, round_trips: int) -> Draw:
        """Return the place some round trips later."""
        return self._replace(round_trip=self.round_trip + round_trips)


@inlined
def at(draw: Draw, round_trip: int) -> Draw:
    """Return the place in another round trip."""
    return Draw(draw.key, round_trip, draw.first_run)


@inlined
def _mix(x0: Any, x1: Any, turn: int) -> tuple[Any, Any]:
    x0 = np.uint32(x0 + x1)
    x1 = np.uint32((x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn)))
    return x0, np.uint32(x1 ^ x0)


@inlined
def _mix_four(x0: Any, x1: Any, turns: tuple[int, int, int, int]) -> tuple[Any, Any]:
    x0, x1 = _mix(x0, x1, turns[0])
    x0, x1 = _mix(x0, x1, turns[1])
    x0, x1 = _mix(x0, x1, turns[2])
    return _mix(x0, x1, turns[3])


@inlined
def threefry(key0: Any, key1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Return the two words of Threefry-2x32-20 for a key and a counter of two words each."""
    key2 = np.uint32(key0 ^ key1 ^ _PARITY)
    x0, x1 = _mix_four(np.uint32(x0 + key0), np.uint32(x1 + key1), (13, 15, 26, 6))
    x0, x1 = np.uint32(x0 + key1), np.uint32(x1 + key2 + np.uint32(1))
    x0, x1 = _mix_four(x0, x1, (17, 29, 16, 24))
    x0, x1 = np.uint32(x0 + key2), np.uint32(x1 + key0 + np.uint32(2))
    x0, x1 = _mix_four(x0, x1, (13, 15, 26, 6))
    x0, x1 = np.uint32(x0 + key0), np.uint32(x1 + key1 + np.uint32(3))
    x0, x1 = _mix_four(x0, x1, (17, 29, 16, 24))
    x0, x1 = np.uint32(x0 + key1), np.uint32(x1 + key2 + np.uint32(4))
    x0, x1 = _mix_four(x0, x1, (13, 15, 26, 6))
    return np.uint32(x0 + key2), np.uint32(x1 + key0 + np.uint32(5))


@inlined
def _log(value: Any) -> Any:
    """Return ln of a positive normal float32."""
    bits = np.int32(np.float32(value).view(np.int32) - _SQRT_HALF_BITS)
    exponent = np.int32(bits >> _MANTISSA_BITS)
    mantissa = np.int32((bits & _MANTISSA_MASK) + _SQRT_HALF_BITS).view(np.float32)
    x = mantissa - _ONE
    y = _LOG[0]
    for k in range(1, 9):
        y = fused(y, x, _LOG[k])
    square = x * x
    small = fused(y * x, square, fused(-_HALF, square, x))
    return fused(np.float32(exponent), _LN2, small)


@inlined
def _cos_sin_of_turn(word: Any) -> tuple[Any, Any]:
    """Return cos and sin of the angle that is ``word`` / 2^32 of a turn."""
    quadrant = np.uint32(np.uint32(word + _EIGHTH_TURN) >> _QUADRANT_SHIFT)
    rest = np.int32(np.uint32(word - np.uint32(quadrant << _QUADRANT_SHIFT)))
    angle = np.float32(rest) * _SCALE_ANGLE
    square = angle * angle
    sine = fused(fused(_SIN[0], square, _SIN[1]), square, _SIN[2])
    sine = fused(sine * square, angle, angle)
    cosine = fused(fused(_COS[0], square, _COS[1]), square, _COS[2])
    cosine = fused(fused(cosine, square, -_HALF), square, _ONE)
    odd = np.uint32(quadrant & np.uint32(1)) != np.uint32(0)
    across = sine if odd else cosine
    along = cosine if odd else sine
    flip_across = np.uint32(np.uint32(quadrant + np.uint32(1)) & np.uint32(2)) != np.uint32(0)
    flip_along = np.uint32(quadrant & np.uint32(2)) != np.uint32(0)
    return (-across if flip_across else across), (-along if flip_along else along)


@inlined
def _pair_of_key(key: NoiseKey, round_trip: Any, pair: Any, run: Any) -> tuple[Any, Any]:
    position = np.uint32(np.uint32(pair << _HALF_WORD) | run)
    a, b = threefry(key[0], key[1], round_trip, position)
    u = np.float32(a) * _SCALE_UNIT + _OFFSET_UNIT
    radius = np.float32(math.sqrt(-_TWO * _log(u)))
    cosine, sine = _cos_sin_of_turn(b)
    return radius * cosine, radius * sine


# The counter word of keys: the last round trip of the last stream.
_KEYS = np.uint32(0xFFFFFFFF)


@kernel_part
def _another_key(key: NoiseKey, place: Any) -> NoiseKey:
    low, high = threefry(key[0], key[1], _KEYS, np.uint32(place))
    return NoiseKey(low, high)


@inlined
def _widened(key: NoiseKey, pair: Any, run: Any) -> NoiseKey:
    """Return the key of a place: `key` itself for the first 2^16 pairs and runs."""
    place = (np.int64(pair) >> 16 << 16) | (np.int64(run) >> 16)
    return _another_key(key, place) if place else key


@inlined
def normal_pair(key: NoiseKey, round_trip: Any, pair: Any, run: Any) -> tuple[Any, Any]:
    """Return the normals of spins 2 `pair` and 2 `pair` + 1, float32."""
    low = np.uint32(_LOW)
    return _pair_of_key(_widened(key, pair, run), round_trip, pair & low, run & low)


@inlined
def fill_normal_pair(draw: Draw, pair: int, even: NDArray[Any], odd: NDArray[Any]) -> None:
    """Fill the rows of spins 2 `pair` and 2 `pair` + 1, one value per run."""
    start, round_trip, low_pair = 0, np.uint32(draw.round_trip), np.uint32(pair & _LOW)
    while start < len(even):
        run = draw.first_run + start
        key, low = _widened(draw.key, pair, run), run & _LOW
        end = start + _LOW + 1 - low  # of the runs of this key
        some, others = even[start:end], odd[start:end]
        for r in range(len(some)):
            some[r], others[r] = _pair_of_key(key, round_trip, low_pair, np.uint32(low + r))
        start = end


@kernel
def fill_normals(draw: Draw, out: NDArray[Any]) -> None:
    """Fill `out` (n, runs), n even, with the noise of one round trip."""
    for pair in range(len(out) // 2):
        fill_normal_pair(draw, pair, out[2 * pair], out[2 * pair + 1])


@inlined
def fill_two_normals(draw: Draw, spin: int, first: NDArray[Any], second: NDArray[Any]) -> None:
    """Fill two rows of noise for one spin, one value per run.

    Where oscillators have two amplitudes, a spin takes the place that a pair of spins has
    elsewhere. A step owns two round-trip counters: 2 `draw.round_trip` for the first 2^16 spins,
    and the next for as many others.
    """
    counter = 2 * draw.round_trip + (spin >> 16 & 1)
    fill_normal_pair(at(draw, counter), (spin >> 17 << 16) | (spin & _LOW), first, second)


@kernel
def fill_two_noises(draw: Draw, noise: NDArray[Any]) -> None:
    """Fill `noise` (n, 2 runs) with the normals of a step, those of the first amplitude first."""
    runs = noise.shape[1] // 2
    for i in range(len(noise)):
        row = noise[i]
        fill_two_normals(draw, i, row[:runs], row[runs:])


def normals(
    seed: int, *, round_trip: int, n_spins: int, n_runs: int, first_run: int = 0
) -> NDArray[Any]:
    """Return the noise of one round trip, float32, shape (n_spins, n_runs).

    Raises
    ------
    ValueError
        A round trip that is not below 2^32, or a negative first run.
    """
    if not (0 <= round_trip < 2**32 and first_run >= 0):
        raise ValueError(f"round_trip = {round_trip}, first_run = {first_run}: out of range")
    out = np.empty((n_spins + n_spins % 2, n_runs), dtype=np.float32)
    fill_normals(Draw.of_seed(seed, round_trip=round_trip, first_run=first_run), out)
    return out[:n_spins]
