"""``python -m cim_hal.cli``."""

from cim_hal.cli import main

main()
