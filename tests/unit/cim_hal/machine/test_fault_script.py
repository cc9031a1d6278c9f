"""When a fault strikes, and what a script may say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import TargetError
from cim_hal.machine.fault_script import MAX_FILE_BYTES, NEEDS, TAKES, Fault, FaultScript

EXAMPLE = """
seed = 7

[[fault]]
kind = "lost_lock"
jobs = [3, 7]
at = 0.5

[[fault]]
kind = "slow"
every = 5
seconds = 30

[[fault]]
kind = "nan"
probability = 0.02
"""
JOBS = range(1, 61)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "faults.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def struck(script: FaultScript, jobs=JOBS) -> set[int]:
    return {job for job in jobs if script.fault_in(job)}


def drawn(probability: float, seed: int, jobs=JOBS) -> set[int]:
    fault = Fault(kind="nan", probability=probability)
    return struck(FaultScript(seed=seed, faults=(fault,)), jobs)


certain = st.one_of(
    st.builds(lambda jobs: {"jobs": tuple(jobs)}, st.lists(st.integers(1, 70), min_size=1)),
    st.builds(lambda every: {"every": every}, st.integers(1, 70)),
)
faults = st.builds(
    lambda kind, when: Fault(kind=kind, **when),
    st.sampled_from(["lost_lock", "hang", "nan"]),
    certain,
)


def test_a_script_is_what_its_file_says(write):
    script = FaultScript.read(write(EXAMPLE))
    assert script == FaultScript(
        seed=7,
        faults=(
            Fault(kind="lost_lock", jobs=(3, 7), at=0.5),
            Fault(kind="slow", every=5, seconds=30.0),
            Fault(kind="nan", probability=0.02),
        ),
    )
    assert script.summary == "lost_lock, slow, nan; seed 7"


@given(script=st.lists(faults, min_size=1, max_size=4).map(tuple))
def test_a_script_strikes_the_jobs_it_names_and_no_other(script):
    for job in JOBS:
        named = [
            fault
            for fault in script
            if (fault.jobs and job in fault.jobs) or (fault.every and job % fault.every == 0)
        ]
        assert FaultScript(faults=script).fault_in(job) is (named[0] if named else None)


@given(
    probability=st.floats(0.0, 1.0, exclude_min=True),
    less=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**63 - 1),
)
def test_chance_is_a_function_of_the_seed_and_grows_with_the_probability(probability, less, seed):
    jobs = drawn(probability, seed)
    assert jobs == drawn(probability, seed)
    if probability * less > 0:
        assert drawn(probability * less, seed) <= jobs


def test_the_draws_of_a_seed_never_change():
    assert drawn(0.1, 7) == {18, 23, 40, 47, 54, 58}
    assert drawn(0.1, 8) != drawn(0.1, 7)


@pytest.mark.parametrize("probability", [0.02, 0.5])
def test_a_fault_strikes_as_often_as_its_probability_says(probability):
    n = 20_000
    count = len(drawn(probability, seed=3, jobs=range(1, n + 1)))
    assert abs(count - n * probability) < 4 * math.sqrt(n * probability * (1 - probability))


def test_a_certain_fault_strikes_every_job():
    assert drawn(1.0, seed=0) == set(JOBS)


def test_two_faults_of_one_script_strike_independently():
    half = Fault(kind="nan", probability=0.5)
    n = 4000
    second = FaultScript(seed=3, faults=(Fault(kind="hang", jobs=(n + 1,)), half))
    both = drawn(0.5, seed=3, jobs=range(1, n + 1)) & struck(second, range(1, n + 1))
    assert abs(len(both) - n / 4) < 4 * math.sqrt(n * 3 / 16)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "fault: Field required"),
        ("sed = 1\n" + EXAMPLE, "sed: there is no such key"),
        (EXAMPLE.replace("seed = 7", "seed = -7"), "seed: .*greater than or equal to 0"),
        (EXAMPLE.replace("seed = 7", "seed = 7.5"), "seed: .*valid integer"),
        (EXAMPLE.replace("[[fault]]", "[fault]", 1).partition("[[")[0], r"list \(a script has"),
        (EXAMPLE.replace("[[fault]]", "[[fault]", 1), r"not TOML: .* \(at line 4"),
        (EXAMPLE.replace("lost_lock", "lost_look"), r"\[\[fault\]\] number 1: kind: .*'lost_lock'"),
        (EXAMPLE.replace("[3, 7]", "[3, 0]"), r"number 1: jobs\[1\]: .*greater than or equal to 1"),
        (EXAMPLE.replace("[3, 7]", '["3"]'), r"number 1: jobs\[0\]: .*valid integer"),
        (EXAMPLE.replace("[3, 7]", "[]"), "number 1: jobs: .*at least 1"),
        (EXAMPLE.replace("[3, 7]", "3"), "number 1: jobs: .*valid list"),
        (EXAMPLE.replace("0.5", "1.5"), "number 1: at: .*less than or equal to 1"),
        (EXAMPLE.replace("every = 5", "evry = 5"), "number 2: evry: there is no such key"),
        (EXAMPLE.replace("every = 5", ""), "number 2: slow needs exactly one of jobs, every and"),
        (EXAMPLE.replace("every = 5", "every = 5\njobs = [1]"), "not jobs and every"),
        (EXAMPLE.replace("every = 5", "every = true"), "number 2: every: .*valid integer"),
        (EXAMPLE.replace("seconds = 30", ""), "number 2: slow needs seconds"),
        (EXAMPLE.replace("30", "inf"), "number 2: seconds: .*finite"),
        (EXAMPLE.replace("0.02", "0.0"), "number 3: probability: .*greater than 0"),
        (EXAMPLE + "at = 0.1", "number 3: nan takes no at"),
        ('[[fault]]\nkind = "cut_short"\njobs = [1]', "number 1: cut_short needs at"),
        ('[[fault]]\nkind = "no_description"\njobs = [1]', "it takes no jobs"),
        ("a = " + "[" * 20_000, "not TOML"),
        (b"\xff\xfe", "not TOML: .*utf-8"),
        ("#" * (MAX_FILE_BYTES + 1), "too large .*65536"),
    ],
)
def test_a_wrong_script_is_an_error_that_says_where_and_what_would_be_right(write, content, says):
    path = write(content)
    with pytest.raises(TargetError, match=says) as caught:
        FaultScript.read(path)
    assert str(path) in str(caught.value)


def test_what_is_not_a_file_is_an_error(tmp_path):
    with pytest.raises(TargetError, match="No such file"):
        FaultScript.read(tmp_path / "absent.toml")
    with pytest.raises(TargetError, match="is not a file"):
        FaultScript.read(tmp_path)


@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("name", ["at", "seconds"])
def test_a_kind_takes_what_the_table_says(kind, name):
    options = {} if kind == "no_description" else {"jobs": (1,)}
    options |= {NEEDS[kind]: 0.5} if kind in NEEDS else {}
    if name in TAKES[kind]:
        assert getattr(Fault(kind=kind, **options | {name: 0.5}), name) == 0.5
    else:
        with pytest.raises(ValueError, match=f"{kind} takes no {name}"):
            Fault(kind=kind, **options | {name: 0.5})
