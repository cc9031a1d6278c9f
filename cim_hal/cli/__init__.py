"""The command ``cim-hal``."""

from cim_hal.cli.app import main

__all__ = ["main"]
