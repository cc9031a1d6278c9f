"""Conversations on tape: record what clients and a server say, play it back, check a server."""

from cim_hal.cassette.checker import Check, Difference, check
from cim_hal.cassette.player import Player
from cim_hal.cassette.recorder import Recorder
from cim_hal.cassette.served import PlayerServer
from cim_hal.cassette.tape import Exchange, Tape, TapeWriter, read_tape

__all__ = [
    "Check",
    "Difference",
    "Exchange",
    "Player",
    "PlayerServer",
    "Recorder",
    "Tape",
    "TapeWriter",
    "check",
    "read_tape",
]
