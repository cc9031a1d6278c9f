"""The screen of ``cim-hal monitor``: panels that fit a terminal of 80 by 24 and more.

`columns` and `rows` of a panel are those inside its frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cim_hal.text import counted, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cim_hal.machine.telemetry import Reading
    from cim_hal.protocol.wire.messages.instruments import DeviceStatus
    from cim_hal.protocol.wire.messages.status import JobSummary, StatusReport
    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.watch.poller import History

__all__ = ["amount", "draw", "duration", "sparkline"]

NARROW = 72  # columns below which there is one column of panels
HEAD, RUNNING, THROUGHPUT, FOOT = 1, 4, 4, 1  # rows
LEAST = 6  # rows for the rest
STYLES = {
    "idle": "green",
    "running": "bold cyan",
    "stopping": "yellow",
    "starting": "yellow",
    "broken": "bold red",
    "stopped": "bold white on red",
    "done": "green",
    "failed": "red",
    "cancelled": "yellow",
}
ID, TIME = 8, 7  # columns
SPARK = 12
LABELS = 17  # columns left of the bars of the throughput
BLOCKS = "▁▂▃▄▅▆▇█"


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
        _queue_panel(status, inner, rows[0]),
        _machine_panel(status, history, inner, rows[0]),
    )
    lower_panels = _ended_panel(status, inner, rows[1]), _events_panel(status, inner, rows[1])
    screen.split_column(
        head,
        Layout(_running_panel(status), size=RUNNING),
        _row(upper_panels[:columns], upper),
        Layout(_throughput_panel(status, width - 4), size=THROUGHPUT),
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
        left.append(f" {printable(status.device)} ", style="bold")
    left.append(f" {printable(snapshot.target)}", style="dim")
    if status is None or snapshot.trouble:
        return _ends(left, Text("● no connection ", style="bold red"))
    right = Text.assemble((f"● {status.state}", STYLES.get(status.state, "")), no_wrap=True)
    if status.uptime_s:
        right.append(f"  up {duration(status.uptime_s)} ", style="dim")
    return _ends(left, right)


def _foot(snapshot: StatusSnapshot | None) -> RenderableType:
    trouble = printable(snapshot.trouble) if snapshot else ""
    left = Text(f" {trouble}", style="bold red", no_wrap=True, overflow="ellipsis")
    return _ends(left, Text("q quits ", style="dim"))


def _nothing(snapshot: StatusSnapshot | None) -> RenderableType:
    sentence = f"{printable(snapshot.trouble)}\ntrying again …" if snapshot else ""
    return Panel(Text(sentence, justify="center"), border_style="bright_black", padding=(1, 2))


# ---- panels ------------------------------------------------------------


def _ends(left: RenderableType, right: RenderableType) -> Table:
    """Put one thing at each end of a line."""
    line = Table.grid(expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(left, right)
    return line


def _running_panel(status: StatusReport) -> Panel:
    """Return the running job with its progress, and who holds the machine."""
    job = status.running
    if job is None:
        last = status.recent[0].ended_ago_s if status.recent else None
        words = "nothing runs" if last is None else f"nothing runs, for {duration(last)}"
        return _panel(Text(words, style="dim"), "Running", _holder(status))
    size = (
        f"{counted(job.n_spins, 'spin')} × {counted(job.n_runs, 'run')} × "
        f"{counted(job.round_trips, 'round trip')}"
    )
    what = _line(
        (job.job[:ID], "bold cyan"),
        f"  {printable(job.user)}  ",
        (size, "dim"),
    )
    return _panel(Group(what, _progress(job)), "Running", _holder(status))


def _queue_panel(status: StatusReport, columns: int, rows: int) -> Panel:
    """Return the head of the queue."""
    if not status.queued:
        return _panel(Text("nobody waits", style="dim"), "Queue")
    table = _table(
        ("job", ID), ("user", None), ("size", 16 if columns > 40 else 13), ("waits", -TIME)
    )
    shown = status.queue[: max(rows - 1, 0)]
    for job in shown:
        work = f"{job.n_spins}×{amount(job.n_runs)}×{amount(job.round_trips)}"
        table.add_row(
            Text(job.job[:ID], style="cyan"), printable(job.user), work, duration(job.waited_s)
        )
    more = status.queued - len(shown)
    note = f"{status.queued}, {more} more below" if more > 0 else f"{status.queued}"
    return _panel(table, "Queue", Text(note, style="dim"))


def _machine_panel(status: StatusReport, history: History, columns: int, rows: int) -> Panel:
    """Return the telemetry with its history, and what keeps the machine from running."""
    machine = status.machine
    if machine is None:
        return _panel(Text("the server does not say", style="dim"), "Machine")
    lines: list[RenderableType] = [*_warnings(machine)]
    if machine.telemetry:
        room = max(rows - len(lines), 0)
        lines.append(_readings(machine.telemetry.readings[:room], history, columns))
    if not lines:
        lines.append(Text("reports no telemetry", style="dim"))
    return _panel(Group(*lines), "Machine", _calibration(machine))


def _throughput_panel(status: StatusReport, columns: int) -> Panel:
    """Return the throughput of the last minutes."""
    throughput, width = status.throughput, max(columns - LABELS, 1)
    bucket_s = throughput.bucket_s
    span_s = max(bucket_s * len(throughput.jobs), 1.0)
    load = [busy_s / bucket_s if bucket_s else 0.0 for busy_s in throughput.busy_s]
    jobs, runs = sum(throughput.jobs), sum(throughput.runs)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=4)
    table.add_column(justify="right", width=10, no_wrap=True, style="bold")
    table.add_column(no_wrap=True, width=width)
    bars = sparkline(throughput.jobs, width, top=max((*throughput.jobs, 1))).rjust(width, "·")
    table.add_row("jobs", f"{60 * jobs / span_s:.1f}/min", Text(bars, style="cyan"))
    bars = sparkline(load, width, top=1.0).rjust(width, "·")
    table.add_row("busy", f"{sum(throughput.busy_s) / span_s:.0%}", Text(bars, style="green"))
    note = f"last {duration(span_s)}: {counted(jobs, 'job')}, {counted(amount(runs), 'run')}"
    return _panel(table, "Throughput", Text(note, style="dim"))


def _ended_panel(status: StatusReport, columns: int, rows: int) -> Panel:
    """Return the jobs that ended last, and why."""
    if not status.recent:
        return _panel(Text("no job has ended yet", style="dim"), "Ended")
    ran = (("ran", -TIME),) if columns > 40 else ()  # where there is no room: the reason first
    table = _table(("job", ID), ("user", columns // 6), ("end", None), *ran, ("ago", -TIME))
    for job in status.recent[: max(rows - 1, 0)]:
        end = job.reason if job.state == "failed" else str(job.state)
        how = Text(printable(end), style=STYLES.get(str(job.state), ""))
        times = [duration(job.ran_s)] * len(ran) + [duration(job.ended_ago_s or 0.0)]
        table.add_row(job.job[:ID], printable(job.user), how, *times)
    totals = ", ".join(f"{amount(count)} {state}" for state, count in sorted(status.ended.items()))
    return _panel(table, "Ended", Text(totals, style="dim"))


def _events_panel(status: StatusReport, columns: int, rows: int) -> Panel:
    """Return the last events of the audit log."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True, style="dim", width=TIME)
    table.add_column(no_wrap=True, overflow="ellipsis", width=max(columns - TIME - 1, 1))
    for event in status.events[: max(rows, 0)]:
        facts = event.facts
        about = facts.get("note") or facts.get("reason") or facts.get("client") or ""
        job = (f" {printable(str(facts.get('job', '')))[:ID]}".rstrip(), "cyan")
        words = _line(
            printable(event.event),
            job,
            (f" {printable(event.user)}", "dim"),
            (f" {printable(str(about))}", "dim"),
        )
        table.add_row(duration(event.ago_s), words)
    return _panel(
        table, "Events", Text(f"{counted(status.n_sessions, 'session')} open", style="dim")
    )


