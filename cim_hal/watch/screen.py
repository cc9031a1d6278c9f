"""The screen of ``cim-hal monitor``: panels that fit a terminal of 80 by 24 and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from cim_hal.watch.labels import duration, plain
from cim_hal.watch.panels import (
    ended_panel,
    ends,
    events_panel,
    machine_panel,
    queue_panel,
    running_panel,
    state_text,
    throughput_panel,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.watch.poller import History

__all__ = ["draw"]

NARROW = 72  # columns below which there is one column of panels
HEAD, RUNNING, THROUGHPUT, FOOT = 1, 4, 4, 1  # rows
LEAST = 6  # rows for the rest


def draw(snapshot: StatusSnapshot | None, history: History, *, width: int, height: int) -> Layout:
    """Return the screen for a terminal of `width` columns and `height` rows."""
    screen = Layout()
    head, foot = Layout(_head(snapshot), size=HEAD), Layout(_foot(snapshot), size=FOOT)
    status = snapshot.status if snapshot else None
    if status is None:
        screen.split_column(head, Layout(_nothing(snapshot)), foot)
        return screen
    rest = max(height - HEAD - RUNNING - THROUGHPUT - FOOT, LEAST)
    upper = (rest + 2) // 2
    columns = 1 if width < NARROW else 2
    inner, rows = width // columns - 4, (upper - 2, rest - upper - 2)
    upper_panels = (
        queue_panel(status, inner, rows[0]),
        machine_panel(status, history, inner, rows[0]),
    )
    lower_panels = ended_panel(status, inner, rows[1]), events_panel(status, inner, rows[1])
    screen.split_column(
        head,
        Layout(running_panel(status), size=RUNNING),
        _row(upper_panels[:columns], upper),
        Layout(throughput_panel(status, width - 4), size=THROUGHPUT),
        _row(lower_panels[:columns], rest - upper),
        foot,
    )
    return screen


def _row(panels: tuple[Panel, ...], rows: int) -> Layout:
    row = Layout(size=rows)
    row.split_row(*(Layout(panel) for panel in panels))
    return row


def _head(snapshot: StatusSnapshot | None) -> RenderableType:
    if snapshot is None:
        return Text(" looking …", style="dim")
    status = snapshot.status
    left = Text(no_wrap=True, overflow="ellipsis")
    if status:
        left.append(f" {plain(status.device)} ", style="bold")
    left.append(f" {plain(snapshot.target)}", style="dim")
    if status is None or snapshot.trouble:
        return ends(left, Text("● no connection ", style="bold red"))
    right = state_text(status.state)
    if status.uptime_s:
        right.append(f"  up {duration(status.uptime_s)} ", style="dim")
    return ends(left, right)


def _foot(snapshot: StatusSnapshot | None) -> RenderableType:
    trouble = plain(snapshot.trouble) if snapshot else ""
    left = Text(f" {trouble}", style="bold red", no_wrap=True, overflow="ellipsis")
    return ends(left, Text("q quits ", style="dim"))


def _nothing(snapshot: StatusSnapshot | None) -> RenderableType:
    sentence = f"{plain(snapshot.trouble)}\ntrying again …" if snapshot else ""
    return Panel(Text(sentence, justify="center"), border_style="bright_black", padding=(1, 2))
