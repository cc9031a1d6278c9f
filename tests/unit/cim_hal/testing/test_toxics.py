from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from cim_hal.errors import ModelError
from cim_hal.testing import (
    Bandwidth,
    Latency,
    LimitData,
    ResetEvery,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
)
from cim_hal.testing.toxics import ConnectionCut, Link, Segment

DATA = bytes(range(256)) * 8


def _through(toxic, *sizes, seed=0):
    """What comes out of a toxic, when, and how the connection ended."""

    async def flow():
        loop, came, link = asyncio.get_running_loop(), [], Link(np.random.default_rng(seed))
        began = loop.time()

        async def forward(segment):
            came.append((loop.time() - began, segment.data))

        start = 0
        try:
            for number, size in enumerate(sizes, 1):
                await toxic.send(Segment(DATA[start : start + size], began, number), link, forward)
                start += size
            await toxic.close(link)
        except ConnectionCut as cut:
            return came, loop.time() - began, cut.reset
        return came, loop.time() - began, None

    return asyncio.run(asyncio.wait_for(flow(), 10.0))


@pytest.mark.parametrize(
    "toxic",
    [
        Latency(latency_s=0.01, jitter_s=0.01),
        Bandwidth(bytes_per_s=1e5),
        Slicer(average_size=7, size_variation=6),
        LimitData(n_bytes=10_000),
        ResetEvery(segments=4),
        SlowClose(delay_s=0.01),
    ],
)
def test_a_toxic_that_does_not_strike_keeps_every_byte_in_its_place(toxic):
    came, _, cut = _through(toxic, 1, 700, 300)
    assert b"".join(data for _, data in came) == DATA[:1001]
    assert cut is None


def test_segments_that_came_together_are_late_together():
    came, _, _ = _through(Latency(latency_s=0.1), *[1] * 20)
    assert came[0][0] >= 0.1
    assert came[-1][0] - came[0][0] < 1.0  # one after the other it would be 1.9 s


def test_a_bandwidth_is_not_exceeded():
    _, took_s, _ = _through(Bandwidth(bytes_per_s=10_000), 1000)
    assert took_s >= 0.1


def test_slices_have_the_sizes_asked_for():
    came, _, _ = _through(Slicer(average_size=20, size_variation=5), 1000)
    sizes = [len(data) for _, data in came]
    assert min(sizes[:-1]) == 15
    assert max(sizes) == 25


def test_a_limit_closes_after_its_last_byte():
    came, _, reset = _through(LimitData(n_bytes=130), 100, 100)
    assert b"".join(data for _, data in came) == DATA[:130]
    assert reset is False


def test_each_tenth_segment_is_lost_with_its_connection():
    came, _, reset = _through(ResetEvery(segments=10), *[1] * 12)
    assert len(came) == 9
    assert reset is True


def test_a_reset_comes_after_its_time_and_lets_nothing_through():
    came, took_s, reset = _through(ResetPeer(timeout_s=0.05), 5)
    assert came == []
    assert took_s >= 0.05
    assert reset is True


def test_a_black_hole_closes_after_its_time_or_never():
    came, took_s, reset = _through(Timeout(timeout_s=0.05), 5)
    assert (came, reset) == ([], False)
    assert took_s >= 0.05
    assert Timeout().timeout_s == math.inf


def test_the_end_of_a_stream_can_be_late():
    assert _through(SlowClose(delay_s=0.1), 5)[1] >= 0.1


@pytest.mark.parametrize(
    ("toxic", "options"),
    [
        (Latency, {"latency_s": -1}),
        (Latency, {"latency_s": math.nan}),
        (Bandwidth, {"bytes_per_s": 0}),
        (Slicer, {"average_size": 5, "size_variation": 5}),
        (Slicer, {"average_size": 5, "delay_s": -1}),
        (LimitData, {"n_bytes": -1}),
        (ResetEvery, {"segments": 0}),
        (ResetPeer, {"timeout_s": -1}),
        (SlowClose, {"delay_s": -1}),
        (Timeout, {"timeout_s": -1}),
    ],
)
def test_a_toxic_without_a_meaning_is_refused(toxic, options):
    with pytest.raises(ModelError, match="must be"):
        toxic(**options)
