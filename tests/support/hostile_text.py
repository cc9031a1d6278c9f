"""A text that would move a cursor, forge a line or hide one, and a machine that says it."""

from __future__ import annotations

import logging
import unicodedata

import numpy as np
from cim_machines import Annealer

from cim_hal import Capabilities, Driver, Reading, Readout, Telemetry
from cim_hal.errors import DeviceError

# ESC (a title, a cleared screen, the clipboard), BEL, CR, LF, NUL, C1, bidi marks, a zero-width
# space, a line separator; and wide and combining characters, which may stay.
HOSTILE = (
    "\x1b]0;PWNED\x07\x1b[2J\x1b]52;c;cHduZWQ=\x07\r\nerror: forged\x00"
    "\x9b31m\u202eevil\u2066\u200b"
    "\u2028next [bold]日本e\u0301"
)


def controls(text: str) -> set[str]:
    """Return what a terminal may obey in an output, its line ends aside."""
    bad = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    return {char for char in text.replace("\n", "") if unicodedata.category(char) in bad}


class Babbler(Driver):
    """A machine whose texts are all hostile; every second run fails."""

    n_runs = 0

    def describe(self) -> Capabilities:
        ordinary = Annealer().describe()
        facts = {"cavity": HOSTILE[:200]}
        return ordinary.model_copy(update={"description": HOSTILE, "properties": facts})

    def status(self) -> Telemetry:
        return Telemetry(readings=(Reading(name="state", value=HOSTILE[:200]),))

    def run(self, program, stop) -> Readout:
        self.n_runs += 1
        logging.getLogger("lab").error("the laser says %s", HOSTILE)
        if self.n_runs % 2 == 0:
            raise DeviceError(f"it failed: {HOSTILE}", hint=HOSTILE)
        return Readout(np.ones((program.n_runs, program.n_spins), np.float32))
