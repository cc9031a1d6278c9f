"""Study files: what they say, and what is refused before any work."""

from __future__ import annotations

import pytest

from cim_hal.errors import StudyError
from cim_hal.study.plan import read_study

GOOD = """
[study]
name = "bits"
[[models.family]]
kind = "sk"
n = 8
[factors]
coupling_bits = [2, 8]
adc.bits = [0, 4, 8]
"""


def written(tmp_path, text: str):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_points_are_all_combinations_in_the_order_of_the_file(tmp_path):
    study = read_study(written(tmp_path, GOOD))
    points = list(study.points())
    assert len(points) == 6
    assert points[1] == (("coupling_bits", 2), ("adc.bits", 4))


# either of the two names may be the misspelled one
NO_FACTOR = "cliff.factor: 'bits' is no factor; those of the file are coupling_bits, adc.bits"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"sk"', '"skk"', "did you mean sk"),
        ("[2, 8]", "[2, 2]", "a level stands twice"),
        ("[2, 8]", "[]", "at least 1"),
        ("[2, 8]", "[nan]", "coupling_bits[0] = nan: it should be a finite number"),
        ("[2, 8]", '["2"]', "coupling_bits"),
        ("[factors]\ncoupling_bits = [2, 8]\nadc.bits = [0, 4, 8]", "[factors]", "there are none"),
        ('[[models.family]]\nkind = "sk"\nn = 8', "[models]", "there are none"),
        ("n = 8", "n = 8\nm = 3", "no key 'm'"),
        ("[factors]", "[repeat]\nruns = 64\nmax_runs = 8\n[factors]", "less than runs"),
        ("[factors]", '[[cliff]]\nfactor = "bits"\nthreshold = 0.5\n[factors]', NO_FACTOR),
        ("[2, 8]", f"{list(range(1001))}", "at most 1000"),
        ('name = "bits"', 'name = "bits"\ntask = "trian"', "sample"),
        ("[study]", "[study", "is not TOML"),
        ("[[models.family]]", "[models]\nfiles = ['a', 'a']\n[[models.family]]", "stands twice"),
        ("[[models.family]]", '[models]\nfiles = ["\\u0000"]\n[[models.family]]', "files"),
        ("[[models.family]]", "[models]\nfiles = ['a', './a']\n[[models.family]]", "stands twice"),
        ("[factors]", "[machine]\nseeds = [1]\n[factors]", "two or more"),
        ("[factors]", "[machine]\nseeds = [1, 1]\n[factors]", "each once"),
        ("[factors]", "[machine]\nseeds = [1, 2]\nseed_setting = 'adc.bits'\n[factors]", "already"),
        ("[factors]", "[safe]\nat_least = 1.5\n[factors]", "safe.at_least"),
        ("[factors]", "[machine]\nsettings = {'adc.bits' = 3}\n[factors]", "a factor already"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(StudyError, match=complaint.replace("[", r"\[")):
        read_study(written(tmp_path, GOOD.replace(old, new)))


OF_SAMPLES = "a study with task = 'sample' has success_probability, r99, energy_gap"


@pytest.mark.parametrize(
    ("figure", "threshold", "complaint"),
    [
        ("accuracy", 0.5, f"cliff.figure = 'accuracy': {OF_SAMPLES}"),
        ("gap", 0.5, f"cliff.figure = 'gap': {OF_SAMPLES}"),
        ("success_probability", 1, "success_probability is above 0 and below 1"),
        ("r99", 1, "cliff.threshold = 1: one of r99 is above 1"),
        ("energy_gap", 0, "energy_gap is above 0"),
        ("r99", "inf", "finite number"),
    ],
)
def test_a_cliff_takes_the_figures_of_its_task_and_thresholds_they_can_cross(
    tmp_path, figure, threshold, complaint
):
    cliff = f"figure = '{figure}'\nthreshold = {threshold}"
    with pytest.raises(StudyError, match=complaint):
        read_study(written(tmp_path, f"{GOOD}[[cliff]]\nfactor = 'adc.bits'\n{cliff}\n"))


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [("runs = [4, 8]", "make runs a factor"), ("pump_end = [1, 1.0]", "a level stands twice")],
)
def test_levels_to_tune_are_refused_as_those_of_factors_are(tmp_path, levels, complaint):
    with pytest.raises(StudyError, match=complaint):
        read_study(written(tmp_path, f"{GOOD}[nuisance.levels]\n{levels}\n"))
