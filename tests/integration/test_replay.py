"""Cassettes answer as the machine did, and say what they do not hold."""

from __future__ import annotations

import numpy as np
import pytest
from cassettes import sample

from cim_hal.cassette import ReplayServer, read_cassette
from cim_hal.errors import UnknownReferenceError


def test_a_cassette_answers_as_the_machine_did(cassette):
    path, samples = cassette
    with ReplayServer(read_cassette(path)) as replay:
        again = sample(replay.endpoint)
        once_more = sample(replay.endpoint)
    for each in (again, once_more):
        np.testing.assert_array_equal(each.spins, samples.spins)
        np.testing.assert_array_equal(each.amplitudes, samples.amplitudes)
        assert each.record == samples.record


def test_what_is_not_on_the_cassette_is_an_error_that_says_what_is_nearest(cassette):
    with (
        ReplayServer(read_cassette(cassette[0])) as replay,
        pytest.raises(
            UnknownReferenceError, match=r"no such sample request .*seed is 4, on the cassette 3"
        ),
    ):
        sample(replay.endpoint, seed=4)
