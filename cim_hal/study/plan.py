"""What a study file says: models, machine, factors and how well figures are to be known."""

from __future__ import annotations

import itertools
from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation, model_validator

from cim_hal.errors import StudyError
from cim_hal.machine.policies import Policy
from cim_hal.study.families import FILES, Models
from cim_hal.study.figures import check_figure
from cim_hal.study.job_factors import DEVICE, METHOD, MODEL, OPTION, is_of_machine, is_text
from cim_hal.toml_files import Dotted, FileTable, did_you_mean, flat_table, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = [
    "METHOD",
    "Cliff",
    "Level",
    "Point",
    "Safe",
    "Study",
    "level_text",
    "machine_of",
    "named_levels",
    "read_study",
    "study_of_machine",
]

MAX_POINTS = 10_000

Level = float | str  # of a factor; whole numbers stay whole, of `lowering` and others it is text
Point = tuple[tuple[str, Level], ...]  # the level of each factor, in the order of the file
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
Levels = Annotated[list[int | float], Field(min_length=1, max_length=1000)]
_AnyLevel = bool | int | float | str
# `_check_kind` knows what the levels of each factor are
FactorLevels = Annotated[
    list[Annotated[_AnyLevel, SkipValidation]], Field(min_length=1, max_length=1000)
]

ONE_AT_A_TIME = "one-at-a-time"
KIND = "a kind of models, such as 'sk-16' or a file"
TEXTS = {"lowering": "the name of a policy", DEVICE: "a target", MODEL: KIND}
EACH = "each"  # of `model`: all kinds and sizes of the file


class _Head(FileTable):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    task: Literal["sample", "train"] = "sample"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    design: Literal["grid", "one-at-a-time"] = "grid"


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
    settings: Annotated[dict[str, float | int], Dotted] = Field(default_factory=dict)
    seeds: Annotated[tuple[_Seed, ...], Field(max_length=1000, strict=False)] = ()
    seed_setting: str = "imperfections.seed"

    @model_validator(mode="after")
    def _seeds_are_machines(self) -> _Machine:
        if len(self.seeds) == 1 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: give two or more, each once: they are machines of one kind")
        if not self.seeds and "seed_setting" in self.model_fields_set:
            raise ValueError("seed_setting: it names the setting of seeds, and there are none")
        return self


class _Repeat(FileTable):
    runs: Annotated[int, Field(ge=1, le=100_000)] = 64
    width: Annotated[float, Field(gt=0, le=1)] | None = None
    max_runs: Annotated[int, Field(ge=1, le=10**7)] | None = None

    def most_runs(self, runs: int) -> int:
        """Return the runs of a model at a point that may be made, in jobs of so many `runs`."""
        if self.width is None:
            return runs
        return self.max_runs // runs * runs if self.max_runs else 16 * runs


class _Nuisance(FileTable):
    """Settings of which the best levels are sought anew at each point, on models kept apart."""

    levels: Annotated[dict[str, Levels], Dotted, Field(min_length=1)]
    models: Annotated[int, Field(ge=1, le=1000)] = 5

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


def _of_each(factors: Any) -> Any:
    """Put a list in the place of `EACH`."""
    if not isinstance(factors, dict) or not isinstance(level := factors.get(MODEL), str):
        return factors
    if level != EACH:
        raise ValueError(f"{MODEL} = {level!r:.100}: it should be {EACH!r}, or a list with {KIND}")
    return factors | {MODEL: [EACH]}


