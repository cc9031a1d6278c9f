"""The table of the estimators' parameters that a command line can give."""

from __future__ import annotations

import inspect

import click
import numpy as np
import pytest
from click.testing import CliRunner

from qnn_train import QuantizedNetworkClassifier
from qnn_train.cli.estimator_options import ESTIMATOR_OPTIONS, estimator_of, training_options
from qnn_train.data.columns import Target

COLOURS = Target("y", "classification", np.array(["red", "blue"]), "text")
# given by the command in other ways: a machine, a bar, files, and the share kept apart
OF_COMMANDS = {"device", "callbacks", "verbose", "checkpoint", "init", "early_stopping"}


@click.command
@training_options
@click.pass_context
def options_of(context, **options):
    context.obj.update(options)


def given(*arguments):
    found = {}
    result = CliRunner().invoke(options_of, arguments, obj=found)
    assert result.exit_code == 0, result.output
    return found


def test_every_parameter_of_the_estimators_has_an_option():
    parameters = set(inspect.signature(QuantizedNetworkClassifier).parameters)
    assert set(ESTIMATOR_OPTIONS) | OF_COMMANDS == parameters
    assert not set(ESTIMATOR_OPTIONS) & OF_COMMANDS


def test_options_that_are_not_given_are_the_defaults():
    own = QuantizedNetworkClassifier(random_state=0).get_params()
    assert estimator_of(COLOURS, given()).get_params() == own


def test_values_are_those_of_python():
    texts = "--weights ternary,range(-2,1,2) --clip 0.5,1 --ladder 0.1,1 --setting coupling_gain=2"
    classes = "--class-weight red=2 --class-weight blue=0.5 --validation 0.2 --no-polish --runs 3"
    network = estimator_of(COLOURS, given(*texts.split(), *classes.split()))
    assert network.weights == ("ternary", "range(-2,1,2)")
    assert (network.clip, network.ladder) == ((0.5, 1.0), (0.1, 1.0))
    assert dict(network.settings) == {"field_weight": 1.0, "coupling_gain": 2.0}
    assert network.class_weight == {"red": 2.0, "blue": 0.5}
    assert network.early_stopping
    assert (network.validation_fraction, network.polish, network.n_runs) == (0.2, False, 3)
    balanced = estimator_of(COLOURS, given("--class-weight", "balanced"))
    assert balanced.class_weight == "balanced"


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(click.UsageError, match="CLASS=WEIGHT of blue, red"):
        estimator_of(COLOURS, given("--class-weight", "green=1"))


def test_a_class_that_counts_nothing_is_refused():
    with pytest.raises(click.UsageError, match="--class-weight red=0: "):
        estimator_of(COLOURS, given("--class-weight", "red=0"))
