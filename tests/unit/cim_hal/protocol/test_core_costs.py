"""What the thread that answers has to do does not grow with what a server keeps.

Instructions of the interpreter are counted, not seconds: a look at all jobs or couplings shows as
thousands of them, on any machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from cim_wire import (
    CAPABILITIES,
    CONTENT,
    PAYLOAD,
    REF,
    SteppedCore,
    done,
    measured,
    replies,
    runs,
)

from cim_hal.machine.telemetry import Calibration, Telemetry
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Lower
from cim_hal.protocol.jobs.table import IdempotencyRules
from cim_hal.protocol.wire.messages import (
    AckJob,
    AskMetrics,
    AskStatus,
    BeginCouplings,
    Bye,
    CancelJob,
    CommitCouplings,
    CouplingRef,
    DropCouplings,
    FetchHistory,
    FetchResult,
    ListCalibrations,
    ListCouplings,
    ListJobs,
    WaitJob,
)

if TYPE_CHECKING:
    from types import FrameType

    from cim_hal.protocol.couplings.content import LoweredCouplings

LOWERED = lower_encoded(CONTENT, REF, CAPABILITIES)
FEW, MANY = 600, 3000  # a list of jobs looks at 512


def steps(function: Callable[[], object]) -> int:
    """Return how many instructions of Python a call takes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> object:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


steps(lambda: None)  # CPython 3.12 counts from the second call on


def ref(number: int) -> CouplingRef:
    return CouplingRef(digest=f"sha256:{number:064x}")


class Full:
    """A server that keeps `n` of everything, with a machine that runs a job."""

    def __init__(self, n: int) -> None:
        rules = IdempotencyRules(kept_s=1e9)
        bounds = {"kept_jobs": 10**6, "cache_entries": 10**6, "cache_bytes": 10**12}
        bounds |= {"user_waits": 10**6, "user_queue_length": 10**6, "queue_length": 10**6}
        self.bench = bench = SteppedCore(
            keys=rules, session_s=1e9, wait_s=1e6, result_s=1e8, **bounds
        )
        bench.load(session := bench.hello())
        self.session, self.n = session, n
        store = bench.core._state.couplings
        for number in range(n):
            store.keep(ref(number), LOWERED, {bench.user.name})
        for key in range(1, n + 1):
            job = done(bench, session, key, keep=True)
            if key % 20 == 0:
                bench.ask(AckJob(job=job), session)
        (run,) = runs(bench.sample(session, n + 1))
        self.running, self.program = run.job, run.program
        for _ in range(n):
            bench.send(WaitJob(job=self.running, timeout_s=1e5), session)
        for number in range(min(n, 1000)):
            record = Calibration(valid_s=1e6, facts={"number": number})
            bench.core.instruments.restore(record, 0.0, 0.0)
        for number in range(n):
            bench.core.instruments.heard(Telemetry(readings=(), taken_at=float(number)), 0.0)
        self.queued = [self.queue(n + 2 + number) for number in range(n // 10)]
        self.key = 10 * n

    def queue(self, key: int) -> str:
        (told,) = replies(self.bench.sample(self.session, key, keep=True))
        return told.job

    def ask(self, body: object) -> object:
        return self.bench.send(body, self.session)

    def new_key(self) -> int:
        self.key += 1
        return self.key


def load_another(full: Full) -> None:
    coupling = CouplingRef(digest=REF.digest, gauge_seed=full.new_key())
    (task,) = full.ask(BeginCouplings(coupling=coupling, spec=PAYLOAD.spec))
    assert isinstance(task, Lower)
    lowered: LoweredCouplings = LOWERED
    full.bench.core.lowered(task, lowered, full.bench.now)


def upload(full: Full) -> None:
    coupling = ref(full.new_key())
    (opened,) = replies(full.ask(BeginCouplings(coupling=coupling, spec=PAYLOAD.spec)))
    store = full.bench.core._state.couplings
    store.uploads.get(full.bench.user.name, opened.upload, 0.0).received = len(PAYLOAD.data)
    (task,) = full.ask(CommitCouplings(upload=opened.upload))
    full.bench.core.lowered(task, LOWERED, full.bench.now)


def end_and_start(full: Full) -> None:
    outcome = measured(full.program)
    (run,) = runs(full.bench.core.finish(full.running, outcome, full.bench.now))
    full.running, full.program = run.job, run.program


OPERATIONS = {
    "list couplings": lambda full: full.ask(ListCouplings()),
    "list couplings further on": lambda full: full.ask(ListCouplings(first=full.n // 2)),
    "load what is there": lambda full: full.ask(
        BeginCouplings(coupling=ref(full.n // 2), spec=PAYLOAD.spec)
    ),
    "load with another gauge": load_another,
    "upload": upload,
    "drop": lambda full: full.ask(DropCouplings(digest=ref(full.n // 3).digest)),
    "list jobs": lambda full: full.ask(ListJobs()),
    "list jobs of which there are none": lambda full: full.ask(ListJobs(states=("failed",))),
    "list one job": lambda full: full.ask(ListJobs(job=full.running)),
    "submit": lambda full: full.bench.sample(full.session, full.new_key()),
    "submit again": lambda full: full.bench.sample(full.session, full.n // 2),
    "wait": lambda full: full.ask(WaitJob(job=full.running, timeout_s=5.0)),
    "wait for news": lambda full: full.ask(WaitJob(job=full.running, timeout_s=5.0, events=True)),
    "deliver": lambda full: full.bench.core.deliver(full.running, measured(full.program), 0.0),
    "fetch": lambda full: full.ask(FetchResult(job=full.queued[0])),
    "cancel": lambda full: full.ask(CancelJob(job=full.queued[-1])),
    "status": lambda full: full.ask(AskStatus()),
    "metrics": lambda full: full.ask(AskMetrics()),
    "history": lambda full: full.ask(FetchHistory(after=full.n - 50)),
    "list calibrations": lambda full: full.ask(ListCalibrations(first=300)),
    "tick": lambda full: full.bench.core.tick(full.bench.now),
    "open and end a session": lambda full: full.bench.send(Bye(), full.bench.hello()),
}


@pytest.fixture(scope="module")
def servers() -> tuple[Full, Full]:
    return Full(FEW), Full(MANY)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_request_costs_the_same_however_much_there_is(servers, name):
    few, many = (steps(lambda full=full: OPERATIONS[name](full)) for full in servers)
    assert many < 1.3 * few + 300, f"{few} instructions with {FEW}, {many} with {MANY}"


def test_an_end_costs_what_is_told_and_no_more():
    """Each wait is told of the end of its job; the next one has none, and many jobs wait."""
    full = Full(FEW)
    end_and_start(full)
    few = steps(lambda: end_and_start(full))
    other = Full(MANY)
    end_and_start(other)
    assert steps(lambda: end_and_start(other)) < 1.3 * few + 300
