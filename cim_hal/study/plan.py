"""What a study file says: models, machine, factors and how well figures are to be known."""

from __future__ import annotations

import itertools
from os.path import normpath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cim_hal.errors import StudyError
from cim_hal.machine.policies import Policy
from cim_hal.study.families import FAMILIES
from cim_hal.study.figures import check_figure
from cim_hal.study.job_factors import DEVICE, MODEL, OPTION, is_of_machine, is_text
from cim_hal.toml_files import FileTable, did_you_mean, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "METHOD",
    "Cliff",
    "Family",
    "Level",
    "Point",
    "Safe",
    "Study",
    "level_text",
    "machine_of",
    "read_study",
    "study_of_machine",
]

MAX_POINTS, MAX_MODELS = 10_000, 10_000

Level = float | str  # of a factor; whole numbers stay whole, of `lowering` and `device` it is text
Point = tuple[tuple[str, Level], ...]  # the level of each factor, in the order of the file
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
Levels = Annotated[list[int | float], Field(min_length=1, max_length=1000)]
_AnyLevel = bool | int | float | str
FactorLevels = Annotated[list[_AnyLevel], Field(min_length=1, max_length=1000)]
METHOD = "method"  # a factor of controls only, or one of trainings
ONE_AT_A_TIME = "one-at-a-time"
FILES = "files"  # the kind of those that are in no group, where they are pooled
EACH = "each"  # of `model`: all kinds and sizes of the file


class _Head(FileTable):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    task: Literal["sample", "train"] = "sample"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    design: Literal["grid", "one-at-a-time"] = "grid"


_Size = Annotated[int, Field(ge=2, le=5000)]