def _panel(content: RenderableType, title: str, note: Text | None = None) -> Panel:
    heading = Text.assemble((f" {title} ", "bold default"))
    if note:
        heading = Text.assemble(heading, note, " ")
    frame = "bright_black"
    return Panel(content, title=heading, title_align="left", border_style=frame, padding=(0, 1))


def _holder(status: StatusReport) -> Text | None:
    """Return who stopped the machine, or who holds its lock."""
    stop, lock = status.stop, status.lock
    if stop:
        why = f": {printable(stop.reason)}" if stop.reason else ""
        return Text(f"emergency stop by {printable(stop.by)}{why}", style="bold red")
    if lock:
        note = f": {printable(lock.note)}" if lock.note else ""
        left = "" if lock.expires_in_s is None else f", {duration(lock.expires_in_s)} left"
        return Text(f"locked by {printable(lock.holder)}{note}{left}", style="yellow")
    return None


def _progress(job: JobSummary) -> RenderableType:
    expected_s = job.expected_s or 0.0
    if job.progress is None and not expected_s:
        return Text(f"for {duration(job.ran_s)}", style="cyan")
    # Reported by the machine, or an estimate, which stays below 100 % while the job runs.
    share = min(job.ran_s / expected_s, 0.99) if job.progress is None else job.progress
    bar = ProgressBar(total=1.0, completed=share, style="bright_black", complete_style="cyan")
    said = duration(job.ran_s)
    if expected_s and job.ran_s <= expected_s:
        said += f" of about {duration(expected_s)}"
    elif expected_s:
        said += f", longer than the expected {duration(expected_s)}"
    if job.progress is not None:
        said = f"{job.progress:.0%}, {said}"
    return _ends(bar, Text(f"  {said}", style="cyan"))


