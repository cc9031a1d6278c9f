"""The command group ``cim-hal``."""

from __future__ import annotations

import click

from cim_hal.console import LazyGroup

__all__ = ["program"]

# Name -> place of the command in this package, and the first sentence of its help.
COMMANDS = {
    "calibrate": (
        "machines:calibrate",
        "Calibrate the machine TARGET when it is free, and print the record.",
    ),
    "chaos": (
        "chaos:chaos",
        "Be an unreliable network between clients and a server, until Ctrl-C or SIGTERM.",
    ),
    "check": (
        "cassette:check",
        "Repeat the requests recorded in FILE to the server at ENDPOINT, and compare the replies.",
    ),
    "compare": (
        "compare:compare",
        "Predict what machines would make of the model file MODEL, beside each other.",
    ),
    "config": (
        "defaults:config",
        "Show where the file of your defaults lies, and what it says: targets, keys, device.",
    ),
    "conform": ("conform:conform", "Check that the machine TARGET is what its driver says."),
    "convert": (
        "convert:convert",
        "Write the model in SOURCE to TARGET, in another format.",
    ),
    "couplings": (
        "jobs:couplings",
        "List the couplings that the server TARGET holds, or drop some of them.",
    ),
    "describe": (
        "machines:describe",
        "Show the capabilities of the machine TARGET, and how busy it is.",
    ),
    "estop": (
        "machines:estop",
        "Stop the machine TARGET in an emergency: outputs off, jobs held until reset.",
    ),
    "jobs": (
        "jobs:jobs",
        "List your jobs on the server TARGET, or wait for, fetch or end some of them.",
    ),
    "journal": (
        "journal:journal",
        "Check, repair or export FOLDER, in which a server keeps jobs and results.",
    ),
    "keys": ("key_commands:keys", "Make keys, and manage whose keys a server accepts."),
    "list": (
        "machines:list_drivers",
        "List the installed drivers: spins, bits, and what each is good for.",
    ),
    "lock": (
        "machines:lock",
        "Lock the machine TARGET for a time; the lock outlives this command.",
    ),
    "monitor": (
        "monitor:monitor",
        "Show the server TARGET live: queue, running job, telemetry, throughput, events.",
    ),
    "new-driver": (
        "scaffold:new_driver",
        "Make a package with a driver that runs: replace its simulated hardware by yours.",
    ),
    "precision": (
        "precision:precision",
        "Say how many bits of a coupling a model needs, or how it is lowered to given bits.",
    ),
    "record": (
        "cassette:record",
        "Record what clients and the server at ENDPOINT say, until Ctrl-C or SIGTERM.",
    ),
    "replay": (
        "cassette:replay",
        "Serve a cassette as if it were the machine, until Ctrl-C or SIGTERM.",
    ),
    "reset": ("machines:reset", "Let the machine TARGET run again after an emergency stop."),
    "sample": ("sample:sample", "Sample a model on the machine TARGET."),
    "serve": ("serve:serve", "Serve the driver TARGET on the network until Ctrl-C or SIGTERM."),
    "status": (
        "machines:status",
        "Show the state of the machine TARGET: driver, telemetry, calibration, queue.",
    ),
    "sweep": (
        "sweep:sweep",
        "Run the study STUDY.toml: models times levels of factors, with intervals and a report.",
    ),
    "tune": (
        "tune:tune",
        "Search for the schedule and the settings of the machine TARGET that suit a model.",
    ),
    "unlock": ("machines:unlock", "Release the machine TARGET."),
}


@click.group(
    name="cim-hal",
    cls=LazyGroup,
    lazy_commands={
        name: (f"{__package__}.{place}", summary) for name, (place, summary) in COMMANDS.items()
    },
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cim-hal")
def program() -> None:
    """Use coherent Ising machines: real ones on a network, or emulated ones.

    TARGET is the name of an installed driver (see cim-hal list), module:factory, the path of a
    machine file, the endpoint of a server, tcp://host:port or ipc://path, or a name that you gave
    one of these (see cim-hal config).

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
