"""``cim-hal record``, ``replay`` and ``check``: record a session, replay it, compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cim_hal.cli.common import (
    json_option,
    key_options,
    print_json,
    print_ready,
    print_table,
    refused,
    signalled,
)
from cim_hal.console import say
from cim_hal.key_files import keys_for
from cim_hal.option_types import CONNECT, FILE, LISTEN, OutputFile
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.cassette import Cassette, Comparison

__all__ = ["check", "record", "replay"]

listen_option = click.option(
    "--listen",
    type=LISTEN,
    default=DEFAULT,
    show_default=True,
    metavar="ENDPOINT",
    help="Where clients connect; port 0 for a free one.",
)


@click.command()
@click.argument("target", metavar="ENDPOINT", type=CONNECT)
@click.argument("path", metavar="FILE", type=OutputFile(is_new=True))
@listen_option
@key_options
def record(
    target: str, path: Path, *, listen: str, key: Path | None, server_key: str | None
) -> None:
    """Record what clients and the server at ENDPOINT say, until Ctrl-C or SIGTERM.

    Prints one line on stdout when it is ready: the endpoint that clients must use instead. FILE
    must not exist. It will hold all couplings and results that pass.

    \b
    Examples:
      cim-hal record tcp://127.0.0.1:5555 monday.cassette
      cim-hal record tcp://cim.lab:5555 monday.cassette --listen tcp://127.0.0.1:5556
    """  # noqa: D301
    with refused("--listen"):
        check_endpoint(listen)
    from cim_hal.cassette import Recorder  # takes time to import

    ended = signalled()
    keys = keys_for(target, key, server_key)
    with Recorder(target, path, listen=listen, keys=keys) as recorder:
        print_ready(f"recording at {recorder.endpoint}")
        ended.wait()
    say(f"{counted(recorder.messages, 'message')} in {path}", err=True)


@click.command()
@click.argument("path", metavar="FILE", type=FILE)
@listen_option
@click.option("--insecure", is_flag=True, help="Let other machines in.")
def replay(path: Path, *, listen: str, insecure: bool) -> None:
    """Serve a cassette as if it were the machine, until Ctrl-C or SIGTERM.

    Recorded requests get their recorded replies; any other request is answered with an error that
    names the nearest one. A program that draws its own seeds makes a new request each time: give
    it a seed.

    \b
    Examples:
      cim-hal replay monday.cassette
      cim-hal replay monday.cassette --listen tcp://127.0.0.1:5555
    """  # noqa: D301
    with refused("--listen"):
        check_endpoint(listen, insecure=insecure)
    from cim_hal.cassette import ReplayServer, read_cassette

    ended = signalled()
    cassette = read_cassette(path)
    _warn(cassette, path)
    with ReplayServer(cassette, listen=listen, insecure=insecure) as server:
        print_ready(f"{path.name} at {server.endpoint}")
        ended.wait()


@click.command()
@click.argument("path", metavar="FILE", type=FILE)
@click.argument("target", metavar="ENDPOINT", type=CONNECT)
@json_option
@key_options
def check(
    path: Path, target: str, *, as_json: bool, key: Path | None, server_key: str | None
) -> None:
    """Repeat the requests recorded in FILE to the server at ENDPOINT, and compare the replies.

    The exit status is 1 if they differ. Samples are compared bit by bit if the machine calls
    itself reproducible. Recorded jobs are run again.

    \b
    Examples:
      cim-hal check monday.cassette tcp://127.0.0.1:5555
      cim-hal check monday.cassette tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    from cim_hal import cassette
    from cim_hal.client.transport.zmq import ZmqTransport

    recorded = cassette.read_cassette(path)
    _warn(recorded, path)
    transport = ZmqTransport(target, keys=keys_for(target, key, server_key))
    try:
        outcome = cassette.check(recorded, transport)
    finally:
        transport.close()
    if as_json:
        print_json({"holds": outcome.holds, **asdict(outcome)})
    else:
        _show(outcome)
    raise click.exceptions.Exit(0 if outcome.holds else 1)


def _show(outcome: Comparison) -> None:
    say(f"{outcome.compared} exchanges compared, {outcome.skipped} not needed")
    if outcome.holds:
        say("no reply differs from the cassette")
        return
    found = ((str(d.exchange), d.request, d.path, d.recorded, d.live) for d in outcome.differences)
    print_table("exchange", "request", "field", "on the cassette", "now", rows=found)


def _warn(cassette: Cassette, path: Path) -> None:
    if not cassette.is_complete:
        say(f"{path}: this cassette is incomplete: its recorder was killed", err=True)
