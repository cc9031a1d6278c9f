"""``cim-hal config``: where the user's file of defaults lies, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cim_hal.cli.common import json_option, print_json, print_table
from cim_hal.console import say

if TYPE_CHECKING:
    from pathlib import Path

    from cim_hal.user_config import UserConfig

__all__ = ["config"]


@click.command()
@json_option
def config(*, as_json: bool) -> None:
    """Show where the file of your defaults lies, and what it says: targets, keys, device.

    The file may be missing. It gives names to targets, with the files of their keys, and names the
    device of commands that are given none.

    \b
    Examples:
      cim-hal config
      cim-hal config --json
    """  # noqa: D301
    from cim_hal.user_config import read_user_config

    found = read_user_config()
    if as_json:
        print_json(_facts(found))
        return
    say(f"{found.path}{'' if found.exists else ': there is no such file'}")
    if found.device:
        say(f"device: {found.device}")
    if found.targets:
        rows = [
            (name, each.target, _shown(each.key), _shown(each.server_key))
            for name, each in found.targets.items()
        ]
        print_table("name", "target", "key", "key of the server", rows=rows)


def _facts(found: UserConfig) -> dict[str, object]:
    targets = {
        name: {
            "target": each.target,
            "key": each.key and str(each.key),
            "server_key": each.server_key and str(each.server_key),
        }
        for name, each in found.targets.items()
    }
    where = {"path": str(found.path), "exists": found.exists}
    return {**where, "device": found.device, "targets": targets}


def _shown(key: Path | None) -> str:
    if key is None:
        return "-"
    return str(key) if key.is_file() else f"{key} (there is no such file)"
