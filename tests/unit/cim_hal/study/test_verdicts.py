"""Verdicts from rows whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cim_hal import Capabilities
from cim_hal.study.rows import Row
from cim_hal.study.verdicts import Difference, holm, references_of, verdicts


def row(level: float, model: int, successes: int, runs: int = 64) -> Row:
    return Row(
        *({"noise": level}, f"m{model}", "", 8, 0, 1, "machine", runs, successes, -1.0),
        *("enumerated", -1.0, -1.0, 0.0, 1, 0.0, 0.0, "", ""),
    )


def rows(shares: dict[float, float], rng: np.random.Generator, n_models: int = 20) -> list[Row]:
    hardness = rng.normal(0, 0.1, n_models)
    return [
        row(level, k, rng.binomial(64, np.clip(p + hardness[k], 0.01, 0.99)))
        for level, p in shares.items()
        for k in range(n_models)
    ]


def test_a_loss_is_told_and_equality_is_not_the_lack_of_a_loss():
    rng = np.random.default_rng(1)
    found = {
        each["level"]: each
        for each in verdicts(rows({0: 0.6, 1: 0.6, 2: 0.3}, rng, 80), {"noise": 0})
    }
    assert found[2]["degrades"]
    assert found[1]["equal"]
    assert not found[1]["degrades"]
    few = verdicts(rows({0: 0.6, 1: 0.6}, rng, n_models=3), {"noise": 0})
    assert [each["verdict"].split(":")[1].split(",")[0] for each in few] == [" undecided"]


def test_levels_are_compared_at_the_same_levels_of_the_others():
    """A cliff adds levels at some levels of the others, and jobs differ in number."""
    shares = {(0, 2): 10, (0, 8): 60, (1, 2): 10, (1, 8): 60, (1, 5): 50}
    found = [
        replace(row(noise, k, hits), factors={"noise": noise, "bits": bits}, batch=batch)
        for (noise, bits), hits in shares.items()
        for k in range(12)
        for batch in range(3 if (noise, bits) == (1, 8) else 1)
    ]
    lost = {
        (each["factor"], each["level"]): each["lost"]
        for each in verdicts(found, {"noise": 0, "bits": 8})
    }
    expected = {("noise", 1): 0.0, ("bits", 2): 50 / 64, ("bits", 5): 10 / 64}
    assert lost == pytest.approx(expected)


@pytest.mark.parametrize(
    ("runs", "hits", "verdict"),
    [(4, 4, "undecided"), (4, 3, "undecided"), (64, 64, "undecided"), (64, 0, "degrades")],
)
def test_models_that_all_lose_the_same_show_nothing_in_few_runs(runs, hits, verdict):
    found = [row(0, k, runs, runs) for k in range(12)] + [row(1, k, hits, runs) for k in range(12)]
    few = found if runs == 64 else [each for each in found if each.model in {"m0", "m1", "m2"}]
    (said,) = verdicts(few, {"noise": 0})
    assert verdict in said["verdict"].split(": ")[1]


@pytest.mark.parametrize(
    ("others", "says"),
    [(0, "success probability degrades"), (2, "undecided after Holm's correction")],
)
def test_an_interval_without_zero_is_beside_undecided_only_after_the_correction(others, says):
    lost = {0: (0, 0), 1: (17, -3)} | dict.fromkeys(range(2, 2 + others), (0, 0))
    found = [row(x, k, 40 - n[k % 2]) for x, n in lost.items() for k in range(12)]
    said = verdicts(found, {"noise": 0})[0]
    assert said["low"] > 0
    assert said["verdict"].startswith(f"noise = 1 against 0: {says}, 10.9 points lost [")


def test_a_small_loss_of_a_training_is_told_with_its_bound():
    found = [row(level, k, 32 - (1 + k % 2) * level) for level in (0, 1) for k in range(40)]
    (said,) = verdicts(found, {"noise": 0}, figure="accuracy")
    assert said["verdict"].split(": ")[1].startswith("accuracy degrades by less than 5 points, 2.3")


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "kind"), [(0.0, "degrades"), (0.0, "improves"), (0.05, "equal")])
def test_wrong_verdicts_are_as_rare_as_they_say_in_all_of_a_study(lost, kind):
    rng, n_studies, wrong = np.random.default_rng(2), 1000, 0
    for _ in range(n_studies):
        shares = {0: 0.5, **dict.fromkeys(range(1, 5), 0.5 - lost)}
        wrong += any(each[kind] for each in verdicts(rows(shares, rng), {"noise": 0}))
    assert wrong / n_studies < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n_studies)


@pytest.mark.slow
@pytest.mark.parametrize("n_machines", [3, 10])
def test_losses_that_differ_by_machine_are_rarely_taken_for_those_of_all(n_machines):
    rng, n_studies, wrong = np.random.default_rng(3), 1000, 0
    for _ in range(n_studies):
        hardness = rng.normal(0, 0.1, 10)
        of_machines = rng.normal(0, 0.1, (3, n_machines)) * [[0], [1], [1]]
        found = [
            replace(
                row(level, k, rng.binomial(64, 0.5 + np.clip(hardness[k] + effect, -0.4, 0.4))),
                factors={"noise": level, "seed": number},
            )
            for level in range(3)
            for k in range(10)
            for number, effect in enumerate(of_machines[level])
        ]
        said = verdicts(found, {"noise": 0}, machine="seed")
        wrong += any(each["degrades"] for each in said)
    assert wrong / n_studies < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n_studies)


def test_the_reference_is_the_default_or_most_bits_and_not_the_best():
    capabilities = Capabilities(
        name="machine",
        max_spins=8,
        coupling_bits=8,
        settings=[{"name": "noise", "default": 1.0, "low": 0.0, "high": 9.0}],
    )
    factors = {"coupling_bits": [2, 8, 4], "noise": [0, 1.0, 3], "gain": [3, 1]}
    expected = {"coupling_bits": 8, "noise": 1.0, "gain": 3}
    assert references_of(factors, capabilities) == expected


def test_pairs_that_all_differ_alike_are_as_uncertain_as_their_runs():
    counts = (np.full(5, 32), np.full(5, 64))
    alike = Difference.of(np.full(5, 0.1), 0.05, counts, counts)
    assert alike.ends(0.95) == pytest.approx((0.1 - 2.776 * 0.05, 0.1 + 2.776 * 0.05), abs=1e-4)
    alone = Difference.of(np.array([0.1]), 0.05, counts, counts)
    assert not alone.is_above(0)(0.49)


def test_models_that_never_fail_do_not_show_that_none_loses():
    """A model in twenty loses all: most sets of twelve have none, and are all at 64 of 64."""
    said = {
        n: verdicts([row(level, k, 64) for level in (0, 1) for k in range(n)], {"noise": 0})[0]
        for n in (12, 100)
    }
    assert said[12]["high"] == pytest.approx(1 - 0.025 ** (1 / 12))
    assert [said[n]["equal"] for n in said] == [False, True]


@pytest.mark.parametrize(("second", "n_rejected"), [(0.2, 0), (0.009, 4)])
def test_holms_procedure_goes_on_with_what_is_left(second, n_rejected):
    p_values = [0.011, second, 0.013, 0.012, 0.6]  # .011 > .05/5; .009 < .05/5, .011 < .05/4, ...
    assert sum(holm([lambda rate, p=p: p <= rate for p in p_values], 0.05)) == n_rejected
