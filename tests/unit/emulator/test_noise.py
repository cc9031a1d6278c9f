"""Noise: the published generator, the normal law, and no memory of how it was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from emulator.noise import Draw, NoiseKey, fill_two_noises, normals, threefry


@njit
def _words(key0, key1, x0, x1):
    return threefry(key0, key1, x0, x1)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_generator_gives_the_known_answers_of_random123(key, counter, expected):
    words = _words(*(np.uint32(word) for word in (*key, *counter)))
    assert tuple(int(word) for word in words) == expected


def test_seeds_of_64_bits_keep_all_their_bits():
    key = NoiseKey.from_seed(0x0123456789ABCDEF)
    assert (int(key.low), int(key.high)) == (0x89ABCDEF, 0x01234567)


def test_moments_are_those_of_a_normal_law():
    w = normals(5, round_trip=3, n_spins=1000, n_runs=1000).astype(np.float64).ravel()
    # standard errors of the first four moments of a normal law: 1, 2, 15, 96 over n
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(w**power) == pytest.approx(expected, abs=4 * np.sqrt(variance / w.size))


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_values_follow_the_normal_law(seed):
    w = normals(seed, round_trip=1, n_spins=300, n_runs=300).ravel()
    assert stats.kstest(w, "norm").pvalue > 1e-3


def test_tails_beyond_four_deviations_occur_as_often_as_they_should():
    w = normals(9, round_trip=1, n_spins=2000, n_runs=2000).ravel()
    expected = 2 * stats.norm.sf(4) * w.size
    assert np.sum(np.abs(w) > 4) == pytest.approx(expected, abs=4 * np.sqrt(expected))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_neighbours_in_every_coordinate_are_uncorrelated():
    shape = {"n_spins": 400, "n_runs": 400}
    w = normals(1, round_trip=7, **shape)
    pairs = {
        "spin": (w[:-1], w[1:]),
        "pair": (w[:-2], w[2:]),
        "run": (w[:, :-1], w[:, 1:]),
        "round trip": (w, normals(1, round_trip=8, **shape)),
        "seed": (w, normals(2, round_trip=7, **shape)),
        "high word of the seed": (w, normals(1 + 2**32, round_trip=7, **shape)),
    }
    for name, (one, other) in pairs.items():
        assert abs(correlation(one, other)) < 4 / np.sqrt(one.size), name
        assert abs(correlation(one**2, other**2)) < 4 / np.sqrt(one.size), name


def test_a_value_depends_on_nothing_but_its_coordinates():
    whole = normals(3, round_trip=2, n_spins=31, n_runs=100)
    part = normals(3, round_trip=2, n_spins=7, n_runs=13, first_run=50)
    np.testing.assert_array_equal(part, whole[:7, 50:63])


def test_the_far_corner_of_the_counter_is_a_fresh_value():
    last = normals(3, round_trip=2, n_spins=2, n_runs=1, first_run=2**16 - 1)
    first = normals(3, round_trip=2, n_spins=2, n_runs=1)
    assert (last != first).all()


def words_beyond(seed: int = 3, **place: int) -> np.ndarray:
    return normals(seed, round_trip=2, **place)


@pytest.mark.parametrize("first_run", [0, 2**16 - 40, 2**16, 2**20 + 7, 2**31])
def test_runs_across_a_word_of_the_counter_are_those_of_each_part(first_run):
    whole = words_beyond(n_spins=5, n_runs=80, first_run=first_run)
    for start in (0, 39, 40, 41, 79):
        part = words_beyond(n_spins=5, n_runs=80 - start, first_run=first_run + start)
        np.testing.assert_array_equal(part, whole[:, start:])


def test_no_value_returns_beyond_the_words_of_runs_and_spins():
    # 2^16 runs and 2^17 spins fill a word
    runs = words_beyond(n_spins=4, n_runs=2**17 + 2)
    spins = words_beyond(n_spins=2**18 + 4, n_runs=2)
    for some in (runs, spins, words_beyond(n_spins=2, n_runs=200, first_run=2**24)):
        repeated = some.size - len(np.unique(some))
        # by chance: n^2 / 2 pairs, whose float32 are equal with probability about 2^-24
        assert repeated < some.size**2 / 2**23 + 10
    far = words_beyond(n_spins=4, n_runs=2**16, first_run=2**16)
    near = runs[:, : 2**16]
    for shift in range(4):
        assert abs(correlation(np.roll(near, shift, 0), far)) < 4 / np.sqrt(near.size)
    assert abs(correlation(spins[: 2**17], spins[2**17 : 2**18])) < 4 / 2**9
    assert stats.kstest(far.ravel()[:50_000], "norm").pvalue > 1e-3


def test_spins_of_two_amplitudes_beyond_a_word_do_not_borrow_from_the_next_step():
    now, later = np.empty((2, 2**18 + 8, 4))
    fill_two_noises(Draw.of_seed(3, round_trip=0), now)
    fill_two_noises(Draw.of_seed(3, round_trip=1), later)
    for k in range(4):
        part = now[k * 2**16 :][: 2**16]
        for other in (later[: 2**16], now[(k + 1) * 2**16 :][: 2**16]):
            assert abs(correlation(part[: len(other)], other)) < 4 / np.sqrt(other.size)


@pytest.mark.parametrize("place", [{"round_trip": 2**32}, {"round_trip": -1}])
def test_a_round_trip_without_a_counter_is_refused(place):
    with pytest.raises(ValueError, match="round_trip = "):
        normals(3, n_spins=2, n_runs=2, **place)
    with pytest.raises(ValueError, match="first_run = -1"):
        normals(3, round_trip=0, n_spins=2, n_runs=2, first_run=-1)
