"""Options of dynamics: their ranges, the settings of jobs, properties, docstrings and tables."""

from __future__ import annotations

import importlib.util
import inspect
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import emulator
from cim_hal import (
    Capabilities,
    CapabilityError,
    IsingModel,
    Program,
    PumpSchedule,
    StopToken,
    lower,
    make_driver,
    registered_drivers,
)
from emulator import (
    BestSeen,
    ChaoticAmplitudeControl,
    Converter,
    Dynamics,
    EmulatedCim,
    GaussianFeedback,
    MeanField,
    MeasurementFeedback,
    SimulatedBifurcation,
    TruncatedWigner,
)
from emulator.options import (
    NON_NEGATIVE,
    POSITIVE,
    Interval,
    check_options,
    documented,
    option,
    options_of,
    setting_options,
    settings_of,
    with_settings,
)
from emulator.presets import PRESETS


def exported() -> list[type[Dynamics]]:
    everything = (getattr(emulator, name) for name in emulator.__all__)
    classes = [item for item in everything if inspect.isclass(item)]
    return [item for item in classes if issubclass(item, Dynamics) and item is not Dynamics]


# Where the defaults are not what is to be tried; all other dynamics are tried with theirs.
CHOSEN = [
    MeanField(feedback_limit=0.12, drive_limit=0.2, field_amplitude=0.12),
    GaussianFeedback(
        adc=Converter(full_scale=0.12), dac=Converter(full_scale=0.2), field_amplitude=0.12
    ),
    SimulatedBifurcation(variant="discrete"),
    SimulatedBifurcation(variant="ballistic", stability=0.75),
    BestSeen(dynamics=ChaoticAmplitudeControl()),
    # splitters do not amplify: a gain of 0.3 needs no loss, one of 5 needs this
    TruncatedWigner(coupling_gain=0.3, coupling_loss=15.0),
]
ALL = CHOSEN + [kind() for kind in exported() if kind not in {type(each) for each in CHOSEN}]
NAMES = [type(dynamics).__name__ for dynamics in ALL]
# One of each family is quick enough for every run of the tests: each dynamics has its kernels.
IN_EVERY_RUN = {"MeanField", "MeasurementFeedback", "SimulatedBifurcation", "SimCim"}
AT_EACH_END = [
    pytest.param(dynamics, id=name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow)
    for dynamics, name in zip(ALL, NAMES, strict=True)
]


def machine(dynamics) -> EmulatedCim:
    if hasattr(dynamics, "read_out"):  # a record is clipped, which hides much
        dynamics = replace(dynamics, read_out="conditional_mean")
    capabilities = Capabilities(
        name="test",
        max_spins=100,
        coupling_bits=8,  # as the presets have: kernels are not compiled for real couplings as well
        has_field=dynamics.has_field,
    )
    return EmulatedCim(dynamics, capabilities=capabilities, threads=1)


def values(driver: EmulatedCim, settings: dict[str, float]) -> np.ndarray:
    n_spins = 12
    upper = np.triu(np.random.default_rng(0).normal(size=(n_spins, n_spins)), 1)
    h = np.ones(n_spins) if driver.describe().has_field else None
    lowering = lower(IsingModel.from_couplings(upper + upper.T, h), driver.describe())
    schedule = PumpSchedule.linear(0.0, 1.2, round_trips=300)
    program = Program(lowering, schedule, 16, 3, settings)
    driver.describe().check_settings(settings)
    readout = driver.run(program, StopToken())
    readout.check(program)
    return readout.values


@pytest.mark.parametrize("dynamics", ALL, ids=NAMES)
def test_all_declared_settings_are_offered_with_the_values_of_the_machine(dynamics):
    inner = dynamics.dynamics if isinstance(dynamics, BestSeen) else dynamics
    offered = {setting.name: setting for setting in dynamics.settings()}
    assert set(setting_options(inner)) <= set(offered)
    assert all(
        offered[name].default == getattr(inner, name) for name in offered if hasattr(inner, name)
    )
    standing = {name: setting.default for name, setting in offered.items()}
    assert dynamics.with_settings(standing) == dynamics
    assert dynamics.with_settings({}) == dynamics


@pytest.mark.parametrize("dynamics", AT_EACH_END)
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_machine_runs_with_each_setting_at_each_end(dynamics, end):
    driver = machine(dynamics)
    standing = values(driver, {})
    for setting in driver.describe().settings:
        turned = values(driver, {setting.name: getattr(setting, end)})
        assert np.isfinite(turned).all()
        # Longer steps than are stable are not made, and large limits are never reached.
        is_idle = setting.name in {"stability", "time_step", "error_limit", "every", "heating"}
        # Of an ideal machine, what acts only where something else is wrong, or rounds.
        is_idle |= setting.name.rpartition(".")[2] in {
            "seed",
            "mid_rise",
            "reranged",
            "full_scale",
            "drift_round_trips",
            "relock_round_trips",
            "intermittent_round_trips",
            "calibration_drift",
            "accumulator_bits",
            "adc_dnl",
            "adc_inl",
        }
        assert is_idle or getattr(setting, end) == setting.default or (turned != standing).any()


