from __future__ import annotations

from cim_hal.protocol.couplings.store import LruStore


def test_the_store_drops_the_least_recently_used_and_keeps_the_newest():
    store = LruStore(10)
    for name in "abc":
        store.put(name, name.upper(), 4)
    assert store.get("a") is None
    assert store.get("b") == "B"
    store.put("d", "D", 4)
    assert store.get("c") is None
    assert store.get("b") == "B"
    store.put("e", "E", 100)
    assert len(store) == 1
    assert store.get("e") == "E"


def test_what_is_pinned_stays_and_what_is_not_goes_instead():
    store = LruStore(10, lambda key: key == "a")
    for name in "abc":
        store.put(name, name.upper(), 4)
    assert [key for key, _, _ in store.items()] == ["c", "a"]
    assert store.n_bytes == 8


def test_a_value_put_again_or_dropped_gives_back_its_bytes():
    store = LruStore(10)
    store.put("a", "A", 9)
    store.put("a", "B", 5)
    assert (store.n_bytes, store.get("a")) == (5, "B")
    assert store.drop("a") == 5
    assert store.drop("a") == store.n_bytes == 0