def _warnings(machine: DeviceStatus) -> Iterator[Text]:
    driver = machine.driver
    if driver.restarts or driver.fault:
        words = f"driver {driver.phase}, restarted {driver.restarts}×"
        yield _line((words, STYLES.get(driver.phase, "yellow")))
    if driver.fault and driver.phase != "ready":
        yield _line((printable(driver.fault), "red"))
    telemetry = machine.telemetry
    if machine.telemetry_stale:
        yield _line((f"telemetry is stale: {duration(machine.age_s)} old", "bold yellow"))
    if telemetry and telemetry.open_interlocks:
        names = ", ".join(map(printable, telemetry.open_interlocks))
        yield _line((f"interlock open: {names}", "bold red"))
    elif telemetry and telemetry.interlocks:
        names = ", ".join(map(printable, telemetry.interlocks))
        yield _line(("closed: ", "green"), (names, "green"))


def _readings(readings: Iterable[Reading], history: History, columns: int) -> Table:
    shown = [(reading, _value(reading)) for reading in readings]
    widest = max((len(value) for _, value in shown), default=0)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", width=max(columns - widest - SPARK - 2, 4))
    table.add_column(justify="right", no_wrap=True, width=widest, style="bold")
    table.add_column(width=SPARK, no_wrap=True, style="cyan")
    for reading, value in shown:
        line = sparkline(history.values(reading.name), SPARK)
        table.add_row(Text(printable(reading.name)), value, line)
    return table


def _value(reading: Reading) -> str:
    match reading.value:
        case bool() as holds:
            return "yes" if holds else "no"
        case str() as word:
            return printable(word)
        case number:
            return f"{number:.4g} {printable(reading.unit)}".rstrip()


def _calibration(machine: DeviceStatus) -> Text | None:
    if machine.calibration is None:
        return None
    stale = ", too old" if machine.calibration_stale else ""
    words = f"calibrated {duration(machine.calibration_age_s)} ago{stale}"
    return Text(words, style="yellow" if stale else "dim")


def _table(*columns: tuple[str, int | None]) -> Table:
    """Return a table; a negative width aligns to the right, None takes the space that is left."""
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim", pad_edge=False)
    for name, width in columns:
        side = "right" if width is not None and width < 0 else "left"
        table.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            justify=side,
            width=None if width is None else abs(width),
            ratio=1 if width is None else None,
        )
    return table


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


# ---- labels ------------------------------------------------------------


def duration(seconds: float) -> str:
    """Return a time span in four to seven characters.

    >>> [duration(s) for s in (0.0123, 0.74, 5.3, 83.0, 11_525.0, 273_600.0)]
    ['12 ms', '0.7 s', '5.3 s', '1:23', '3:12:05', '3 d 4 h']
    """
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    if seconds < 60.0:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{rest:02d}"
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{hours // 24} d {hours % 24} h"


def amount(number: float) -> str:
    """Return a number in about three digits.

    >>> [amount(x) for x in (0, 7, 1999.0, 12_345_678, 0.1234)]
    ['0', '7', '2k', '12.3M', '0.123']
    """
    for power, suffix in ((9, "G"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power:
            return f"{number / 10**power:.3g}{suffix}"
    return f"{number:.3g}"


def sparkline(values: Sequence[float], width: int, *, top: float | None = None) -> str:
    """Return the last `width` values as blocks, from the lowest to the highest.

    `top` is the value of a full block, with 0 as the empty one; by default the range of the values.
    Values that are not finite are gaps.

    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)
    '▁▂▃▄▅▆▇█'
    >>> sparkline([5, 5, 5], 3)
    '▄▄▄'
    """
    shown = list(values)[-width:]
    known = [value for value in shown if math.isfinite(value)]
    low, high = (min(known, default=0.0), max(known, default=0.0)) if top is None else (0.0, top)

    def block(value: float) -> str:
        if not math.isfinite(value):
            return " "
        if high <= low:
            return "▄" if top is None else "▁"
        step = int((value - low) / (high - low) * len(BLOCKS))
        return BLOCKS[min(max(step, 0), len(BLOCKS) - 1)]

    return "".join(map(block, shown))