@pytest.mark.parametrize("dynamics", ALL, ids=NAMES)
def test_a_machine_runs_with_all_settings_at_their_strongest(dynamics):
    driver = machine(dynamics)
    high = {setting.name: setting.high for setting in driver.describe().settings}
    assert np.isfinite(values(driver, high)).all()


def test_the_settings_of_a_job_change_no_other_job():
    driver = machine(MeasurementFeedback())
    before = values(driver, {})
    turned = values(driver, {"coupling_gain": 0.3, "adc.full_scale": 0.5})
    np.testing.assert_array_equal(values(driver, {}), before)
    built = MeasurementFeedback(
        coupling_gain=0.3, adc=replace(MeasurementFeedback().adc, full_scale=0.5)
    )
    np.testing.assert_array_equal(turned, values(machine(built), {}))
    assert (turned != before).any()


def test_best_seen_adds_how_often_it_looks_to_the_settings_of_its_dynamics():
    dynamics = BestSeen(dynamics=SimulatedBifurcation(), every=10)
    names = [setting.name for setting in dynamics.settings()]
    assert names == [*(s.name for s in dynamics.dynamics.settings()), "every"]
    turned = dynamics.with_settings({"every": 3.0, "heating": 0.06})
    assert turned == BestSeen(dynamics=SimulatedBifurcation(heating=0.06), every=3)
    assert type(turned.every) is int


def test_an_option_that_is_switched_off_is_no_setting():
    linear = {setting.name for setting in MeanField().settings()}
    assert math.isinf(MeanField().drive_limit)
    assert not linear & {"feedback_limit", "drive_limit", "field_amplitude"}
    adiabatic = SimulatedBifurcation(variant="adiabatic")
    assert "heating" not in {setting.name for setting in adiabatic.settings()}


def test_a_machine_beyond_the_usual_range_stands_within_its_own():
    (gain, *_) = ChaoticAmplitudeControl(coupling_gain=20.0).settings()
    assert (gain.default, gain.high) == (20.0, 20.0)
    (off, *_) = ChaoticAmplitudeControl(coupling_gain=0.0).settings()
    assert (off.default, off.low, off.log) == (0.0, 0.0, False)


def test_every_preset_describes_its_settings_and_properties():
    for registered in registered_drivers():
        capabilities = make_driver(registered.name).describe()
        assert {setting.name for setting in capabilities.settings} >= {"coupling_gain"}
        assert "model" in capabilities.properties


def test_all_numbers_of_a_dynamics_are_among_the_properties():
    dynamics = MeasurementFeedback()
    properties = machine(dynamics).describe().properties
    assert properties["model"] == "MeasurementFeedback"
    assert (properties["adc"], properties["adc.bits"]) == ("Converter", 8)
    assert properties["electronic_noise"] == 0.0
    assert {field.name for field in fields(dynamics)} <= set(properties)


def test_what_has_no_bound_is_none_and_a_ramp_is_a_text():
    assert machine(MeanField()).describe().properties["drive_limit"] is None
    properties = machine(BestSeen(dynamics=ChaoticAmplitudeControl())).describe().properties
    assert properties["dynamics"] == "ChaoticAmplitudeControl"
    assert properties["dynamics.target"] == "1.0, 3.0"


def test_properties_given_are_kept():
    given = Capabilities(
        name="test", max_spins=9, coupling_bits=8, properties={"fibre_m": 1000, "model": "Nr. 5"}
    )
    properties = EmulatedCim(MeasurementFeedback(), capabilities=given).describe().properties
    assert (properties["fibre_m"], properties["model"]) == (1000, "Nr. 5")
    assert properties["saturation"] == 300.0


@documented
@dataclass(frozen=True, kw_only=True)
class Example:
    """An example.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    gain: float = option(
        0.5, within=NON_NEGATIVE, low=0.1, high=2.0, log=True, symbol="g", doc="Gain.\nOf light."
    )
    ramp: tuple[float, float] = option((1.0, 2.0), within=POSITIVE, doc="Ramp.")
    limit: float | None = option(None, within=POSITIVE, doc="Limit.")
    every: int = option(3, within=Interval(1, math.inf), low=1, high=9, doc="Interval.")
    kind: str = option("soft", within=("soft", "hard"), doc="Kind.")

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain": -1.0},
        {"gain": math.inf},
        {"gain": math.nan},
        {"gain": None},
        {"ramp": (1.0, 0.0)},
        {"limit": 0.0},
        {"every": 0},
        {"kind": "odd"},
    ],
)
def test_an_option_out_of_its_range_is_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name} = .* is out of range$") as refused:
        Example(**wrong)
    assert str(value) in str(refused.value)


@pytest.mark.parametrize("right", [{"gain": 0.0}, {"limit": None}, {"limit": 2.0}, {"every": 1}])
def test_an_option_within_its_range_is_taken(right):
    assert Example(**right) == replace(Example(), **right)


def test_an_interval_says_which_ends_it_includes():
    assert str(NON_NEGATIVE) == "[0, inf)"
    assert str(Interval(0, 1, includes_low=False)) == "(0, 1]"
    assert [x in Interval(0, 1, includes_high=False) for x in (0, 1, math.nan)] == [1, 0, 0]


def test_the_first_line_of_an_options_text_describes_the_setting():
    gain, every = settings_of(Example())
    assert (gain.name, gain.description, gain.log, gain.integer) == ("gain", "Gain.", True, False)
    assert (every.name, every.integer) == ("every", True)
    assert type(with_settings(Example(), {"every": 2.0}).every) is int


def test_options_are_written_into_the_docstring_before_what_is_raised():
    assert (
        Example.__doc__
        == """An example.

