"""``python -m cim_hal.cli``."""

from cim_hal.cli.app import main

main()
