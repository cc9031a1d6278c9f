from __future__ import annotations

from collections import Counter

import pytest

from cim_hal.errors import ModelError
from cim_hal.testing import MessageFaults
from cim_hal.testing.message_faults import DeliveredCopy, FaultSampler

N = 20_000


def _thrown(seed=1, **faults):
    counts = Counter()
    sampler = FaultSampler(MessageFaults(**faults), [seed], counts)
    return [sampler.draw() for _ in range(N)], counts


def test_without_faults_every_message_arrives_once_at_once_and_in_order():
    thrown, counts = _thrown()
    assert all(copies == [DeliveredCopy(0.0, keeps_place=True)] for copies in thrown)
    assert counts == {"messages": N}


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        ("drop", "dropped"),
        ("duplicate", "duplicated"),
        ("delay", "delayed"),
        ("reorder", "reordered"),
    ],
)
def test_faults_strike_as_often_as_they_should(kind, counted):
    _, counts = _thrown(**{kind: 0.1})
    assert counts[counted] == pytest.approx(N * 0.1, abs=4 * (N * 0.1 * 0.9) ** 0.5)
    assert set(counts) == {"messages", counted}


def test_the_same_seed_gives_the_same_fates_and_another_seed_others():
    assert _thrown(drop=0.1, reorder=0.2) == _thrown(drop=0.1, reorder=0.2)
    assert _thrown(drop=0.1)[0] != _thrown(seed=2, drop=0.1)[0]


def test_one_probability_does_not_change_which_messages_another_strikes():
    alone, both = _thrown(drop=0.1)[0], _thrown(drop=0.1, duplicate=0.3, delay=0.2)[0]
    assert [copies == [] for copies in alone] == [copies == [] for copies in both]


def test_a_copy_may_be_late_without_the_other():
    thrown, _ = _thrown(duplicate=1.0, reorder=0.5, late_s=0.2)
    late = Counter(tuple(copy.late_s for copy in copies) for copies in thrown)
    for pair in ((0.0, 0.0), (0.2, 0.0), (0.0, 0.2), (0.2, 0.2)):
        assert late[pair] == pytest.approx(N / 4, abs=4 * (N * 3 / 16) ** 0.5)


@pytest.mark.parametrize("options", [{"drop": 1.1}, {"reorder": -0.1}, {"late_s": -1.0}])
def test_what_is_no_probability_or_time_is_refused(options):
    with pytest.raises(ModelError, match="must be"):
        MessageFaults(**options)
