"""``cim-hal chaos``: an unreliable network between clients and a server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import print_ready, refused, signalled
from cim_hal.console import say
from cim_hal.option_types import CONNECT, LISTEN, SECONDS, SEED, Real
from cim_hal.server.security.endpoint import DEFAULT, check_endpoint

if TYPE_CHECKING:
    from collections import Counter

    from cim_hal.testing import Toxic

__all__ = ["chaos"]

PROBABILITY = Real(0.0, 1.0)
SEGMENT = click.IntRange(1, 2**30)
BYTES_PER_S = Real(1.0, 1e12)


@click.command()
@click.option(
    "--target", required=True, type=CONNECT, metavar="ENDPOINT", help="The server, tcp://host:port."
)
@click.option(
    "--listen",
    type=LISTEN,
    default=DEFAULT,
    show_default=True,
    metavar="ENDPOINT",
    help="Where clients connect; port 0 for a free one.",
)
@click.option(
    "--insecure", is_flag=True, help="Allow other machines to connect, and so to reach the target."
)
@click.option("--latency", type=SECONDS, default=0.0, help="Seconds added each way.")
@click.option(
    "--jitter", type=SECONDS, default=0.0, help="Random part of the latency, plus or minus seconds."
)
@click.option("--bandwidth", type=BYTES_PER_S, help="Bytes per second each way.")
@click.option(
    "--slice", "slice_bytes", type=SEGMENT, help="Cut the stream into pieces of so many bytes."
)
@click.option("--reset-every", type=SEGMENT, help="Reset a connection every so many reads.")
@click.option("--drop", type=PROBABILITY, default=0.0, help="Probability that a message is lost.")
@click.option(
    "--duplicate", type=PROBABILITY, default=0.0, help="Probability that it arrives twice."
)
@click.option(
    "--delay", type=PROBABILITY, default=0.0, help="Probability that it delays those behind it."
)
@click.option(
    "--reorder", type=PROBABILITY, default=0.0, help="Probability that others overtake it."
)
@click.option(
    "--late",
    type=SECONDS,
    default=0.05,
    show_default=True,
    help="Delay of --delay and --reorder, in seconds.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
def chaos(
    *,
    target: str,
    listen: str,
    insecure: bool,
    drop: float,
    duplicate: float,
    delay: float,
    reorder: float,
    late: float,
    seed: int,
    **stream: Any,
) -> None:
    """Be an unreliable network between clients and a server, until Ctrl-C or SIGTERM.

    Prints one line on stdout when it is ready, and counts of what it did on stderr at the end.
    Faults occur in both directions. --drop, --duplicate, --delay and --reorder need a server
    without keys.

    \b
    Examples:
      cim-hal chaos --target tcp://127.0.0.1:5555 --latency 0.02 --jitter 0.01
      cim-hal chaos --target tcp://127.0.0.1:5555 --reset-every 100
      cim-hal chaos --target tcp://127.0.0.1:5555 --drop 0.01 --duplicate 0.01 --seed 7
    """  # noqa: D301
    with refused("--listen"):
        check_endpoint(listen, insecure=insecure)
    from cim_hal.testing import MessageFaults, MessageProxy, TcpProxy  # they take time to import

    ended = signalled()
    toxics = _toxics(**stream)
    faults = MessageFaults(
        drop=drop, duplicate=duplicate, delay=delay, reorder=reorder, late_s=late
    )
    counts: Counter[str] | None = None
    with ExitStack() as stack:
        if drop or duplicate or delay or reorder:
            messages = MessageProxy(target, to_server=faults, to_client=faults, seed=seed)
            target, counts = stack.enter_context(messages).endpoint, messages.counts
        proxy = TcpProxy(
            target, listen=listen, upstream=toxics, downstream=toxics, seed=seed, insecure=insecure
        )
        print_ready(f"chaos at {stack.enter_context(proxy).endpoint}")
        ended.wait()
    for each in (proxy.counts, counts or {}):
        for name, count in each.items():
            say(f"{count} {name}", err=True)


def _toxics(
    *,
    latency: float | None,
    jitter: float | None,
    bandwidth: float | None,
    slice_bytes: int | None,
    reset_every: int | None,
) -> list[Toxic]:
    from cim_hal.testing import Bandwidth, Latency, ResetEvery, Slicer

    toxics: list[Toxic] = []
    if latency or jitter:
        toxics.append(Latency(latency_s=latency or 0.0, jitter_s=jitter or 0.0))
    if bandwidth:
        toxics.append(Bandwidth(bytes_per_s=bandwidth))
    if reset_every:
        toxics.append(ResetEvery(segments=reset_every))
    if slice_bytes:
        toxics.append(Slicer(average_size=slice_bytes))
    return toxics
