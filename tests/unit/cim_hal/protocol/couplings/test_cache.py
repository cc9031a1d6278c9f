"""A cache of many users: bounds, and whose entries go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cim_hal.protocol.couplings.cache import CouplingCache
from cim_hal.protocol.wire.limits import Limits


def _cache(pinned=frozenset(), **limits: int) -> CouplingCache:
    return CouplingCache(Limits(**limits), pinned.__contains__)


def _put(cache: CouplingCache, key: str, user: str = "ann", size: int = 4) -> None:
    cache.put(key, key.upper(), size, [user])
    cache.make_room(key)


def _keys(cache: CouplingCache) -> list[str]:
    return [group.digest for group in cache.by_use()]


def test_the_least_recently_used_goes_first_and_the_newest_stays():
    cache = _cache(cache_bytes=1000, user_cache_bytes=10)
    for name in "abc":
        _put(cache, name)
    assert cache.get("a") is None
    assert cache.get("b") == "B"
    _put(cache, "d")
    assert _keys(cache) == ["d", "b"]
    _put(cache, "e", size=100)
    assert _keys(cache) == ["e"]


def test_what_is_pinned_stays_and_what_is_not_goes_instead():
    cache = _cache({"a"}, cache_bytes=1000, user_cache_bytes=10)
    for name in "abc":
        _put(cache, name)
    assert _keys(cache) == ["c", "a"]
    assert cache.n_bytes == 8


def test_a_value_put_again_or_dropped_gives_back_its_bytes():
    cache = _cache()
    _put(cache, "a", size=9)
    _put(cache, "a", size=5)
    assert cache.n_bytes == 5
    assert cache.drop("a") == 5
    assert cache.drop("a") == cache.n_bytes == 0


def test_a_flood_of_one_user_takes_nothing_from_another():
    cache = _cache(cache_entries=20)
    for name in ("x", "y"):
        _put(cache, name, "ben")
    for number in range(200):
        _put(cache, f"a{number}")
    assert {"x", "y"} <= set(_keys(cache))
    assert len(_keys(cache)) == 10 + 2


def test_where_all_have_too_much_the_user_with_most_loses_some():
    cache = _cache(cache_entries=6, user_cache_entries=5)
    for name in ("a1", "a2", "a3", "a4"):
        _put(cache, name, "ann")
    for name in ("b1", "b2", "b3"):
        _put(cache, name, "ben")
    assert set(_keys(cache)) == {"a2", "a3", "a4", "b1", "b2", "b3"}


def test_what_others_use_too_becomes_theirs_when_its_user_has_too_much():
    cache = _cache(cache_entries=100, user_cache_entries=2)
    _put(cache, "shared", "ann")
    assert cache.get("shared", "ben") == "SHARED"
    for name in ("a1", "a2", "a3"):
        _put(cache, name, "ann")
    assert cache.users("shared") == {"ben"}
    for name in ("b1", "b2"):
        _put(cache, name, "ben")
    assert _keys(cache) == ["b2", "b1", "a3", "a2"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "drop"]),
            st.sampled_from("ab"),
            st.integers(0, 12),
            st.integers(1, 9),
        ),
        max_size=80,
    )
)
def test_sums_and_bounds_hold_whatever_is_done(moves):
    pinned = {"k3", "k7"}
    cache = _cache(pinned, cache_bytes=40, cache_entries=8, user_cache_entries=5)
    for move, user, number, size in moves:
        key, before = f"k{number}", set(_keys(cache))
        if move == "put":
            _put(cache, key, user, size)
            assert before & pinned <= set(_keys(cache))
            loose = [name for name in _keys(cache) if name not in {*pinned, key}]
            assert len(loose) <= 8
            assert sum(cache.n_bytes_of(name) for name in loose) <= 40
        elif move == "get":
            cache.get(key, user)
        else:
            cache.drop(key)
        assert cache.n_bytes == sum(cache.n_bytes_of(name) for name in _keys(cache))
        assert cache.n_digests() == len(set(_keys(cache))) == len(_keys(cache))
