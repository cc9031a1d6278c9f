"""What a study asks of its machines: refused before the first job where they cannot do it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, StudyError
from cim_hal.machine.lowering import lower
from cim_hal.machine.policies import lower_by
from cim_hal.study.job_factors import (
    JOB_FACTORS,
    METHOD,
    MODEL,
    check_job_factor,
    is_of_machine,
)
from cim_hal.study.rows import SMALLEST_TARGET
from cim_hal.text import counted
from cim_hal.toml_files import did_you_mean

if TYPE_CHECKING:
    from cim_hal.client.session import Session
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.study.families import Instance
    from cim_hal.study.plan import Level, Study
    from cim_hal.study.tasks import TrainTask

__all__ = ["check_alike", "check_study", "facts_of", "refuse_other"]

ALIKE = (
    "has_field",
    "coupling_bits",
    "field_bits",
    "default_pump",
    "default_round_trips",
    "round_trip_s",
    "settings",
)


def check_study(
    study: Study,
    instances: Sequence[Instance],
    session: Session,
    task: TrainTask | None,
) -> None:
    """Refuse factors and levels that no job can set, and models that do not fit.

    `StudyError` and `CapabilityError` say which.
    """
    capabilities = session.capabilities
    own: Collection[str] = JOB_FACTORS
    if task is not None and study.train is not None:
        own = task.factors
        task.check(session, study.train.options, study.factors)
        if study.train.control is not None:
            task.check(session, study.train.known, study.factors)
        _check_infeasibility(study, task, study.train.options)
    known = {setting.name: setting for setting in capabilities.settings}
    tuned = study.nuisance.levels if study.nuisance else {}
    seeds = {study.machine.seed_setting: study.machine.seeds} if study.machine.seeds else {}
    for name, levels in {**study.factors, **tuned, **seeds}.items():
        if is_of_machine(name) or (name in own and task is not None):
            continue
        if name in own:
            check_job_factor(name, levels, capabilities)
        elif name not in known:
            names = [*own, *known]
            raise StudyError(
                f"factor {name}: {capabilities.name} has no such setting",
                hint=did_you_mean(name, names),
            )
        else:
            for level in map(partial(_number, name), levels):
                known[name].check(level)
    _check_settings(study.machine.settings, capabilities)
    _check_runs(study.repeat.runs, capabilities)
    _check_gap(study, instances)
    for instance in instances:
        if instance.model is not None:
            lower(instance.model, capabilities)
            _check_lowering(study, instance, capabilities)


def _check_infeasibility(study: Study, task: TrainTask, options: Mapping[str, Any]) -> None:
    """Refuse cliffs of a figure that trainings do not have."""
    if all(study.figure_of(cliff) != "infeasibility" for cliff in study.cliff):
        return
    for level in [{METHOD: method} for method in study.factors.get(METHOD, ())] or [{}]:
        if reason := task.no_infeasibility({**options, **level}):
            raise StudyError(f"cliff.figure = 'infeasibility': {reason}")


def _number(name: str, level: Level) -> float:
    if isinstance(level, str | bool):
        raise StudyError(f"factor {name} = {level!r:.100}: it should be a number")
    return float(level)


def _check_settings(settings: Mapping[str, float], capabilities: Capabilities) -> None:
    try:
        capabilities.check_settings(settings)
    except CimError as error:
        raise StudyError(f"machine.{error.message}", hint=error.hint) from None


def _check_gap(study: Study, instances: Sequence[Instance]) -> None:
    """Refuse cliffs of the gap where a target is 0, of which the gap would be a share."""
    if any(study.figure_of(cliff) == "energy_gap" for cliff in study.cliff):
        for instance in instances:
            model, target = instance.model, abs(instance.target.energy)
            if model is not None and target <= SMALLEST_TARGET * float(
                abs(model.J).sum() + abs(model.h).sum()
            ):
                what = f"the target of {instance.name} is 0, and the gap would be a share of it"
                raise StudyError(f"cliff.figure = 'energy_gap': {what}")


def _check_runs(runs: int, capabilities: Capabilities) -> None:
    if runs > capabilities.max_runs:
        raise StudyError(
            f"repeat.runs = {runs}: a job of {capabilities.name} has at most "
            f"{counted(capabilities.max_runs, 'run')}"
        )


def _check_lowering(study: Study, instance: Instance, capabilities: Capabilities) -> None:
    """Refuse policies that refuse a model, and auxiliary spins for which there is no room."""
    model, kind = instance.model, instance.family
    if model is None or "lowering" not in study.factors:
        return
    levels = [each for each in map(dict, study.points()) if each.get(MODEL, kind) == kind]
    bits = [int(each["coupling_bits"]) if "coupling_bits" in each else None for each in levels]
    policies = [each["lowering"] for each in levels]
    for policy, n_bits in dict.fromkeys(zip(policies, bits, strict=True)):
        try:
            lower_by(str(policy), model, capabilities, bits=n_bits)
        except CimError as error:
            at = f"lowering = {policy}" + (f" at {counted(n_bits, 'bit')}" if n_bits else "")
            what = f"factor {at}: {instance.name}: {error.message}"
            raise StudyError(what, hint=error.hint) from None


def check_alike(machines: Sequence[Capabilities]) -> None:
    """Refuse machines of several kinds: which of them had a job would be by chance."""
    first, *others = map(facts_of, machines)
    for other in others:
        refuse_other(first, other, "{} and ")


def refuse_other(first: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    """Refuse a machine of another kind, by the facts of both; `what` names the first."""
    for name in ALIKE:
        if other.get(name) != first.get(name):
            raise StudyError(
                f"{what.format(first.get('name'))}{other['name']} differ in {name}: a study has "
                "machines of one kind",
                hint="run the study once on each, in folders of their own",
            )


def facts_of(capabilities: Capabilities) -> dict[str, Any]:
    """Return what machines of one kind have in common, and the name."""
    found = capabilities.model_dump(mode="json")
    return {name: found[name] for name in ("name", *ALIKE)}
