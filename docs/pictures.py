"""The pictures of the architecture page, drawn from the import contracts and from lists of modules.

python docs/pictures.py            write docs/_static/architecture-*.svg
python docs/pictures.py --check    end with 1 where a picture is not what the code says
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs/_static"
STYLE = """<style>
    .lane { fill: #f6f8fb; stroke: #4a6fa5; stroke-width: 1.6 }
    .box { fill: #ffffff; stroke: #4a6fa5; stroke-width: 1.2 }
    .go { stroke: #333; stroke-width: 1.6; fill: none; marker-end: url(#tip) }
    .name { font-size: 16px; font-weight: bold; fill: #24406b }
    .text { font-size: 13.5px; fill: #222 }
    .small { font-size: 12px; fill: #555 }
  </style>
  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
    orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="#333"/></marker></defs>"""


@dataclass(frozen=True)
class Step:
    """One step of a path: its lane, its module, and what happens there."""

    lane: int
    module: str
    text: str


JOB_LANES = ("client", "server", "driver process")
JOB = (
    Step(0, "cim_hal.client.session", "sample(model): options checked"),
    Step(0, "cim_hal.client.uploads", "couplings not there yet? upload them"),
    Step(1, "cim_hal.protocol.handlers.couplings", "begin, chunks, commit"),
    Step(1, "cim_hal.server.executor", "lower: fold h, gauge, quantize"),
    Step(0, "cim_hal.client.session", "sample message, with a key"),
    Step(1, "cim_hal.protocol.core", "session, role, lock, limits"),
    Step(1, "cim_hal.protocol.jobs.table", "a new job, or the known one"),
    Step(1, "cim_hal.server.storage.journal", "Persist: written before it counts"),
    Step(1, "cim_hal.protocol.jobs.scheduler", "its turn: effect Run"),
    Step(1, "cim_hal.server.driver.guard", "interlocks, then the driver"),
    Step(2, "cim_hal.server.driver.child_main", "Driver.run(program, stop)"),
    Step(1, "cim_hal.server.collector", "readout checked and lifted"),
    Step(1, "cim_hal.server.executor", "Done(Run, Result)"),
    Step(0, "cim_hal.client.job", "result(): rows fetched"),
    Step(0, "cim_hal.model.sampleset", "energies of the user's model"),
)
TRAINING_LANES = ("qnn_train", "cim_hal session", "machine")
TRAINING = (
    Step(0, "qnn_train.data", "images to features in levels"),
    Step(0, "qnn_train.network.network", "the network, exact in integers"),
    Step(0, "qnn_train.network.intervals", "bounds of all sums, forwards"),
    Step(0, "qnn_train.program.assemble", "QCBO: min xQx, Ax = b"),
    Step(0, "qnn_train.solve.lifting", "lifted: X = xx^T"),
    Step(0, "qnn_train.solve.qcgd", "gradient G of this step"),
    Step(1, "qnn_train.solve.oracle", "G as an IsingModel"),
    Step(2, "emulator.machine", "or a laboratory: samples"),
    Step(0, "qnn_train.solve.qcgd", "advance: mix in the best atoms"),
    Step(0, "qnn_train.solve.extraction", "weights of every sample judged"),
    Step(0, "qnn_train.model.file", "the best network, saved"),
)


def layers(package: str) -> list[list[str]]:
    """Return the layers of a package from its import contract, highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in contracts["contracts"]:
        rows = contract.get("layers", [])
        if rows and all(row.startswith(f"{package}.") for row in rows):
            return [
                [name.strip().removeprefix(f"{package}.") for name in row.split("|")]
                for row in rows
            ]
    raise LookupError(f"pyproject.toml has no contract of layers for {package}")


def draw_packages() -> str:
    """Draw which package stands on which, and the layers inside `cim_hal`."""
    rows = layers("cim_hal")
    height = 152 + 44 * len(rows)
    body = [
        *_room((12, 12, 460, 56), "emulator", "dynamics, products, integrators, presets"),
        *_room((488, 12, 460, 56), "qnn_train", "data, network, program, solve, training"),
        '<path class="go" d="M242 68 V96"/><path class="go" d="M718 68 V96"/>',
        f'<rect class="lane" x="12" y="98" width="936" height="{height - 110}" rx="10"/>',
        '<text class="name" x="28" y="124">cim_hal</text>',
        '<text class="small" x="100" y="124">each row imports only from rows below it</text>',
    ]
    for number, row in enumerate(rows):
        body += _row(row, y=138 + 44 * number, left=28, width=904)
    return _svg(960, height, "Packages and their layers", body)


def draw_path(title: str, lanes: Sequence[str], steps: Sequence[Step]) -> str:
    """Draw a sequence of steps through lanes, from top to bottom."""
    width, height = 960 // len(lanes), 74 + 62 * len(steps)
    body = [
        part
        for number, lane in enumerate(lanes)
        for part in _room((number * width + 6, 8, width - 12, height - 16), lane)
    ]
    for number, step in enumerate(steps):
        x, y = step.lane * width + 18, 48 + 62 * number
        body += _step(step, x, y, width - 36)
        if number:
            body.append(_arrow(steps[number - 1].lane, step.lane, y, width))
    return _svg(960, height, title, body)


def pictures() -> dict[str, str]:
    """Return the pictures by the names of their files."""
    return {
        "architecture-packages.svg": draw_packages(),
        "architecture-job.svg": draw_path("The path of a job", JOB_LANES, JOB),
        "architecture-training.svg": draw_path(
            "The path of a training run", TRAINING_LANES, TRAINING
        ),
    }


def stale() -> list[str]:
    """Return the names of the pictures that are not what the code says."""
    return [
        name
        for name, picture in pictures().items()
        if not (STATIC / name).is_file() or (STATIC / name).read_text() != picture
    ]


def _room(place: tuple[int, int, int, int], name: str, text: str = "") -> Iterator[str]:
    x, y, width, height = place
    yield f'<rect class="lane" x="{x}" y="{y}" width="{width}" height="{height}" rx="10"/>'
    yield f'<text class="name" x="{x + 16}" y="{y + 26}">{escape(name)}</text>'
    yield f'<text class="small" x="{x + 16}" y="{y + 46}">{escape(text)}</text>'


def _row(names: Sequence[str], *, y: int, left: int, width: int) -> Iterator[str]:
    step = width / len(names)
    for number, name in enumerate(names):
        x = left + number * step
        yield f'<rect class="box" x="{x:.0f}" y="{y}" width="{step - 8:.0f}" height="34" rx="6"/>'
        yield (
            f'<text class="text" text-anchor="middle" x="{x + step / 2 - 4:.0f}" y="{y + 22}">'
            f"{escape(name)}</text>"
        )


def _step(step: Step, x: int, y: int, width: int) -> Iterator[str]:
    yield f'<rect class="box" x="{x}" y="{y}" width="{width}" height="46" rx="6"/>'
    yield f'<text class="text" x="{x + 10}" y="{y + 19}">{escape(step.module)}</text>'
    yield f'<text class="small" x="{x + 10}" y="{y + 37}">{escape(step.text)}</text>'


def _arrow(before: int, here: int, y: int, width: int) -> str:
    start, end = before * width + width // 2, here * width + width // 2
    return f'<path class="go" d="M{start} {y - 16} L{end} {y - 1}"/>'


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    lines = "\n  ".join([STYLE, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *body])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="{escape(title)}">\n'
        f"  {lines}\n</svg>\n"
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("\n".join(stale()) or None)
    for file, drawn in pictures().items():
        (STATIC / file).write_text(drawn)
