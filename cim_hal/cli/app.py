"""The group of commands, and the entry point."""

from __future__ import annotations

import sys

import click

from cim_hal.cli.cassette import check, record, replay
from cim_hal.cli.chaos import chaos
from cim_hal.cli.conform import conform
from cim_hal.cli.couplings import couplings
from cim_hal.cli.instruments import calibrate, status
from cim_hal.cli.jobs import jobs
from cim_hal.cli.key_commands import keys
from cim_hal.cli.locking import estop, lock, reset, unlock
from cim_hal.cli.machines import describe, list_drivers
from cim_hal.cli.monitor import monitor
from cim_hal.cli.sample import sample
from cim_hal.cli.scaffold import new_driver
from cim_hal.cli.serve import serve
from cim_hal.cli.tune import tune
from cim_hal.console import run

__all__ = ["main", "program"]


@click.group(
    name="cim-hal",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cim-hal")
def program() -> None:
    """Use coherent Ising machines: real ones on a network, or emulated ones.

    TARGET is the name of an installed driver (see cim-hal list), module:factory, or the endpoint
    of a server, tcp://host:port or ipc://path.

    \b
    Examples:
      cim-hal list
      cim-hal describe emulator
      cim-hal status tcp://127.0.0.1:5555
      cim-hal sample emulator --model G1.txt --runs 100
      cim-hal tune emulator --model G1.txt --seconds 120 --out tuned.toml
      cim-hal conform my_lab:make
      cim-hal serve emulator --bind tcp://127.0.0.1:5555
      cim-hal sample tcp://127.0.0.1:5555 --model G1.txt --json
      cim-hal jobs tcp://127.0.0.1:5555 list
    """  # noqa: D301  \b is click's mark for text it must not rewrap


DEVICES = (list_drivers, describe, status, sample, tune, calibrate, conform)
SHARING = (jobs, lock, unlock, estop, reset, couplings)
SERVING = (serve, monitor, keys, record, replay, check, chaos, new_driver)

for command in (*DEVICES, *SHARING, *SERVING):
    program.add_command(command)


def main() -> None:
    """Run the command of this process and end it."""
    sys.exit(run(program))
