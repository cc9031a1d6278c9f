from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cim_hal import ModelError, Retries, TargetError
from cim_hal.client.options import (
    FORMS,
    NO_DIGEST,
    ConnectionOptions,
    SampleOptions,
    checked,
    sample_request,
)
from cim_hal.protocol.wire.base import Request
from cim_hal.protocol.wire.messages import CancelJob, DropCouplings, WaitJob


def _attempts(n, **options):
    return list(itertools.islice(Retries(**options).attempts(), n))


def test_pauses_are_drawn_evenly_below_a_bound_that_doubles_up_to_a_cap():
    pauses = np.array([[a.pause_s for a in _attempts(9)] for _ in range(2000)])
    bounds = np.array([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    assert (pauses >= 0).all()
    assert (pauses <= bounds).all()
    # mean of uniform numbers: bound / 2, with standard error bound / sqrt(12 n)
    errors = bounds / np.sqrt(12 * 2000)
    np.testing.assert_array_less(np.abs(pauses.mean(axis=0) - bounds / 2), 6 * errors)


def test_patience_doubles_up_to_the_cap():
    assert [a.retry_after_s for a in _attempts(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert [a.retry_after_s for a in _attempts(3, retry_after_s=8.0)] == [8.0, 8.0, 8.0]


def test_a_limit_ends_with_an_attempt_that_is_never_followed():
    assert [math.isinf(a.pause_s) for a in _attempts(3, limit=2)] == [False, False, True]


@pytest.mark.parametrize(
    "options",
    [{"base_s": 0.0}, {"factor": 0.5}, {"cap_s": math.inf}, {"retry_after_s": -1}, {"limit": -1}],
)
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ModelError, match=next(iter(options))):
        Retries(**options)


@pytest.mark.parametrize(
    "target", ["tcp://lab", "tcp://lab:99999", "tcp://:5", "ipc://", "tcp://lab:0"]
)
def test_an_endpoint_that_cannot_be_is_refused_before_it_is_tried(target):
    with pytest.raises(TargetError, match="is not an endpoint"):
        ConnectionOptions(target)


def test_an_argument_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(TypeError, match=r"no argument 'runs'; did you mean n_runs\?"):
        SampleOptions.of({"runs": 10})
    with pytest.raises(TypeError, match=r"no argument 'timeout'; did you mean timeout_s\?"):
        ConnectionOptions.of("emulator", {"timeout": 3})  # type: ignore[typeddict-unknown-key]


def test_what_has_a_form_is_answered_with_its_form():
    with pytest.raises(ModelError, match=r"key = 'ka0+' \(32 hexadecimal digits in lower case"):
        sample_request(NO_DIGEST, None, SampleOptions(key="ka" + "0" * 30))
    with pytest.raises(ModelError, match=r"job = '3f2a' .32 hexadecimal digits"):
        checked(CancelJob, job="3f2a")
    with pytest.raises(ModelError, match=r"digest = 'x' .sha256: and 64 hexadecimal digits"):
        checked(DropCouplings, digest="x")


def test_each_form_that_a_request_demands_has_words():
    def patterns(schema):
        inner = schema.values() if isinstance(schema, dict) else schema
        own = {schema["pattern"]} if isinstance(schema, dict) and "pattern" in schema else set()
        return own.union(*(patterns(x) for x in inner if isinstance(x, dict | list)))

    assert patterns(WaitJob.model_json_schema()) <= set(FORMS)
    for request in _descendants(Request):
        assert patterns(request.model_json_schema()) <= set(FORMS), request


def _descendants(cls):
    return {cls}.union(*map(_descendants, cls.__subclasses__()))
