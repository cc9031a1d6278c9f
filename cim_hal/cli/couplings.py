"""``cim-hal couplings``: what couplings a server holds, and to let go of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.cli.shared_options import key_options
from cim_hal.client.session import open_device
from cim_hal.errors import UnknownReferenceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cim_hal.protocol.wire.messages import HeldCouplings

__all__ = ["couplings"]


@click.command()
@click.argument("target")
@click.argument("action", type=click.Choice(["list", "drop"]))
@click.argument("digests", nargs=-1, metavar="[DIGEST]...")
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def couplings(
    target: str,
    action: str,
    digests: tuple[str, ...],
    *,
    key: Path | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """List the couplings that the server TARGET holds, or drop some of them.

    DIGEST is the name of couplings, or as much of its beginning as tells it from the others. What
    jobs need is not dropped; what others loaded too, only for an operator.

    \b
    Examples:
      cim-hal couplings tcp://127.0.0.1:5555 list
      cim-hal couplings tcp://127.0.0.1:5555 drop sha256:5f1c
    """  # noqa: D301
    if (action == "drop") != bool(digests):
        raise click.UsageError(
            "drop needs a DIGEST" if action == "drop" else "list takes no DIGEST"
        )
    with open_device(target, key=key, server_key=server_key) as session:
        held = session.couplings()
        if action == "list":
            _show(held, as_json=as_json)
            return
        for digest in [_found(held, digest) for digest in digests]:
            n_bytes = session.drop_couplings(digest)
            facts = json.dumps({"digest": digest, "n_bytes": n_bytes})
            click.echo(facts if as_json else f"dropped {digest}: {n_bytes:,} bytes are free")


def _found(held: Iterable[HeldCouplings], beginning: str) -> str:
    found = [each.digest for each in held if each.digest.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    raise UnknownReferenceError(
        f"{len(found)} of the couplings on the server begin with {beginning}",
        hint="cim-hal couplings TARGET list shows their names",
        kind="coupling",
    )


def _show(held: Iterable[HeldCouplings], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([each.model_dump() for each in held], indent=2))
        return
    table = Table("couplings", "spins", "bytes", "fitted", "in use")
    for each in held:
        row = (each.digest[:23], f"{each.n_spins}", f"{each.n_bytes:,}", f"{each.fits}")
        table.add_row(*row, "yes" if each.in_use else "no")
    Console().print(table)
