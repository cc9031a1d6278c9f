"""Rows that a study goes on with: each is refused unless a job of it can have made it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cim_hal.errors import StudyError
from cim_hal.machine.policies import lower_by
from cim_hal.protocol.couplings.content import Couplings
from cim_hal.study.cliffs import others_of, takes_whole
from cim_hal.study.control import controls_of
from cim_hal.study.job_factors import METHOD, MODEL, runs_of
from cim_hal.study.tasks import train_task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cim_hal.model.ising import IsingModel
    from cim_hal.study.families import Instance
    from cim_hal.study.plan import Point
    from cim_hal.study.rows import Row
    from cim_hal.study.sweep import Sweep

__all__ = ["check_rows"]

PROVED = ("enumerated", "planted")  # targets below which there is no energy


def check_rows(machines: Sweep, rows: Collection[Row], devices: Collection[str]) -> None:
    """Refuse rows that no job of a study makes on `devices`, the names of its machines.

    `StudyError` names the first, and what is otherwise in the study.
    """
    if not rows:
        return
    points = _StudyPoints(machines)
    for row in rows:
        if row.model not in points.instances:
            _refuse(row, "the study has no such model")
        if not points.has(row):
            _refuse(row, "the study has no such point")
    machines.open_for(tuple(row.factors.items()) for row in rows)
    expected = _Expected(machines, {*devices, *machines.targets})
    for row in rows:
        instance = points.instances[row.model]
        for name, value in expected.values(row, instance).items():
            if (found := getattr(row, name)) != value:
                _refuse(row, f"{name} = {found!r:.100} where it is {value!r:.100}")
        if instance.model is not None:
            _check_energies(row, instance.model)


def _refuse(row: Row, why: str) -> None:
    raise StudyError(
        f"a row of the folder is not of this study: {row.key:.300}, seed {row.seed}: {why}",
        hint="remove it from rows.jsonl, or choose another folder",
    )


class _StudyPoints:
    """Where a study has jobs: its points, those of its controls, and settings to tune."""

    def __init__(self, machines: Sweep) -> None:
        study, self.points = machines.study, list(machines.study.points())
        self.instances = {i.name: i for i in (*machines.instances, *machines.apart)}
        self._apart = {instance.name for instance in machines.apart}
        self._n_factors = len(study.factors)
        self._is_controlled = METHOD not in study.factors
        self._of_study = _Places(machines, self.points)
        self._of_controls = _Places(machines, controls_of(machines, self.points))
        seeds, nuisance = study.machine.seeds, study.nuisance
        self._machines = {_text([(study.machine.seed_setting, seed)]) for seed in seeds} or {"[]"}
        self._tuned = set(map(_text, nuisance.choices())) if nuisance else set[str]()

    def has(self, row: Row) -> bool:
        """Return whether the study has a job of the model of a row at its levels."""
        levels, kind = list(row.factors.items()), self.instances[row.model].family
        if row.factors.get(MODEL, kind) != kind:
            return False
        if self._is_controlled and METHOD in row.factors:
            return self._of_controls.has(levels)
        point, more = levels[: self._n_factors], _text(levels[self._n_factors :])
        is_of_machine = more in self._machines and row.model not in self._apart
        return (is_of_machine or more in self._tuned) and self._of_study.has(point)


class _Places:
    """Points, and the levels between them at which cliffs are sought."""

    def __init__(self, machines: Sweep, points: Sequence[Point]) -> None:
        study = machines.study
        sought = {cliff.factor for cliff in study.cliff}
        self._names = [name for name, _ in points[0]] if points else []
        self._at = set(map(_text, points))
        self._ends = {name: study.numbers(name) for name in sought if name in self._names}
        self._whole = {name for name in self._ends if takes_whole(machines, name)}
        self._others = {
            name: {_text(others_of(dict(point), name)) for point in points} for name in self._ends
        }

    def has(self, levels: Iterable[tuple[str, Any]]) -> bool:
        """Return whether jobs may be there."""
        found = dict(levels)
        if _text(found.items()) in self._at:
            return True
        return list(found) == self._names and any(self._lies(found, name) for name in self._ends)

    def _lies(self, levels: dict[str, Any], name: str) -> bool:
        level, ends = levels[name], self._ends[name]
        if isinstance(level, bool | str) or not min(ends) < level < max(ends):
            return False
        is_level = name not in self._whole or level == int(level)
        return is_level and _text(others_of(levels, name)) in self._others[name]


def _text(levels: Iterable[tuple[str, Any]]) -> str:
    """Return levels as keys of rows have them, where 8 is not 8.0."""
    return json.dumps([list(level) for level in levels])


class _Expected:
    """What rows of a study have in common with its models, its machines and its number of runs."""

    def __init__(self, machines: Sweep, devices: Collection[str]) -> None:
        self._machines, self._study, self._devices = machines, machines.study, devices
        self._digests = dict[tuple[Any, ...], str]()
        train = self._study.train
        self._n_tested = train_task().n_tested(train.options) if train else 0

    def values(self, row: Row, instance: Instance) -> dict[str, Any]:
        """Return the fields that a job of the study gives a row."""
        target, model = instance.target, instance.model
        near = 0.0 if model is None else model.energy_tolerance
        repeat = self._study.repeat
        runs = runs_of(row.factors, repeat.runs)
        device = row.device if row.device in self._devices else ", ".join(sorted(self._devices))
        known = {
            "batch": min(row.batch, repeat.most_runs(runs) // runs - 1),
            "seed": self._machines.seed_of(instance, row.batch),
            "device": device,
            "target": row.target if abs(row.target - target.energy) <= near else target.energy,
            "target_source": target.source,
        }
        if model is None:
            return known | {"runs": self._n_tested, "model_digest": ""}
        return known | {
            "n_spins": model.n_spins,
            "runs": runs,
            "model_digest": self._digest(row, model),
            "calls": None,
            "infeasibility": None,
            "no_infeasibility": "",
        }

    def _digest(self, row: Row, model: IsingModel) -> str:
        """Return that of the couplings that are sent: a policy changes them."""
        policy, bits = row.factors.get("lowering", "max"), row.factors.get("coupling_bits")
        if policy == "max":
            bits = None
        seed = row.seed if policy == "stochastic" else 0
        at = row.model, policy, bits, seed
        if at not in self._digests:
            here = self._machines.capabilities_at(tuple(row.factors.items()))
            n_bits = None if bits is None else int(bits)
            lowered = lower_by(str(policy), model, here, bits=n_bits, seed=seed)
            self._digests[at] = Couplings.of(lowered.model).digest
        return self._digests[at]


def _check_energies(row: Row, model: IsingModel) -> None:
    """Refuse energies that the model does not have, and successes that are not of its runs."""
    near, most = 4 * model.energy_tolerance, model.magnitude * (1 + 1e-9)
    for name in ("energy_min", "energy_mean"):
        if abs(getattr(row, name) - model.offset) > most + near:
            _refuse(row, f"{name} = {getattr(row, name)}: no configuration has it")
    if row.target_source in PROVED and row.energy_min < row.target - near:
        _refuse(row, f"energy_min = {row.energy_min} is below the optimum")
    above = row.energy_min - row.target
    if above > near if row.successes else above < -near:
        what = f"successes = {row.successes} at energy_min = {row.energy_min}"
        _refuse(row, f"{what} and target = {row.target}")
