"""Options of the estimators: a table of all their parameters that a command line can give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.sample import parse_settings
from cim_hal.option_types import COUNT, MAX_COUNT, Real
from qnn_train.cli.options import ORACLE, POLISH, WEIGHTS, add_options, option, sizes, weights
from qnn_train.method_names import ORACLES
from qnn_train.network.spline import ACTIVATIONS

if TYPE_CHECKING:
    from qnn_train.data.columns import Target

__all__ = ["ESTIMATOR_OPTIONS", "estimator_of", "training_options"]

BITS = click.IntRange(0, 8)
REACH = Real(0, 1e6, above=True)
COMMA = re.compile(r",(?![^(]*\))")  # outside of brackets


def codes(text: str) -> str | tuple[str, ...]:
    """Parse the code of all weights, or of those of each layer."""
    first, *others = map(weights, COMMA.split(text))
    return (first, *others) if others else first


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers above 0, with commas."""
    return tuple(REACH.convert(part, None, None) for part in text.split(","))


OF_CLASSES = "What classes count: balanced, or CLASS=WEIGHT, repeatable."

# By the parameter of the estimators that they give; those not given are None or ().
ESTIMATOR_OPTIONS: Mapping[str, Any] = {
    "hidden": option("hidden", sizes, "Hidden neurons, of several layers as in 8,4; 0 for none."),
    "activation": option("activation", click.Choice(list(ACTIVATIONS)), "Of hidden neurons."),
    "weights": option("weights", codes, f"{WEIGHTS} Of each layer as in ternary,binary."),
    "clip": option(
        "clip",
        numbers,
        "Where the activation saturates, in spreads of a sum; of several, starts take one in turn.",
        metavar="R[,R...]",
    ),
    "clip_gain": option(
        "clip-gain", Real(0, 1, below=True), "Share of the loss that a later clip must gain."
    ),
    "bias_bits": option("bias-bits", BITS, "Bits of each bias of a hidden layer."),
    "bias_reach": option("bias-reach", REACH, "The largest of them, in the same spreads."),
    "output_bias_bits": option("output-bias-bits", BITS, "Bits of each bias of the last layer."),
    "output_bias_reach": option("output-bias-reach", REACH, "The largest of them, in clips."),
    "levels": option("levels", COUNT, "Steps of a feature a standard deviation."),
    "cut": option("cut", COUNT, "Deviations beyond which all values of a feature are the same."),
    "oracle": option("oracle", click.Choice(list(ORACLES)), ORACLE),
    "polish": click.option("--polish/--no-polish", default=None, help=POLISH),
    "n_runs": click.option(
        "--runs",
        "n_runs",
        type=COUNT,
        help="Runs of the machine in each call, or searches on the host.",
    ),
    "round_trips": option("round-trips", COUNT, "Of a run of the machine."),
    "settings": click.option(
        "--setting",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        callback=parse_settings,
        help="Of the machine, where it has it; besides those of the default. Repeatable.",
    ),
    "coupling_bits": option("coupling-bits", click.IntRange(1, 64), "Bits of a coupling."),
    "sweeps": option("sweeps", COUNT, "Visits of every block from one start, at most."),
    "starts": option("starts", COUNT, "Descents from different networks; the best counts."),
    "pretraining": option(
        "pretraining",
        click.IntRange(0, MAX_COUNT),
        "Steps of a straight-through estimator that make each of them; 0 for random ones.",
    ),
    "patience": option(
        "patience", click.IntRange(0, MAX_COUNT), "Sweeps without gain that end one; 0 for none."
    ),
    "tolerance": option("tolerance", Real(0, 1, below=True), "The share that is a gain."),
    "ladder": option("ladder", numbers, "Proximal weights.", metavar="R[,R...]"),
    "block_spins": option("block-spins", COUNT, "Largest block."),
    "block_reads": option("block-reads", COUNT, "The most inputs of a neuron in a block."),
    "vote": option("vote", click.IntRange(1, 1000), "Networks that answer together."),
    "validation_fraction": click.option(
        "--validation",
        "validation_fraction",
        type=Real(0, 1, above=True, below=True),
        help="Share kept apart to stop early by.",
    ),
    "class_weight": click.option("--class-weight", multiple=True, metavar="TEXT", help=OF_CLASSES),
    "random_state": click.option(
        "--seed",
        "random_state",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Of split, network and machine; the same gives the same result.",
    ),
}
training_options = add_options(*ESTIMATOR_OPTIONS.values())


def estimator_of(target: Target, options: dict[str, Any], **others: Any) -> Any:
    """Return the estimator for a column with the parameters that were given."""
    from qnn_train import QuantizedNetworkClassifier, QuantizedNetworkRegressor

    is_classes = target.task == "classification"
    kind = QuantizedNetworkClassifier if is_classes else QuantizedNetworkRegressor
    given = {name: options[name] for name in ESTIMATOR_OPTIONS if _is_given(options[name])}
    if "settings" in given:
        given["settings"] = tuple((dict(kind().settings) | given["settings"]).items())
    if "class_weight" in given:
        given["class_weight"] = _class_weight(given["class_weight"], target)
    if "validation_fraction" in given:
        given["early_stopping"] = True
    return kind(**given | others)


def _is_given(value: Any) -> bool:
    return value is not None and value not in ((), {})


def _class_weight(texts: Iterable[str], target: Target) -> str | dict[Any, float]:
    """Return weights by the labels of a column, which their texts name."""
    texts = tuple(texts)
    if texts == ("balanced",):
        return "balanced"
    labels = {str(label): label for label in target.classes.tolist()}
    found = {}
    for text in texts:
        name, _, weight = text.rpartition("=")
        if name not in labels:
            known = ", ".join(labels)
            raise click.UsageError(f"--class-weight {text}: balanced, or CLASS=WEIGHT of {known}")
        try:
            found[labels[name]] = Real(0, 1e300, above=True).convert(weight, None, None)
        except click.BadParameter as error:
            raise click.UsageError(f"--class-weight {text}: {error.message}") from None
    return found
