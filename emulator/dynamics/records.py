"""What is read from a machine that measures: its records, or what they tell of the pulses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from emulator.noise import fill_normals
from emulator.options import option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.noise import Draw

__all__ = ["COINS", "ReadOut", "read_out", "recorded_amplitudes"]

ReadOut: TypeAlias = Literal["record", "conditional_mean"]

# The last stream of noise: `emulator.imperfections` has the first.
COINS = 15 << 28


def read_out() -> Any:
    """Return the option of what is read from a pulse."""
    return option(
        "record",
        within=("record", "conditional_mean"),
        doc="""What is read from a pulse, at the end and in traces.
"record" is the last record, after its converter: all that a laboratory has. "conditional_mean" is
the mean of X given all records, which no detector shows: it has no shot noise, and no full scale.
In both, an amplitude of 1 is that of a lone oscillator at p = 2.""",
    )


def recorded_amplitudes(codes: NDArray[Any], scale: float, draw: Draw) -> NDArray[np.float64]:
    """Return records (n, runs), given in codes of `scale`, as amplitudes.

    A code of zero tells no sign, which is then a coin of its own: it reads plus or minus a quarter
    of a step, the mean magnitude of what the converter rounds to zero.
    """
    records, is_zero = codes.astype(np.float64), codes == 0
    if not is_zero.any():
        return records / scale
    coins = np.empty((len(codes) + len(codes) % 2, codes.shape[1]), np.float32)
    fill_normals(draw._replace(round_trip=COINS | draw.round_trip), coins)
    return np.where(is_zero, np.copysign(0.25, coins[: len(codes)]), records) / scale
