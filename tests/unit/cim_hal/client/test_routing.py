from __future__ import annotations

import pytest

from cim_hal import Capabilities, CapabilityError, IsingModel, PumpSchedule, Setting
from cim_hal.client.routing import (
    LOOKAHEAD,
    JobRequest,
    Load,
    check_fits,
    choose,
    common_capabilities,
    next_pair,
)

PAIR = IsingModel.from_couplings([[0, 1], [1, 0]])
TRIO = IsingModel.from_couplings([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
FIELD = IsingModel.from_couplings([[0, 1], [1, 0]], [1.0, 0.0])
SMALL = Capabilities(name="small", max_spins=2, coupling_bits=4, max_runs=10)
LARGE = Capabilities(
    name="large",
    max_spins=100,
    coupling_bits=None,
    has_field=True,
    max_round_trips=500,
    default_round_trips=400,
    pump_range=(0.5, 3.0),
    default_pump=(0.5, 1.0),
    reports_amplitudes=True,
    settings=(Setting(name="gain", default=1.0, low=0.0, high=2.0),),
)


def _load(capabilities=LARGE, **state):
    return Load(capabilities, slots=2, **state)


def _request(model=PAIR, **options):
    return JobRequest(model, None, options)


def _holding(*models, **state):
    load = _load(**state)
    load.held.update(models)
    return load


@pytest.mark.parametrize(
    ("job", "capabilities", "what"),
    [
        (_request(TRIO), SMALL, "max_spins"),
        (_request(FIELD), SMALL, "max_spins"),
        (_request(n_runs=11), SMALL, "max_runs"),
        (_request(coupling_bits=5), SMALL, "coupling_bits"),
        (_request(settings={"gain": 1.0}), SMALL, "settings"),
        (_request(settings={"gain": 3.0}), LARGE, "settings.gain"),
        (
            JobRequest(PAIR, PumpSchedule.constant(1.0, round_trips=501), {}),
            LARGE,
            "max_round_trips",
        ),
        (JobRequest(PAIR, PumpSchedule.constant(0.1, round_trips=5), {}), LARGE, "pump_range"),
    ],
)
def test_what_a_machine_cannot_do_is_named(job, capabilities, what):
    with pytest.raises(CapabilityError) as caught:
        check_fits(job, capabilities)
    assert caught.value.details["what"] == what


def test_a_job_goes_to_the_machine_that_can_do_it_though_it_is_busier():
    able = _load(LARGE, in_flight=1, job_s=9.0)
    assert choose(_request(TRIO), [_load(SMALL), able]) is able


def test_a_job_goes_where_its_couplings_are():
    holder = _holding(TRIO, in_flight=1, job_s=1e-9)
    assert choose(_request(TRIO), [_load(), holder, _load()]) is holder


def test_a_job_goes_where_the_wait_is_shortest():
    loads = [_load(in_flight=1, job_s=s) for s in (0.3, 0.1, 0.2)]
    assert choose(_request(), loads) is loads[1]


@pytest.mark.parametrize(("job_s", "waits"), [(1e-9, True), (1.0, False)])
def test_a_full_holder_is_waited_for_only_while_that_is_shorter_than_an_upload(job_s, waits):
    holder, other = _holding(TRIO, in_flight=2, job_s=job_s), _load()
    assert choose(_request(TRIO), [holder, other]) is (None if waits else other)


def test_dead_full_and_refusing_machines_get_nothing():
    request, bad = _request(), _load()
    request.refusals[bad] = CapabilityError("max_spins", required=2, available=1)
    assert choose(request, [_load(is_alive=False), _load(in_flight=2), bad]) is None


def test_a_later_job_goes_first_where_its_couplings_are_but_not_for_ever():
    holder = _holding(TRIO)
    oldest = _request(PAIR)
    n_passed = 0
    while next_pair([oldest, _request(TRIO)], [holder])[0] is not oldest:
        n_passed += 1
    assert n_passed == LOOKAHEAD


def test_nothing_starts_where_no_slot_is_free():
    assert next_pair([_request()], [_load(in_flight=2)]) is None
    assert next_pair([], [_load()]) is None


def test_durations_are_remembered_per_job_and_the_newest_counts_most():
    load = _load(in_flight=2)
    load.took(0.4)
    assert load.job_s == pytest.approx(0.2)
    for _ in range(50):
        load.took(1.0)
    assert load.job_s == pytest.approx(0.5, rel=1e-4)


def test_what_all_can_is_what_fits_each():
    common = common_capabilities([LARGE, SMALL])
    assert (common.max_spins, common.coupling_bits, common.max_runs) == (2, 4, 10)
    assert (common.max_round_trips, common.pump_range) == (500, (0.5, 3.0))
    assert not any([common.has_field, common.reports_amplitudes, common.settings])
    for machine in (LARGE, SMALL):
        machine.check_schedule(common.default_schedule)
    assert common_capabilities([LARGE, LARGE]) == LARGE


def test_machines_with_no_pump_in_common_are_no_pool():
    cold = SMALL.model_copy(update={"pump_range": (0.0, 0.4)})
    with pytest.raises(CapabilityError, match="pump_range"):
        common_capabilities([cold, LARGE])
