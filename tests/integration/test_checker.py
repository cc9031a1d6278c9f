"""Cassettes held against servers: the same, changed, another one."""

from __future__ import annotations

from cassettes import checked
from cim_machines import Annealer, Exhaustive

from cim_hal.cassette import read_cassette


def test_a_server_that_has_not_changed_passes_the_check(cassette, serving):
    path, _ = cassette
    with serving(Annealer()) as endpoint:
        first, second = (checked(read_cassette(path), endpoint) for _ in range(2))
    assert not first.differences
    assert not second.differences
    assert first.compared >= 6
    assert not first.skipped
    assert second.skipped  # the couplings are there: their chunks need not be sent


class Stubborn(Annealer):
    """An annealer that has become another machine."""

    def run(self, program, stop):
        readout = super().run(program, stop)
        readout.values[0] = -readout.values[0]
        return readout


def test_a_machine_that_answers_otherwise_fails_the_check_with_the_place(cassette, serving):
    with serving(Stubborn()) as endpoint:
        outcome = checked(read_cassette(cassette[0]), endpoint)
    assert {each.request for each in outcome.differences} == {"job.wait"}
    spins, amplitudes = outcome.differences
    assert spins.path == "buffers.0"
    assert amplitudes.path == "buffers.1"
    assert amplitudes.live == "12 of them differ"


def test_another_machine_fails_the_check(cassette, serving):
    with serving(Exhaustive()) as endpoint:
        outcome = checked(read_cassette(cassette[0]), endpoint)
    assert outcome.differences[0].request == "hello"
    assert "capabilities.name" in {each.path for each in outcome.differences}


def test_a_check_that_fails_ends_with_1_and_shows_a_table(cassette, serving, run):
    with serving(Stubborn()) as endpoint:
        status, out, _ = run("check", str(cassette[0]), endpoint)
        assert status == 1
        assert "job.wait" in out
