"""A machine with options and settings that tells what it was built with and asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cim_machines import Annealer

from cim_hal import Capabilities, Option, Program, Readout, Setting, StopToken, emulated

SETTINGS = (
    Setting(name="gain", unit="1/m", default=1.0, low=0.0, high=2.0, description="Of the loop."),
    Setting(name="adc.bits", unit="bits", default=8, low=1, high=16, integer=True),
    Setting(name="field_weight", default=0.5, low=0.0, high=2.0),
)


@emulated
class Configured(Annealer):
    """An annealer at an address, with a gain."""

    def __init__(
        self,
        host: str,
        port: Annotated[int, Option(low=1, high=65535, description="Of the bench.")] = 5025,
        *,
        timeout_s: Annotated[float, Option(unit="s", low=0.1, high=60.0)] = 2.0,
        dry: bool = False,
        mode: Literal["slow", "fast"] = "slow",
        log: str | None = None,
    ) -> None:
        super().__init__()
        self._built = {"host": host, "port": port, "timeout_s": timeout_s, "dry": dry, "mode": mode}
        self._log = log

    def describe(self) -> Capabilities:
        return super().describe().model_copy(update={"settings": SETTINGS})

    def run(self, program: Program, stop: StopToken) -> Readout:
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(program.settings)) + "\n")
        asked = {f"asked.{name}": value for name, value in program.settings.items()}
        return Readout(super().run(program, stop).values, notes={**self._built, **asked})
