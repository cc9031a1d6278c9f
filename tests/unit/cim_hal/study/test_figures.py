"""Figures in which a cliff may lie, and their thresholds."""

from __future__ import annotations

import pytest

from cim_hal.study.figures import FIGURES, check_figure

OF_SAMPLES = "a study with task = 'sample' has success_probability, r99, energy_gap"


@pytest.mark.parametrize(
    ("figure", "task", "threshold", "complaint"),
    [
        ("accuracy", "sample", 0.5, f"cliff.figure = 'accuracy': {OF_SAMPLES}"),
        ("gap", "sample", 0.5, f"cliff.figure = 'gap': {OF_SAMPLES}"),
        ("r99", "train", 5, "has accuracy, infeasibility, calls"),
        ("success_probability", "sample", 1, "success_probability is above 0 and below 1"),
        ("accuracy", "train", 0, "accuracy is above 0 and below 1"),
        ("r99", "sample", 1, "cliff.threshold = 1: one of r99 is above 1"),
        ("energy_gap", "sample", -1, "energy_gap is above 0"),
        ("calls", "train", 0, "calls is above 0"),
    ],
)
def test_a_cliff_takes_the_figures_of_its_task_and_thresholds_they_can_cross(
    figure, task, threshold, complaint
):
    with pytest.raises(ValueError, match=complaint):
        check_figure(figure, task, threshold)


def test_each_figure_has_thresholds():
    for name, figure in FIGURES.items():
        low, high = figure.range
        check_figure(name, figure.task, min(low + 0.5, high))
