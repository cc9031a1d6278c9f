"""The command ``cim-hal``."""

from cim_hal.entry import run_program

__all__ = ["main"]


def main() -> None:
    """Run the command of this process and end it."""
    run_program("cim_hal.cli.app:program")
