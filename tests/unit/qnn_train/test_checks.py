"""Every parameter of recipes and estimators is checked before the first call of a machine."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
from quick_estimators import QUICK

from qnn_train import QuantizedNetworkClassifier, QuantizedNetworkRegressor
from qnn_train.cli.options import WEIGHTS
from qnn_train.errors import AssemblyError
from qnn_train.estimator.parameters import PARAMETERS
from qnn_train.network.codes import KINDS
from qnn_train.training import ProximalRecipe, Recipe
from qnn_train.training.checkpoint import fingerprint
from qnn_train.training.recipe import PROXIMAL_RECIPE, RECIPE

NAN, INF = float("nan"), float("inf")
NO_NUMBERS = ("2", None, [], {}, NAN, INF, -INF, 2.5, -1, 10**30, 1j, True, np.array([1, 2]))
NO_REALS = ("2", None, [], {}, NAN, INF, -INF, -1.0, 1e300, 1j, True, np.float64(NAN))
NO_WORDS = ("magic", "", None, 3, b"relu", ["relu"], np.nan)
NO_FLAGS = ("yes", None, 1, 0, [], NAN)
WRONG = {
    **dict.fromkeys(
        ("n_runs", "sweeps", "vote", "levels", "cut", "patience", "iterations", "grid",
         "starts", "tried", "shift", "seed", "bias_bits", "pretraining"), NO_NUMBERS,
    ),
    **dict.fromkeys(
        ("round_trips", "block_spins", "block_reads", "output_bias_bits", "coupling_bits",
         "annealed"),
        tuple(value for value in NO_NUMBERS if value is not None),
    ),
    **dict.fromkeys(
        ("validation", "validation_fraction", "tolerance", "clip_gain"), (*NO_REALS, 1.0)
    ),
    **dict.fromkeys(("clip", "bias_reach", "output_bias_reach"), (*NO_REALS, 0.0)),
    **dict.fromkeys(("early_stopping", "mirror", "pack", "polish", "verbose"), NO_FLAGS),
    **dict.fromkeys(("activation", "readout", "judge_by", "score", "oracle"), NO_WORDS),
    "lowering": ("magic", "", None, 3, b"max", ["max"], "quantile:2", NAN),
    "method": (None, 3, b"qcgd", []),
    "weights": ("heavy", "", "9bit", "range(1)", None, 3, (), ("binary", 3), [["binary"]], NAN),
    "first_weights": ("heavy", 3),
    "hidden": (-1, 2.5, "3", None, NAN, (0,), (3, -1), (2.5,), 5000, True, {}),
    "ladder": ((), (0.1, 0.0), (NAN,), ("a",), 0.1, None, "0.1", (INF,), {1: 2}),
    "width": ((1.0,), (1.0, 0.0), (NAN, 1.0), 1.0, None),
    "settings": ((("a", NAN),), (("a",),), ("ab", "cd"), ((3, 1.0),), 3),
    "device": (None, 3, [], object()),
    "callbacks": (3, [3], "x", print),
    "class_weight": ("alike", 3, [1, 2], {0: NAN}, {0: -1}, {0: INF}, {0: 0}, {0: "1"}),
    "checkpoint": (3, "/nosuch/folder/x.npz", "/", b""),
    "init": (3, "/nosuch/model.npz", "/", b""),
    "random_state": ("x", 2.5, -1, NAN, []),
    "batch": (None, NAN, "5", 2.5, (5,), (0, 3)),
    "train_samples": ("5", NAN, 0, -3, 2.5),
}  # fmt: skip


def _cases(names):
    return [(name, value) for name in sorted(names) for value in WRONG[name]]


def test_every_parameter_has_a_check():
    for kind in (QuantizedNetworkClassifier, QuantizedNetworkRegressor):
        assert set(inspect.signature(kind).parameters) == set(PARAMETERS)
    assert {field.name for field in fields(Recipe)} == set(RECIPE)
    assert {field.name for field in fields(ProximalRecipe)} == set(PROXIMAL_RECIPE)


@pytest.mark.parametrize(("name", "value"), _cases(PARAMETERS))
def test_an_estimator_refuses_before_the_machine_is_opened(name, value):
    X = np.random.default_rng(0).normal(size=(20, 3))
    opened = []
    wrong = QuantizedNetworkClassifier(
        **QUICK | {"device": "no_such_module:make", "callbacks": [opened.append]} | {name: value}
    )
    with pytest.raises(ValueError, match=name) as caught:
        wrong.fit(X, X[:, 0] > 0)
    assert not opened
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("kind", "checks"), [(Recipe, RECIPE), (ProximalRecipe, PROXIMAL_RECIPE)])
def test_a_recipe_refuses_when_it_is_made(kind, checks):
    defaults = {field.name: field.default for field in fields(kind)}
    for name, value in _cases(checks):
        if value is None and defaults[name] is None:
            continue
        with pytest.raises(AssemblyError, match=name):
            kind(**{name: value})


def test_numbers_of_numpy_are_those_of_python():
    plain = ProximalRecipe(n_runs=4, clip=8.0, hidden=(3,), mirror=True, ladder=(0.5,))
    numpy = ProximalRecipe(
        n_runs=np.int64(4),
        clip=np.float32(8.0),
        hidden=[np.int32(3)],
        mirror=np.True_,
        ladder=np.array([0.5]),
    )
    assert numpy == plain
    assert repr(numpy) == repr(plain)
    assert fingerprint(numpy) == fingerprint(plain)
    assert fingerprint({"n": np.int64(4)}) == fingerprint({"n": 4})


def test_the_help_names_every_code_of_weights():
    assert WEIGHTS == KINDS + "."
