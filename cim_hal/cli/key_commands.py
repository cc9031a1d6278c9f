"""``cim-hal keys``: key pairs, the clients a server accepts, the servers a client trusts."""

from __future__ import annotations

import re
from pathlib import Path

import click

from cim_hal.cli.common import json_option, print_json, print_table
from cim_hal.console import say
from cim_hal.key_files import NAME, config_folder, create_key, read_public
from cim_hal.key_files import trust as trust_server
from cim_hal.option_types import Endpoint, OutputFile, OutputFolder
from cim_hal.protocol.wire.roles import Role
from cim_hal.server.security import authenticator as authorized

__all__ = ["keys"]

authorized_option = click.option(
    "--authorized",
    "path",
    type=OutputFile(),
    metavar="FILE.toml",
    help="The file of clients.  [default: authorized.toml in your configuration folder]",
)


@click.group()
def keys() -> None:
    """Make keys, and manage whose keys a server accepts.

    Keys are CURVE keys: NAME.key is secret, NAME.pub is for others. By default they are stored in
    $XDG_CONFIG_HOME/cim-hal or ~/.config/cim-hal. Clients use client.key from there unless another
    key is named.

    \b
    Examples:
      cim-hal keys new server                             on the machine
      cim-hal keys new client                             on yours
      cim-hal keys authorize client.pub --name alice --role user      on the machine
      cim-hal serve emulator --bind tcp://0.0.0.0:5555 --key ~/.config/cim-hal/server.key
      cim-hal keys trust tcp://lab:5555 server.pub        on yours
      cim-hal describe tcp://lab:5555
    """  # noqa: D301


@keys.command()
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=OutputFolder(),
    help="Where to put the two files.  [default: your configuration folder]",
)
def new(name: str, folder: Path | None) -> None:
    """Make a key pair: NAME.key, which only you may read, and NAME.pub. Overwrites nothing.

    \b
    Examples:
      cim-hal keys new client
      cim-hal keys new server --dir /etc/cim-hal
    """  # noqa: D301
    for path in create_key(name, folder or config_folder()):
        say(str(path))


@keys.command("list")
@authorized_option
@json_option
def list_clients(path: Path | None, *, as_json: bool) -> None:
    """List the clients that a server accepts.

    \b
    Examples:
      cim-hal keys list
      cim-hal keys list --authorized /etc/cim-hal/authorized.toml --json
    """  # noqa: D301
    clients = authorized.read_clients(path or authorized.default_file())
    if as_json:
        print_json([client.model_dump() for client in clients])
        return
    rows = ((client.name, client.role, client.key) for client in clients)
    print_table("name", "role", "key", rows=rows)


@keys.command()
@click.argument("public_key", metavar="PUBLICKEY|FILE.pub")
@click.option("--name", required=True, help="The owner of the key, as written to the log.")
@click.option(
    "--role",
    required=True,
    type=click.Choice([role.label for role in Role]),
    help="What the client may do; each role includes those before it.",
)
@authorized_option
def authorize(public_key: str, name: str, role: str, path: Path | None) -> None:
    """Accept a client. A running server notices within two seconds.

    \b
    Examples:
      cim-hal keys authorize client.pub --name alice --role user
    """  # noqa: D301
    if not re.fullmatch(NAME, name):
        raise click.BadParameter(
            f"{name!r}: letters, digits, dots, dashes, at most 64", param_hint="--name"
        )
    client = authorized.Client.model_validate(
        {"name": name, "key": read_public(public_key), "role": role}
    )
    authorized.authorize(path or authorized.default_file(), client)


@keys.command()
@click.argument("name")
@authorized_option
def revoke(name: str, path: Path | None) -> None:
    """Stop accepting a client. A running server notices within two seconds.

    Jobs that it has queued still run.

    \b
    Examples:
      cim-hal keys revoke alice
    """  # noqa: D301
    authorized.revoke(path or authorized.default_file(), name)


@keys.command()
@click.argument("endpoint", type=Endpoint(is_known=False))
@click.argument("public_key", metavar="PUBLICKEY|FILE.pub")
def trust(endpoint: str, public_key: str) -> None:
    """Remember the public key of the server at ENDPOINT, and use keys there from now on.

    \b
    Examples:
      cim-hal keys trust tcp://lab:5555 server.pub
    """  # noqa: D301
    trust_server(endpoint, public_key)
