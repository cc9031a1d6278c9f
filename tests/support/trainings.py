"""Small trainings by both families of methods, and how far they came."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from qnn_train import Recipe, prepare
from qnn_train.training import Checkpoint, ProximalRecipe, TrainingRun

CALLS = 9
RECIPE = Recipe(train_samples=6, grid=2, iterations=CALLS, n_runs=4, batch=2)
SMALL = ProximalRecipe(sweeps=3, hidden=2, n_runs=4, round_trips=100, ladder=(0.1, 1.0))


def trained(problem, session, *, steps=None, resume=None):
    run = TrainingRun(problem, session, resume=resume)
    for step in run:
        if step.state.step == steps:
            break
    return run


def losses_of(run):
    return run.checkpoint().history.objective


def training(pair, session, recipe=RECIPE, *, resume=None, **options):
    return TrainingRun(prepare(replace(recipe, **options), pair), session, resume=resume)


def stopped_after(run, steps, path):
    for _ in islice(run, steps):
        pass
    run.checkpoint().save(path)
    return Checkpoint.load(path)
