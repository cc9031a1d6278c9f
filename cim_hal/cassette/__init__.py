"""Record what clients and a server say to each other, replay it, and check a server against it."""

from cim_hal.cassette.checker import Comparison, Difference, check
from cim_hal.cassette.file import (
    Cassette,
    CassetteWriter,
    RecordedExchange,
    Recorder,
    read_cassette,
)
from cim_hal.cassette.replay import Replayer, ReplayServer

__all__ = [
    "Cassette",
    "CassetteWriter",
    "Comparison",
    "Difference",
    "RecordedExchange",
    "Recorder",
    "ReplayServer",
    "Replayer",
    "check",
    "read_cassette",
]
