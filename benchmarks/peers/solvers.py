"""Who runs: every solver of the comparison, as data. Imports nothing of any of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BARE_PRODUCT",
    "CIM_KINDS",
    "FEEDBACK",
    "FEEDBACK_FLOATS",
    "OURS",
    "SOLVERS",
    "Solver",
]

OURS = "cim-hal"
# Dynamics of coherent Ising machines, whoever wrote them.
CIM_KINDS = ("measurement feedback", "mean field", "CAC", "CFC", "SFC", "AHC")


@dataclass(frozen=True, kw_only=True, eq=False)
class Solver:
    """One dynamics of one package.

    Attributes
    ----------
    package : str
        Distribution it comes from; a worker process serves one package.
    kind : str
        What is compared with what.
    label : str
        Its name within the package.
    call : str
        Function of `peers` or `ours` that runs it.
    options : mapping
        Further arguments of that function.
    changed : str
        What differs from the package's defaults; empty for none.
    stages : frozenset of str
        What is measured: its ``"speed"``, where a step is one update of every spin, and its time
        to ``"solution"``.
    is_threaded : bool
        Whether a second thread can help.
    bytes_per_update : int
        Memory that grows with steps, runs and spins.
    skips : mapping of str to str
        Instances left out, and why.
    """

    package: str
    kind: str
    label: str
    call: str
    options: Mapping[str, Any] = field(default_factory=dict)
    changed: str = ""
    stages: frozenset[str] = frozenset({"speed", "solution"})
    is_threaded: bool = False
    bytes_per_update: int = 0
    skips: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.package} {self.label}" + (f", {self.changed}" if self.changed else "")

    @property
    def is_ours(self) -> bool:
        """Whether it is of this repository."""
        return self.package == OURS

    def but(self, changed: str, *, stage: str = "solution", **options: Any) -> Solver:
        """Return this solver with other parameters, for one stage: few of them change the speed."""
        return replace(
            self,
            changed=changed,
            options={**self.options, **options},
            stages=frozenset({stage}),
        )


def _ours(kind: str, driver: str) -> Solver:
    return Solver(
        package=OURS,
        kind=kind,
        label=kind,
        call="emulator",
        options={"driver": driver},
        is_threaded=True,
    )


FEEDBACK = _ours("measurement feedback", "emulator")
# The same dynamics without the processor's instructions for bytes, and what bounds it then.
FEEDBACK_FLOATS = FEEDBACK.but("products in float32", stage="speed", allows_bytes=False)
BARE_PRODUCT = Solver(
    package=OURS,
    kind="bare product",
    label="bare product in float32",
    call="bare_product",
    stages=frozenset({"speed"}),
)


def _mindquantum(kind: str, algorithm: str, **skips: str) -> Solver:
    options = {"algorithm": algorithm}
    return Solver(
        package="mindquantum",
        kind=kind,
        label=algorithm,
        call="mindquantum",
        options=options,
        skips=skips,
    )


def _ccvm(kind: str, algorithm: str) -> Solver:
    return Solver(
        package="ccvm-simulators",
        kind=kind,
        label=algorithm,
        call="ccvm",
        options={"algorithm": algorithm},
        is_threaded=True,
    )


def _cim_optimizer(scheme: str) -> Solver:
    return Solver(
        package="cim-optimizer",
        kind=scheme,
        label=scheme,
        call="cim_optimizer",
        options={"scheme": scheme},
        is_threaded=True,
        bytes_per_update=25,  # trajectories of x and e, and of the signs as int64, twice
    )


def _simulated_bifurcation(kind: str, mode: str) -> Solver:
    return Solver(
        package="simulated-bifurcation",
        kind=kind,
        label=kind,
        call="simulated_bifurcation",
        options={"mode": mode},
        is_threaded=True,
    )


def _annealing(package: str, call: str) -> Solver:
    return Solver(package=package, kind="annealing", label="SA", call=call)


_SQUARE = "its constructor squares J as a matrix: 10 s a call"
_MQ = {
    "CAC": _mindquantum("CAC", "CAC", K2000=_SQUARE),
    "CFC": _mindquantum("CFC", "CFC", K2000=_SQUARE),
    "SFC": _mindquantum("SFC", "SFC", K2000=_SQUARE),
    "BSB": _mindquantum("bSB", "BSB"),
    "DSB": _mindquantum("dSB", "DSB"),
}
_CAC = _cim_optimizer("CAC")
_MF = _ccvm("measurement feedback", "MF")
_BSB = _simulated_bifurcation("bSB", "ballistic")
_DSB = _simulated_bifurcation("dSB", "discrete")
_TABU = Solver(
    package="dwave-samplers",
    kind="tabu",
    label="tabu",
    call="dwave_tabu",
    stages=frozenset({"solution"}),
)

SOLVERS: tuple[Solver, ...] = (
    BARE_PRODUCT,
    FEEDBACK,
    FEEDBACK_FLOATS,
    _ours("mean field", "emulator-mean-field"),
    _ours("CAC", "emulator-cac"),
    _ours("CFC", "emulator-cfc"),
    _ours("SFC", "emulator-sfc"),
    _ours("AHC", "emulator-ahc"),
    _ours("bSB", "emulator-bsb"),
    _ours("dSB", "emulator-dsb"),
    _CAC,
    _CAC.but("SK100 preset", preset="sk_100_fc_params"),
    _CAC.but("G1 preset", preset="G1_params"),
    _cim_optimizer("AHC"),
    _MF,
    _MF.but("other example", parameters="MF of the example"),
    _ccvm("mean field", "Langevin"),
    *_MQ.values(),
    *(_MQ[name].but("xi as meant", mends_coupling=True) for name in ("CAC", "CFC", "SFC")),
    *(_MQ[name].but("dt 0.5", dt=0.5) for name in ("BSB", "DSB")),
    _mindquantum("mean field", "SimCIM"),
    _mindquantum("mean field", "NMFA"),
    _mindquantum("local quantum annealing", "LQA"),
    _BSB,
    _BSB.but("dt 0.5", time_step=0.5),
    _DSB,
    _DSB.but("dt 0.5", time_step=0.5),
    _annealing("dwave-samplers", "dwave_annealing"),
    _TABU,
    _annealing("openjij", "openjij_annealing"),
)