Parameters
----------
gain : float
    :math:`g`. Gain.
    Of light.
ramp : tuple of float
    Ramp.
limit : float or None
    Limit.
every : int
    Interval.
kind : {"soft", "hard"}
    Kind.

Raises
------
ValueError
    A parameter out of its range.
"""
    )


@pytest.mark.parametrize("kind", exported())
def test_every_option_of_a_dynamics_is_declared_and_documented(kind):
    given = [field.name for field in fields(kind) if field.init]
    assert given == list(options_of(kind))
    assert all(f"\n{name} : " in kind.__doc__ for name in given)


def test_the_tables_of_options_in_the_documentation_are_those_of_the_code():
    folder = Path(__file__).parents[3] / "docs"
    spec = importlib.util.spec_from_file_location("option_tables", folder / "option_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (folder / "reference/options.md").read_text()
    assert page == tables.page(), "run: python docs/option_tables.py"
    assert tables.DRIVER_PAGE.read_text() == tables.driver_page(), "run it"
    assert all(f"## {kind.__name__}" in page for kind in exported())


# Fields of dataclasses that no job may set, each with a reason.
NO_SETTINGS = {
    "precision": "of the arithmetic, not of the machine; a text",
    "imperfections.dead_pulses": "a list; a job sets their share and the seed",
    "imperfections.reference_pulses": "decides how many spins fit, which the capabilities promise",
    "imperfections.train_pulses": "decides how many spins fit, which the capabilities promise",
    "read_out": "a text; what amplitudes mean must not change from job to job",
}


def paths(options, prefix: str = "") -> set[str]:
    """The dotted names of all fields that hold no dataclass."""
    found: set[str] = set()
    for f in fields(options):
        value, path = getattr(options, f.name), f"{prefix}{f.name}"
        found |= paths(value, f"{path}.") if is_dataclass(value) else {path}
    return found


MEASURED = [n for n, p in PRESETS.items() if isinstance(p.dynamics, MeasurementFeedback)]


@pytest.mark.parametrize("name", MEASURED)
def test_every_field_of_a_measurement_feedback_machine_is_a_setting_or_says_why_not(name):
    machine = make_driver(name)
    offered = {setting.name: setting for setting in machine.describe().settings}
    missing = paths(PRESETS[name].dynamics) - set(offered)
    # couplings of real numbers have no accumulator of integers
    allowed = set(NO_SETTINGS) | (
        {"imperfections.accumulator_bits"} if name == "emulator-ideal" else set()
    )
    assert missing == allowed
    assert all(setting.unit and setting.description for setting in offered.values())
    assert not any(":math:" in setting.description for setting in offered.values())
    assert all(setting.low <= setting.default <= setting.high for setting in offered.values())


def test_every_property_of_every_machine_that_is_no_text_has_a_unit():
    for registered in registered_drivers():
        capabilities = make_driver(registered.name).describe()
        numbers = {k for k, v in capabilities.properties.items() if not isinstance(v, str)}
        assert numbers <= set(capabilities.units), registered.name
        assert all(capabilities.units.values())


def test_settings_that_do_not_go_together_are_refused_by_name():
    driver = machine(MeasurementFeedback())
    with pytest.raises(CapabilityError, match="accumulator_bits"):
        values(driver, {"adc.bits": 0, "imperfections.accumulator_bits": 16})
    both = values(driver, {"adc.bits": 6, "imperfections.accumulator_bits": 16})
    assert np.isfinite(both).all()


def test_none_is_a_number_of_the_job():
    setting = {s.name: s for s in MeasurementFeedback(adc=Converter(full_scale=1.0)).settings()}
    assert setting["adc.bits"].default == 0
    given = MeasurementFeedback().with_settings({"adc.bits": 0.0, "adc.full_scale": 0.5})
    assert given.adc == Converter(full_scale=0.5)
    assert type(given.with_settings({"adc.bits": 3.0}).adc.bits) is int
