"""Where the randomness of imperfections lies among the counters of `emulator.noise`.

Of a job, noise has the counter word of its round trip, below 2^28, with the number of its
stream in the four bits above; the record of a homodyne detector is stream 0. What is static has
a key of its own: seeds of jobs end below 2^63, and that of a machine is 2^63 or more.
"""

from __future__ import annotations

from emulator.noise import NoiseKey

__all__ = ["INJECTION", "JITTER", "PHASE", "PUMP", "machine_key", "machine_seed"]

INJECTION, PUMP, JITTER, PHASE = (stream << 28 for stream in (1, 2, 3, 4))


def machine_seed(seed: int) -> int:
    """Return the seed of the static errors of machine `seed`: that of no job."""
    return seed | 2**63


def machine_key(seed: int) -> NoiseKey:
    """Return the key of the static errors of machine `seed`."""
    return NoiseKey.from_seed(machine_seed(seed))
