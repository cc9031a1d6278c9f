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
        ("[factors]", "[[cliff]]\nfactor = 'adc.bits'\nthreshold = 1.0\n[factors]", "above 0 and"),
        (
            "[factors]",
            "[[cliff]]\nfactor = 'adc.bits'\nthreshold = inf\n[factors]",
            "finite number",
        ),
        ("[2, 8]", f"{list(range(1001))}", "at most 1000"),
        ('name = "bits"', 'name = "bits"\ntask = "trian"', "sample"),
        ("[study]", "[study", "is not TOML"),
        ("[[models.family]]", "[models]\nfiles = ['a', 'a']\n[[models.family]]", "stands twice"),
        ("[[models.family]]", '[models]\nfiles = ["\\u0000"]\n[[models.family]]', "files"),
        ("[[models.family]]", "[models]\nfiles = ['a', './a']\n[[models.family]]", "stands twice"),
        ("[factors]", "[machine]\nseeds = [1]\n[factors]", "two or more"),
        ("[factors]", "[machine]\nseeds = [1, 1]\n[factors]", "each once"),
        ("[factors]", "[machine]\nseeds = [1, 2]\nseed_setting = 'adc.bits'\n[factors]", "already"),
        ("[factors]", "[factors]\nmodel = 'all'", "factors.model"),
        ("[factors]", "[factors]\nmodel = ['sk-9']", "'sk-9': did you mean sk-8?"),
        ("[factors]", "[factors]\nmodel = []", "factors.model"),
        (
            "n = 8\n[factors]",
            "n = [8, 6]\n[factors]\nmodel = ['sk-6']",
            "sk-8 stands at no point",
        ),
        ("n = 8", "n = [8, 8]", "a size stands twice"),
        ("n = 8", "n = []", "family"),
        ("[[models.family]]", "[models]\ngroups = {a = ['b']}\n[[models.family]]", "not listed"),
        (
            "[[models.family]]",
            "[models]\nfiles = ['sk-8']\n[[models.family]]",
            "sk-8 names a family and files",
        ),
        ("[factors]", "[safe]\nat_least = 1.5\n[factors]", "safe.at_least"),
        ("[factors]", "[machine]\nsettings = {'adc.bits' = 3}\n[factors]", "a factor already"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(StudyError, match=complaint.replace("[", r"\[")):
        read_study(written(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [("runs = [4, 8]", "make runs a factor"), ("pump_end = [1, 1.0]", "a level stands twice")],
)
def test_levels_to_tune_are_refused_as_those_of_factors_are(tmp_path, levels, complaint):
    with pytest.raises(StudyError, match=complaint):
        read_study(written(tmp_path, f"{GOOD}[nuisance.levels]\n{levels}\n"))
