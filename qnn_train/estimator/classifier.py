"""A quantized network that tells classes apart, with the conventions of scikit-learn."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from qnn_train.arrays import Array, ArrayLike, FloatArray
from qnn_train.estimator.base import QuantizedNetworkEstimator
from qnn_train.estimator.prediction_task import ClassificationTask
from qnn_train.estimator.samples import Samples
from qnn_train.model.integer import IntegerClassifier

__all__ = ["QuantizedNetworkClassifier"]


class QuantizedNetworkClassifier(ClassifierMixin, QuantizedNetworkEstimator):
    """A network of few-bit integers, trained with an Ising machine, for any real features.

    One output for two classes, or one for each of several. Features are standardized and rounded
    to a grid of integers, which is kept with the model. Trained by proximal block descent on the
    logistic or the softmax loss.

    Parameters
    ----------
    hidden : int or tuple of int
        Neurons of the hidden layer, or of each; 0 for none.
    activation : str
        hard_tanh, leaky_relu, relu, sigmoid, sign or tanh.
    weights : str or tuple of str
        Code of the weights, or of those of each layer: binary, ternary, 2bit to 8bit, see
        `weight_code`.
    clip : float or sequence of float
        Where the activation saturates, in spreads of a neuron's sum under random weights. Starts
        take those of a sequence in turn; the smaller, the more a network bends.
    clip_gain : float
        By which share the loss must be less with a clip than with those before it to be taken,
        where no samples are kept apart to tell.
    bias_bits : int
        Bits of each bias of the hidden layer; 0 for none.
    bias_reach : float
        The largest hidden bias, in the same spreads.
    output_bias_bits : int or None
        Bits of each bias of the last layer; None for 5.
    output_bias_reach : float
        The largest bias of the last layer, in units of where the activation saturates.
    levels, cut : int
        Of the features: steps a standard deviation, and deviations beyond which all is the same.
    device : str, path, MachineConfig, Driver, Session or DevicePool
        Any target of `open_device`, opened and closed by `fit`; sessions and pools stay open.
    oracle : {"machine", "descent", "annealing", "exact"}
        What minimizes: the device, or in its place a search on the host; the device is not opened
        then. See `DescentOracle`, `AnnealingOracle` and `ExactOracle`.
    polish : bool
        Whether samples of the machine end in one-flip descents on the host, see `PolishedOracle`.
    n_runs : int
        Runs of the machine a call, or searches on the host.
    round_trips : int or None
        Length of a run; None for what the machine recommends.
    settings : sequence of pairs (str, float)
        Settings of the machine and their values, used where it has them.
    coupling_bits : int or None
        Bits of a coupling; None for those of the machine.
    sweeps : int
        Visits of every block of parameters from one start, at most.
    starts : int
        Descents from different networks; the best network of all counts.
    pretraining : int
        Steps of a straight-through estimator, on this computer, that make the network each of them
        begins with; 0 for random networks. Not used with `init`.
    ladder : tuple of float
        Proximal weights; a call for each in every step.
    block_spins : int or None
        Largest block; None for 128, or more where a neuron needs it and the machine has it.
    block_reads : int or None
        The most inputs of a neuron in a block; None for all, or as many as a block holds.
    vote : int
        The best so many different networks at ends of sweeps add their margins; fewer where
        fewer were found. Their bits all count.
    early_stopping : bool
        Keep samples apart and judge networks on them, not on those that are trained on.
    validation_fraction : float
        Their share, drawn evenly from the classes.
    patience : int
        Sweeps without a better network that end a descent, after its first 12, in which batch
        and width change; 0 for none.
    tolerance : float
        By which share the loss must fall for a network to be better to `patience`, of a loss of
        0.1 where it is less. A loss below it ends the training.
    class_weight : mapping, "balanced" or None
        What each class counts, above 0, times the weights of samples; balanced classes count
        alike.
    init : IntegerClassifier, path or None
        A trained model of one network, or its file (ONNX too where `save_onnx` wrote it), where
        every start begins in the place of a random network. Its features are kept; labels,
        layers, codes and `levels` must agree. It counts among the networks found: on the samples
        that judge the outcome is never worse.
    callbacks : sequence of callables or None
        Each is given a `Progress` after every sweep, and ends the training by returning True.
    checkpoint : path or None
        A file to write after each sweep, and to go on from where it exists: the same network
        comes out as if there had been no stop, on a machine that repeats itself.
    verbose : bool
        Whether to print a line after every sweep.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : array
    n_features_in_ : int
    feature_names_in_ : array of str
        Where X had names.
    model_ : IntegerClassifier
    history_ : list of Progress
    found_ : list of SweepResult
        The network at the end of each sweep, that of `init` first.
    calls_ : int
        Calls of the machine, those before a checkpoint too.
    summary_ : NetworkSummary
    hardness_ : dict
        What one descent on the host solves of the problems, as in the reports of commands.
    n_votes_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> network = QuantizedNetworkClassifier(hidden=4, starts=1, n_runs=8, random_state=1)
    >>> network.fit(X, y).score(X, y) > 0.8
    True
    """

    @property
    def classes_(self) -> Array:
        """All labels, sorted."""
        return self._integers.classes

    def predict(self, X: ArrayLike) -> Array:
        """Return the label of each sample (n, n_features)."""
        samples = self._samples(X)  # refuses before fit
        return self._integers.predict(samples)

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the margins, whole numbers: (n,) for two classes, else (n, n_classes)."""
        samples = self._samples(X)  # refuses before fit
        return self._integers.margins(samples)

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probabilities that the training loss is of, (n, n_classes)."""
        samples = self._samples(X)  # refuses before fit
        return self._integers.predict_proba(samples)

    @property
    def _integers(self) -> IntegerClassifier:
        return cast("IntegerClassifier", self.model_)

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, Array]:
        samples, labels = self._validated(X, y)
        check_classification_targets(labels)
        return samples, labels

    def _task_of(self, samples: Samples) -> ClassificationTask:
        classes = np.unique(samples.answers)
        if len(classes) < 2:
            raise ValueError("there is only one class in y; a classifier needs two")
        return ClassificationTask(classes)

    def _classes_weighted(self, samples: Samples) -> Samples:
        if self.class_weight is None:
            return samples
        labels, places = np.unique(samples.answers, return_inverse=True)
        given = cast("Any", compute_class_weight)(
            self.class_weight, classes=labels, y=samples.answers, sample_weight=samples.weights
        )
        return samples.reweighted(given[places])

    def _answers(self, y: ArrayLike) -> Array:
        labels = column_or_1d(y)
        if not np.isin(labels, self.classes_).all():
            raise ValueError(f"y has labels other than {self.classes_}")
        return labels
