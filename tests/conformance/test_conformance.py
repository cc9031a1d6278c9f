"""A sound machine passes; each way of being wrong is found by the check that is for it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cim_hal import (
    Capabilities,
    Driver,
    JobCancelledError,
    Reading,
    Readout,
    Telemetry,
    open_device,
    spawn_server,
)
from cim_hal.conformance import CHECKS, Cable, MachineUnderTest, conform

N = 24


class Sound(Driver):
    """Mean-field amplitudes on a linear ramp, as the how-to has them."""

    bits = 8

    def describe(self):
        return Capabilities(
            name="sound",
            max_spins=N,
            coupling_bits=self.bits,
            max_round_trips=200_000,
            max_runs=2_000,
            reports_amplitudes=True,
            reproducible=True,
            default_pump=(0.5, 1.5),
            default_round_trips=150,
        )

    def run(self, program, stop):
        J = self.couplings(program)
        J = J / max(1.0, np.abs(J).sum(axis=1).max())
        h = program.field / max(1.0, np.abs(program.field).max())
        start = np.random.default_rng(self.seed(program)).normal(size=(program.n_runs, len(J)))
        x = 1e-2 * start
        for number, pump in enumerate(program.schedule.sample()):
            if number % 50 == 0 and self.stops(stop):
                raise JobCancelledError("stopped")
            x += 0.1 * ((pump - 1 - x**2) * x + x @ J + 0.1 * h)
        return Readout(self.measured(x))

    def couplings(self, program):
        return program.dense_coupling().astype(float)

    def seed(self, program):
        return program.seed

    def stops(self, stop):
        return stop.is_set()

    def measured(self, x):
        return np.where(x == 0, 1e-9, x)


class WrongSign(Sound):
    def couplings(self, program):
        return -super().couplings(program)


class WrongPlaces(Sound):
    """Reads columns out one slot late."""

    def measured(self, x):
        return np.roll(super().measured(x), 1, axis=1) if x.shape[1] > 2 else super().measured(x)


class OverflowingLevels(Sound):
    """Keeps the largest levels in a register that is one bit too small."""

    def couplings(self, program):
        J = super().couplings(program)
        top = 2 ** (self.bits - 1) - 1
        return np.where(top == J, -top, J) if len(J) == 4 else J


class Stuck(Sound):
    def measured(self, x):
        x = super().measured(x)
        x[:, 0] = np.abs(x[:, 0])
        return x


class GuessingCim(Sound):
    def couplings(self, program):
        return 0 * super().couplings(program)


class Remembering(Sound):
    """Uploads couplings, and runs with those of the program before."""

    last = None

    def couplings(self, program):
        J = super().couplings(program)
        last = self.last if self.last is not None and len(self.last) == len(J) else J
        self.last = J
        return last


class Stale(Sound):
    """Reads the buffer out before it is filled, now and then."""

    buffer = None
    count = 0

    def measured(self, x):
        before, self.buffer, self.count = self.buffer, super().measured(x), self.count + 1
        is_late = before is not None and before.shape == x.shape and self.count % 3 == 0
        return before if is_late else self.buffer


class Reseeding(Sound):
    count = 0

    def seed(self, program):
        self.count += 1
        return program.seed + self.count


class Seedless(Sound):
    def seed(self, program):
        return 7


class Deaf(Sound):
    def stops(self, stop):
        time.sleep(0.02)
        return False


class WrongShape(Sound):
    def measured(self, x):
        return super().measured(x)[:, : max(x.shape[1] - 1, 1)]


class FewRuns(Sound):
    def measured(self, x):
        return super().measured(x)[:100]


class Infinite(Sound):
    def measured(self, x):
        return x * np.inf if len(x) == 1 else super().measured(x)


class Fickle(Sound):
    names = itertools.count()

    def status(self):
        reading = Reading(name=f"pump_{next(self.names)}", value=1.0, unit="mW")
        return Telemetry(readings=(reading,))

    def run(self, program, stop):
        stop.report(self.status())
        return super().run(program, stop)


class Delivering(Sound):
    """Delivers what `early` makes of each part."""

    def early(self, part):
        return part

    def run(self, program, stop):
        readout = super().run(program, stop)
        for part in np.array_split(readout.values, 4):
            if len(part):
                stop.deliver(self.early(part))
                time.sleep(0.1)
        return readout


class DeliveringOthers(Delivering):
    def early(self, part):
        return -part


class OnCable(Sound):
    """Cannot be reached while it is unplugged."""

    is_plugged = True

    def status(self):
        if not self.is_plugged:
            raise ConnectionResetError("the cable is out")
        return Telemetry(readings=(Reading(name="pump", value=1.0, unit="mW"),))

    def run(self, program, stop):
        self.status()
        return super().run(program, stop)


class Pretending(OnCable):
    """Goes on with what it last read."""

    def status(self):
        return Telemetry()


class NotComingBack(OnCable):
    def status(self):
        self.was_cut = not self.is_plugged or getattr(self, "was_cut", False)
        if self.was_cut:
            raise ConnectionResetError("the cable is out")
        return Telemetry(readings=(Reading(name="pump", value=1.0, unit="mW"),))


def verdicts(driver, *names):
    checks = [check for check in CHECKS if not names or check.name in names]
    cable = None
    if isinstance(driver, OnCable):
        plugged = partial(setattr, driver, "is_plugged")
        cable = Cable(lambda: plugged(False), lambda: plugged(True))
    with open_device(driver, timeout_s=1.0) as session:
        machine = MachineUnderTest(session, timeout_s=30.0, cancel_s=1.0, cable=cable)
        if isinstance(driver, NotComingBack):
            machine = replace(machine, timeout_s=2.0)
        return {each.name: each for each in conform(machine, checks)}


def test_a_machine_that_is_unplugged_and_comes_back_conforms():
    verdict = verdicts(OnCable(), "unplugging")["unplugging"]
    assert verdict.outcome == "passed", verdict.said
    assert "back after" in verdict.said


def test_runs_that_are_delivered_early_conform():
    verdict = verdicts(Delivering(), "deliveries")["deliveries"]
    assert verdict.outcome == "passed", verdict.said
    assert re.search(r"16 runs in \d parts", verdict.said)


def test_a_sound_machine_conforms():
    found = verdicts(Sound())
    assert {name for name, each in found.items() if each.outcome == "failed"} == set()
    skipped = {name for name, each in found.items() if each.outcome == "skipped"}
    assert skipped == {"traces", "settings", "telemetry", "deliveries", "unplugging"}
    assert found["ground-states"].said.startswith("found in ")


@pytest.mark.parametrize(
    ("driver", "check", "said"),
    [
        (WrongSign, "coupling-signs", "aligned in 0.0 %"),
        (WrongPlaces, "right-places", "agree in|obey their coupling"),
        (OverflowingLevels, "extreme-levels", r"with J = \+127"),
        (Stuck, "spins-are-free", r"spins \[0\] had one sign"),
        (GuessingCim, "ground-states", "ground state of problem 0"),
        (Remembering, "no-memory", "of the other sign than the last"),
        (Stale, "fresh-readouts", "job 2 of another model has the readout"),
        (Reseeding, "same-seed", "other samples"),
        (Seedless, "other-seeds", "four seeds"),
        (Deaf, "cancelling", "1 are allowed"),
        (WrongShape, "smallest-program", "has shape"),
        (FewRuns, "many-runs", "has shape"),
        (Infinite, "largest-program", "not finite"),
        (Fickle, "telemetry", "readings were"),
        (DeliveringOthers, "deliveries", "does not begin with the runs"),
        (Pretending, "unplugging", "with samples while the machine was unplugged"),
        (NotComingBack, "unplugging", "did not come back"),
    ],
)
def test_what_is_wrong_is_found(driver, check, said):
    verdict = verdicts(driver(), check)[check]
    assert verdict.outcome == "failed"
    assert re.search(said, verdict.said)


def test_a_field_that_is_not_applied_is_found():
    class Fieldless(Sound):
        def describe(self):
            return super().describe().model_copy(update={"has_field": True, "field_bits": 8})

        def run(self, program, stop):
            program.field.flags.writeable = True
            program.field[:] = 0
            return super().run(program, stop)

    assert verdicts(Fieldless(), "field-signs")["field-signs"].outcome == "failed"


def test_the_command_checks_a_machine_behind_a_server():
    command = [sys.executable, "-m", "cim_hal.cli", "conform"]
    with spawn_server("emulator-mean-field") as server:
        arguments = [server.endpoint, "--level", "basic", "--only", "refusals", "--json"]
        done = subprocess.run([*command, *arguments], capture_output=True, check=True, timeout=200)
    report = json.loads(done.stdout)
    assert report["conforms"]
    assert [each["name"] for each in report["verdicts"]] == ["refusals"]