class Family(FileTable):
    """Models of one kind, of one size or several, each with as many."""

    kind: str
    n: _Size | Annotated[tuple[_Size, ...], Field(min_length=1, max_length=1000, strict=False)]
    count: Annotated[int, Field(ge=1, le=MAX_MODELS)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in FAMILIES:
            raise ValueError(did_you_mean(kind, FAMILIES))
        return kind

    @field_validator("n")
    @classmethod
    def _has_each_size_once(cls, n: Any) -> Any:
        if isinstance(n, tuple) and len(set(n)) < len(n):
            raise ValueError("a size stands twice")
        return n

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of spins."""
        return self.n if isinstance(self.n, tuple) else (self.n,)


_FileName = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]


class _Models(FileTable):
    files: Annotated[tuple[_FileName, ...], Field(max_length=MAX_MODELS, strict=False)] = ()
    targets: dict[str, float] = Field(default_factory=dict)
    groups: dict[str, Annotated[tuple[_FileName, ...], Field(min_length=1, strict=False)]] = Field(
        default_factory=dict
    )
    family: Annotated[tuple[Family, ...], Field(max_length=1000, strict=False)] = ()

    @model_validator(mode="after")
    def _is_not_empty(self) -> _Models:
        if not self.files and not self.family:
            raise ValueError("there are none: give files, or a [[models.family]]")
        if len({normpath(name) for name in self.files}) < len(self.files):
            raise ValueError("files: a file stands twice, and would count as two models")
        if unknown := set(self.targets) - set(self.files):
            raise ValueError(f"targets of files that are not listed: {', '.join(sorted(unknown))}")
        self._check_groups()
        return self

    def _check_groups(self) -> None:
        grouped = [name for group in self.groups.values() for name in group]
        if unknown := set(grouped) - set(self.files):
            raise ValueError(f"groups of files that are not listed: {', '.join(sorted(unknown))}")
        if len(set(grouped)) < len(grouped):
            raise ValueError("groups: a file stands twice")
        if both := self.groups.keys() & {FILES, *self.files}:
            raise ValueError(f"groups: {', '.join(sorted(both))} names other files already")
        if both := {*self.groups, *self.files} & set(self.drawn):
            raise ValueError(f"{', '.join(sorted(both))} names a family and files")

    def kind_of(self, file: str) -> str:
        """Return the group of a file, or the file if it has none."""
        return next((name for name, group in self.groups.items() if file in group), file)

    @property
    def kinds(self) -> list[str]:
        """The levels that `model` has as a factor: groups of files, and kinds with their sizes."""
        return list(dict.fromkeys([*map(self.kind_of, self.files), *self.drawn]))

    @property
    def drawn(self) -> list[str]:
        """The kind and size of each family, of each of its sizes."""
        return [f"{family.kind}-{n}" for family in self.family for n in family.sizes]


class _Train(FileTable):
    """Trainings, one for each seed; further options are those of the package that trains."""

    seeds: Annotated[int, Field(ge=1, le=1000)] = 10
    options: dict[str, Any] = Field(default_factory=dict)
    control: Annotated[str, Field(min_length=1, max_length=100)] | None = None  # a method to beat

    @model_validator(mode="after")
    def _have_seeds_of_their_own(self) -> _Train:
        if "seed" in self.options:
            raise ValueError("options: the seed of each training is that of the study")
        return self

    @property
    def known(self) -> dict[str, Any]:
        """The options that no factor can have as well."""
        return self.options | ({METHOD: self.control} if self.control else {})


class _Machine(FileTable):
    device: str = "emulator"
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    settings: dict[str, float | int] = Field(default_factory=dict)
    seeds: Annotated[tuple[_Seed, ...], Field(max_length=1000, strict=False)] = ()
    seed_setting: str = "imperfections.seed"

    @model_validator(mode="after")
    def _seeds_are_machines(self) -> _Machine:
        if len(self.seeds) == 1 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: give two or more, each once: they are machines of one kind")
        return self


class _Repeat(FileTable):
    runs: Annotated[int, Field(ge=1, le=100_000)] = 64
    width: Annotated[float, Field(gt=0, le=1)] | None = None
    max_runs: Annotated[int, Field(ge=1, le=10**7)] | None = None

    @model_validator(mode="after")
    def _is_enough(self) -> _Repeat:
        if self.max_runs is not None and self.max_runs < self.runs:
            raise ValueError(f"max_runs = {self.max_runs} is less than runs = {self.runs}")
        return self

    @property
    def most_runs(self) -> int:
        """The runs of a model at a point that may be made."""
        return self.max_runs or (16 * self.runs if self.width else self.runs)


class _Nuisance(FileTable):
    """Settings of which the best levels are sought anew at each point, on models kept apart."""

    levels: Annotated[dict[str, Levels], Field(min_length=1)]
    models: Annotated[int, Field(ge=1, le=1000)] = 5

    @field_validator("levels", mode="before")
    @classmethod
    def _are_flat(cls, levels: Any) -> Any:
        return dict(_flat(levels)) if isinstance(levels, dict) else levels

    def choices(self) -> Iterator[Point]:
        """Yield all combinations of levels."""
        for levels in itertools.product(*self.levels.values()):
            yield tuple(zip(self.levels, levels, strict=True))


class Cliff(FileTable):
    """A level to be found at which a figure ceases to be enough; by default the first of the task.

    It is sought between neighbouring levels of the factor, to `resolution`: by default 1 for a
    factor of whole numbers, else a hundredth of the range.
    """

    factor: str
    figure: str | None = None
    threshold: float
    resolution: Annotated[float, Field(gt=0)] | None = None


class Safe(FileTable):
    """A success probability that is enough, and how sure that has to be at all points at once."""

    at_least: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class Study(FileTable):
    """A study file; it is validated whole before any work."""

    study: _Head
    models: _Models | None = None
    train: _Train | None = None
    machine: _Machine = _Machine()
    factors: dict[str, FactorLevels]
    point: Annotated[tuple[dict[str, _AnyLevel], ...], Field(max_length=MAX_POINTS)] = ()
    repeat: _Repeat = _Repeat()
    nuisance: _Nuisance | None = None
    safe: Safe | None = None
    cliff: Annotated[tuple[Cliff, ...], Field(max_length=100, strict=False)] = ()

    @field_validator("factors", mode="before")
    @classmethod
    def _are_flat(cls, factors: Any) -> Any:
        """Take ``adc.bits = [...]`` without quotes, which TOML reads as a table, as well."""
        if not isinstance(factors, dict):
            return factors
        found = dict(_flat(factors))
        return found | ({MODEL: [EACH]} if found.get(MODEL) == EACH else {})

    @model_validator(mode="before")
    @classmethod
    def _has_the_levels_of_its_points(cls, table: Any) -> Any:
        """Take the factors from a list of points, where there is one."""
        listed = table.get("point", ()) if isinstance(table, dict) else ()
        if not listed or not isinstance(listed, list | tuple):
            return table
        if "factors" in table:
            raise ValueError("point: points are listed, and factors would be all combinations")
        points = [dict(_flat(one)) if isinstance(one, dict) else {} for one in listed]
        if any(one.keys() != points[0].keys() or not one for one in points):
            raise ValueError("point: each has a level of the same factors")
        names = points[0]
        levels = {name: list(dict.fromkeys(one[name] for one in points)) for name in names}
        ordered = tuple({name: one[name] for name in names} for one in points)
        return {**table, "factors": levels, "point": ordered}

    @model_validator(mode="after")
    def _is_possible(self) -> Study:
        self._check_task()
        self._check_models()
        self._check_factors()
        if self.machine.seeds:
            self._check_seeds(self.machine.seed_setting)
        self._check_cliffs()
        if self.nuisance is not None:
            self._check_nuisance(self.nuisance)
        return self

    def _check_factors(self) -> None:
        if not self.factors:
            raise ValueError("factors: there are none; give one level of one, at least")
        for name, levels in self.factors.items():
            if len(set(levels)) < len(levels):
                raise ValueError(f"factors.{name}: a level stands twice")
            _check_kind(name, levels)
        fixed = {
            "machine.settings": self.machine.settings,
            "train": self.train.known if self.train else {},
            "machine.options": {f"{OPTION}{name}": 0 for name in self.machine.options},
        }
        for where, values in fixed.items():
            if both := values.keys() & self.factors.keys():
                raise ValueError(f"{where}: {', '.join(sorted(both))} is a factor already")
        n_points = len(list(itertools.islice(self.points(), MAX_POINTS + 1)))
        if n_points > MAX_POINTS:
            raise ValueError(f"factors: more than {MAX_POINTS} combinations of levels")

    def _check_models(self) -> None:
        """Put all kinds of models in the place of `EACH`, or refuse levels that are none."""
        levels = self.factors.get(MODEL)
        if levels is None:
            return
        if self.models is None:
            raise ValueError("factors.model: a study of trainings has no models")
        kinds = self.models.kinds
        if levels == [EACH]:
            levels[:] = kinds
        for level in levels:
            if level not in kinds:
                raise ValueError(
                    f"factors.model: {level!r:.100}: {did_you_mean(f'{level}', kinds)}"
                )
        if left := [kind for kind in kinds if kind not in levels]:
            raise ValueError(f"factors.model: {', '.join(left)} stands at no point")

    def _check_task(self) -> None:
        for name, table in {"sample": self.models, "train": self.train}.items():
            what = {"sample": "[models]", "train": "[train]"}[name]
            if (table is not None) != (self.study.task == name):
                needs = "needs" if self.study.task == name else "has no"
                raise ValueError(f"a study with task = {self.study.task!r} {needs} {what}")

    def _check_seeds(self, setting: str) -> None:
        if self.train is not None or self.nuisance is not None:
            what = "[nuisance]" if self.nuisance else "trainings"
            raise ValueError(f"machine.seeds: a study with {what} has one machine")
        if any(map(is_of_machine, self.factors)):
            raise ValueError("machine.seeds: device and options.* as factors are machines already")
        if setting in {**self.factors, **self.machine.settings}:
            raise ValueError(f"machine.seeds: {setting} is a factor or a setting already")

    def _check_cliffs(self) -> None:
        for cliff in self.cliff:
            check_figure(self.figure_of(cliff), self.study.task, cliff.threshold)
            if cliff.factor not in self.factors:
                known = f"those of the file are {', '.join(self.factors)}"
                raise ValueError(f"cliff.factor: {cliff.factor!r} is no factor; {known}")
            if len(self.numbers(cliff.factor)) < 2:
                raise ValueError(f"cliff.factor: {cliff.factor} needs two numbers to look between")

    def _check_nuisance(self, nuisance: _Nuisance) -> None:
        if self.models is None or not self.models.family:
            raise ValueError("nuisance: models to tune on are drawn: give a [[models.family]]")
        if both := nuisance.levels.keys() & self.factors.keys():
            raise ValueError(f"nuisance: {', '.join(sorted(both))} is a factor already")
        if MODEL in self.factors and self.models.files:
            raise ValueError("nuisance: where model is a factor, files have no models to tune on")
        if "runs" in nuisance.levels:
            raise ValueError("nuisance: more runs always have more successes; make runs a factor")
        for name, levels in nuisance.levels.items():
            if len(set(levels)) < len(levels):
                raise ValueError(f"nuisance.levels.{name}: a level stands twice")

    def figure_of(self, cliff: Cliff) -> str:
        """Return the name of the figure of a cliff."""
        return cliff.figure or ("success_probability" if self.train is None else "accuracy")

    def kind_of_file(self, name: str) -> str:
        """Return the group of a file of models; files of none are one kind, or each a level."""
        kind = self.models.kind_of(name) if self.models else name
        return FILES if kind == name and MODEL not in self.factors else kind

    def numbers(self, factor: str) -> list[float]:
        """Return those levels of a factor that are numbers, which is none of `lowering`."""
        return [level for level in self.factors[factor] if not isinstance(level, bool | str)]

    def points(self) -> Iterator[Point]:
        """Yield the points of the design: all combinations, those of a list, or one factor a time.

        One at a time, all other factors stay at the first of their levels.
        """
        names = list(self.factors)
        if self.point:
            yield from (tuple(one.items()) for one in self.point)
        elif self.study.design == ONE_AT_A_TIME:
            base = {name: levels[0] for name, levels in self.factors.items()}
            yield tuple(base.items())
            for name, levels in self.factors.items():
                yield from (tuple({**base, name: level}.items()) for level in levels[1:])
        else:
            for levels in itertools.product(*self.factors.values()):
                yield tuple(zip(names, levels, strict=True))

    def machines(self) -> list[Point]:
        """Return the levels of those factors that are machines, for each combination there is."""
        return list(dict.fromkeys(machine_of(point) for point in self.points()))


def study_of_machine(seed: int, runs: int) -> Study:
    """Return a study of one point on a machine as it is, of models that are at hand."""
    head = _Head(name="machine", seed=seed)
    repeat = _Repeat.model_construct(runs=runs, width=None, max_runs=None)  # its driver has a limit
    return Study.model_construct(study=head, factors={}, repeat=repeat)


def machine_of(point: Point) -> Point:
    """Return the levels of those factors that are machines."""
    return tuple(item for item in point if is_of_machine(item[0]))


def _check_kind(name: str, levels: list[Any]) -> None:
    """Refuse levels that are no names where they should be, or no numbers of other factors."""
    if name.startswith(OPTION):
        if len({isinstance(level, str) for level in levels}) > 1:
            raise ValueError(f"factors.{name}: texts and numbers are not compared")
        return
    for level in levels:
        if is_text(name) != isinstance(level, str) or isinstance(level, bool):
            names = {
                "lowering": "the name of a policy",
                DEVICE: "a target",
                MODEL: "a kind of models",
            }
            what = names.get(name, "a number")
            raise ValueError(f"factors.{name}: {level!r:.100} is not {what}")
        if name == "lowering":
            Policy.of(level)


def level_text(level: Level) -> str:
    """Return a level as people read it."""
    if isinstance(level, bool):
        return "true" if level else "false"
    return level if isinstance(level, str) else f"{level:g}"


def read_study(path: Path) -> Study:
    """Read a study file; `StudyError` says what is wrong in it, and what would be right."""
    hint = "see the how-to page about sweeps for one"
    return read_file(path, Study, "a study", StudyError, hint)


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