class Study(FileTable):
    """A study file; it is validated whole before any work."""

    study: _Head
    models: Models | None = None
    train: _Train | None = None
    machine: _Machine = _Machine()
    factors: Annotated[dict[str, FactorLevels], BeforeValidator(_of_each), Dotted]
    point: Annotated[tuple[dict[str, _AnyLevel], ...], Field(max_length=MAX_POINTS)] = ()
    repeat: _Repeat = _Repeat()
    nuisance: _Nuisance | None = None
    safe: Safe | None = None
    cliff: Annotated[tuple[Cliff, ...], Field(max_length=100, strict=False)] = ()

    @model_validator(mode="before")
    @classmethod
    def _has_the_levels_of_its_points(cls, table: Any) -> Any:
        """Take the factors from a list of points, where there is one."""
        if not isinstance(table, dict) or "point" not in table:
            return table
        listed = table["point"]
        if not listed or not isinstance(listed, list | tuple):
            raise ValueError("point: it should be a list of tables, each a [[point]]")
        if "factors" in table:
            raise ValueError("point: points are listed, and factors would be all combinations")
        head = table.get("study")
        if isinstance(head, dict) and "design" in head:
            raise ValueError("study.design: points are listed, and a design would choose others")
        points = [flat_table(one) if isinstance(one, dict) else {} for one in listed]
        others = [n for n, one in enumerate(points) if one.keys() != points[0].keys() or not one]
        for number in others[:1]:
            has, first = (", ".join(points[n]) or "none" for n in (number, 0))
            what = f"number {number + 1} has {has}, the first {first}"
            raise ValueError(f"point: each has a level of the same factors; {what}")
        levels = [(n, *pair) for n, one in enumerate(points, 1) for pair in one.items()]
        if wrong := [each for each in levels if not isinstance(each[-1], _AnyLevel)]:
            number, name, level = wrong[0]
            where = f"[[point]] number {number}: {name} = {level!r:.100}"
            raise ValueError(f"{where}: it should be one level")
        names = points[0]
        factors = {name: list(dict.fromkeys(one[name] for one in points)) for name in names}
        ordered = tuple({name: one[name] for name in names} for one in points)
        for number, one in enumerate(ordered):
            if one in ordered[:number]:
                first = ordered.index(one)
                raise ValueError(f"[[point]] number {number + 1} is number {first + 1} once more")
        return {**table, "factors": factors, "point": ordered}

    @model_validator(mode="after")
    def _is_possible(self) -> Study:
        self._check_task()
        for name, levels in self.factors.items():
            place = "[[point]]: {}" if self.point else "factors.{}[{}]"
            _check_kind(name, levels, place, of_training=self.train is not None)
        self._check_models()
        self._check_factors()
        self._check_repeat()
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

    def _check_repeat(self) -> None:
        """Refuse what would be without effect, and fewer runs than a job has."""
        repeat, given = self.repeat, self.repeat.model_fields_set
        if self.train is not None and given:
            what = "trainings are repeated by train.seeds, their runs are train.options.n_runs"
            raise ValueError(f"repeat.{min(given)}: {what}")
        if repeat.max_runs is None:
            return
        if repeat.width is None:
            raise ValueError("repeat.max_runs: it limits what a width asks for, and there is none")
        if repeat.max_runs < (runs := max(self.numbers("runs") or [repeat.runs])):
            raise ValueError(f"repeat.max_runs = {repeat.max_runs} is less than runs = {runs:g}")

    def _check_models(self) -> None:
        """Put all kinds of models in the place of `EACH`, or refuse levels that are none."""
        levels = self.factors.get(MODEL)
        if levels is None:
            return
        if self.models is None:
            raise ValueError("factors.model: a study of trainings has no models")
        kinds = self.models.kinds
        if levels == [EACH] and not self.point:
            levels[:] = kinds
        for level in levels:
            if level == EACH and EACH not in kinds:
                what = "a [[point]] has one of them" if self.point else "write it without a list"
                raise ValueError(f"{MODEL} = {EACH!r} stands for {', '.join(kinds)}: {what}")
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
        sought = Counter((one.factor, self.figure_of(one), one.threshold) for one in self.cliff)
        for (factor, figure, threshold), n in sought.items():
            if n > 1:
                raise ValueError(f"cliff: {figure} = {threshold:g} over {factor} stands twice")

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
        first = "success_probability" if self.train is None else "accuracy"
        return first if cliff.figure is None else cliff.figure

    def kind_of_file(self, name: str) -> str:
        """Return the group of a file of models; files of none are one kind, or each a level."""
        kind = self.models.kind_of(name) if self.models else name
        return FILES if kind == name and MODEL not in self.factors else kind

    def numbers(self, factor: str) -> list[float]:
        """Return those levels of a factor that are numbers; none of what is no factor."""
        levels = self.factors.get(factor, ())
        return [level for level in levels if not isinstance(level, bool | str)]

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


def _check_kind(name: str, levels: list[Any], place: str, *, of_training: bool) -> None:
    """Refuse levels that are no names where they should be, or no numbers of other factors.

    Factors of trainings may be either: whoever trains knows which.
    """
    is_either = name.startswith(OPTION) or (of_training and not is_text(name))
    for number, level in enumerate(levels):
        where, form = f"{place.format(name, number)} = {level!r:.100}", "a number"
        if is_either:
            is_right, form = isinstance(level, _AnyLevel), "a number, a text, true or false"
        elif is_text(name):
            is_right, form = isinstance(level, str), TEXTS[name]
        else:
            is_right = isinstance(level, int | float) and not isinstance(level, bool)
        if not is_right:
            raise ValueError(f"{where}: it should be {form}")
        if isinstance(level, float) and not isfinite(level):
            raise ValueError(f"{where}: it should be a finite number")
        if name == "lowering":
            Policy.of(str(level))
    if len({float if type(level) is int else type(level) for level in levels}) > 1:
        what = "texts and numbers are not compared, nor with true or false"
        raise ValueError(f"factors.{name}: {what}")


def level_text(level: Level) -> str:
    """Return a level as people read it."""
    if isinstance(level, bool):
        return "true" if level else "false"
    return level if isinstance(level, str) else f"{level:g}"


def named_levels(levels: Iterable[tuple[str, Level]]) -> list[str]:
    """Return each level with its factor, as people read them."""
    return [f"{name} = {level_text(level)}" for name, level in levels]


def read_study(path: Path) -> Study:
    """Read a study file; `StudyError` says what is wrong in it, and what would be right."""
    hint = "see the how-to page about sweeps for one"
    return read_file(path, Study, "a study", StudyError, hint)
