"""Study files: what they say, and what is refused before any work."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from cim_hal.errors import StudyError
from cim_hal.study.plan import Study, read_study
from cim_hal.toml_files import first_problem

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


A_CLIFF = "[[cliff]]\nfactor = 'adc.bits'\nthreshold = 0.5\n"
TWO_CLIFFS = f"{A_CLIFF}{A_CLIFF}figure = 'success_probability'\n[factors]"
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
        (
            "[factors]",
            "[repeat]\nwidth = 0.1\nmax_runs = 8\n[factors]",
            "max_runs = 8 is less than runs = 64",
        ),
        (
            "[factors]",
            "[repeat]\nwidth = 0.1\nmax_runs = 12\n[factors]\nruns = [4, 100]",
            "max_runs = 12 is less than runs = 100",
        ),
        ("[factors]", "[repeat]\nmax_runs = 80\n[factors]", "what a width asks for, and there is"),
        ("[factors]", "[machine]\nseed_setting = 's'\n[factors]", "and there are none"),
        (
            "[factors]\n",
            "[factors]\nmodel = ['each', 'sk-8']\n",
            "stands for sk-8: write it without a list",
        ),
        ("[factors]", '[[cliff]]\nfactor = "bits"\nthreshold = 0.5\n[factors]', NO_FACTOR),
        ("[factors]", "[[cliff]]\nfactor = 'adc.bits'\nthreshold = 1.0\n[factors]", "above 0 and"),
        (
            "[factors]",
            "[[cliff]]\nfactor = 'adc.bits'\nthreshold = inf\n[factors]",
            "finite number",
        ),
        ("[factors]", TWO_CLIFFS, "success_probability = 0.5 over adc.bits stands twice"),
        ("[factors]", f"{A_CLIFF}figure = ''\n[factors]", "cliff.figure = ''"),
        ("[2, 8]", f"{list(range(1001))}", "at most 1000"),
        ('name = "bits"', 'name = "bits"\ntask = "trian"', "sample"),
        ("[study]", "[study", "is not TOML"),
        ("[[models.family]]", "[models]\nfiles = ['a', 'a']\n[[models.family]]", "stands twice"),
        ("[[models.family]]", '[models]\nfiles = ["\\u0000"]\n[[models.family]]', "files"),
        ("[[models.family]]", "[models]\nfiles = ['a', './a']\n[[models.family]]", "stands twice"),
        ("[factors]", "[machine]\nseeds = [1]\n[factors]", "two or more"),
        ("[factors]", "[machine]\nseeds = [1, 1]\n[factors]", "each once"),
        ("[factors]", "[machine]\nseeds = [1, 2]\nseed_setting = 'adc.bits'\n[factors]", "already"),
        ("[factors]", "[factors]\nmodel = 'all'", "model = 'all': it should be 'each', or a list"),
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
    ("points", "complaint"),
    [
        (["bits = 2", "bits = 4", "bits = 2.0"], "[[point]] number 3 is number 1 once more"),
        (["model = 'each'"], "stands for sk-8: a [[point]] has one of them"),
    ],
)
def test_a_list_has_each_point_once_and_models_of_one_kind_at_each(points, complaint):
    listed = "".join(f"[[point]]\n{one}\n" for one in points)
    with pytest.raises(ValidationError) as caught:
        Study.model_validate(tomllib.loads(GOOD.partition("[factors]")[0] + listed))
    assert complaint in first_problem(caught.value)


def test_a_list_has_no_design():
    text = GOOD.partition("[factors]")[0].replace("[study]", "[study]\ndesign = 'one-at-a-time'")
    with pytest.raises(ValidationError, match=r"study\.design: points are listed"):
        Study.model_validate(tomllib.loads(f"{text}[[point]]\nbits = 2\n"))


@pytest.mark.parametrize("given", ["runs = 64", "width = 0.1", "width = 0.1\nmax_runs = 99"])
def test_trainings_are_not_repeated_as_runs_are(given):
    text = "[study]\nname = 'x'\ntask = 'train'\n[train]\n[factors]\nnoise = [1]\n[repeat]\n"
    with pytest.raises(ValidationError, match="trainings are repeated by"):
        Study.model_validate(tomllib.loads(text + given))


def test_at_most_as_many_runs_are_made_as_whole_jobs_have():
    limits = {"": 4, "width = 0.1": 64, "width = 0.1\nmax_runs = 70": 68}
    for given, most in limits.items():
        study = Study.model_validate(tomllib.loads(f"{GOOD}[repeat]\nruns = 4\n{given}"))
        assert study.repeat.most_runs(4) == most


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [("runs = [4, 8]", "make runs a factor"), ("pump_end = [1, 1.0]", "a level stands twice")],
)
def test_levels_to_tune_are_refused_as_those_of_factors_are(tmp_path, levels, complaint):
    with pytest.raises(StudyError, match=complaint):
        read_study(written(tmp_path, f"{GOOD}[nuisance.levels]\n{levels}\n"))


# a right value of each key, of which wrong ones are then tried
TABLES = {
    "study": {"name": "x", "task": "sample", "seed": 1, "design": "grid"},
    "models": {"files": ["a"], "targets": {"a": 1.0}, "groups": {"g": ["a"]}},
    "models.family": {"kind": "sk", "n": 8, "count": 3, "seed": 1},
    "machine": {"device": "x", "options": {}, "settings": {}, "seeds": [1, 2], "seed_setting": "s"},
    "repeat": {"runs": 8, "width": 0.1, "max_runs": 100},
    "nuisance": {"levels": {"x": [1, 2]}, "models": 3},
    "nuisance.levels": {"x": [1, 2]},
    "safe": {"at_least": 0.5, "confidence": 0.9},
    "cliff": {"factor": "coupling_bits", "threshold": 0.5, "resolution": 0.1, "figure": "x"},
    "train": {"seeds": 3, "options": {}, "control": "random"},
    "factors": {"coupling_bits": [2], "lowering": [], "device": [], "model": [], "options.x": [1]},
    "point": {"coupling_bits": 2.0},
}
WRONG = (
    *([[1]], [], {}, {"a": 1}, float("nan"), float("inf"), -1, 0, 1.5, "text", True, "", [{}]),
    *([float("nan")], ["a"], [True], [{"a": 1}], dt.date(1979, 5, 27), [[]], [-1]),
)
PYTHON = re.compile(
    "valid|integer|string|bool|dict|tuple|instance|float|constrained|Input|Field|List|function|None"
)


def with_wrong(table: str, key: str, value: object) -> dict[str, Any]:
    """Return a study in which one key has a wrong value."""
    found: dict[str, Any] = tomllib.loads(GOOD)
    found.update({"train": {}, "study": {"name": "x", "task": "train"}} if table == "train" else {})
    if table == "train":
        del found["models"]
    if table == "point":
        del found["factors"]
        return found | {"point": [{key: 4}, {key: value}]}
    if table == "cliff":
        return found | {"cliff": [{"factor": "coupling_bits", "threshold": 0.5, key: value}]}
    if table == "models.family":
        return found | {"models": {"family": [{"kind": "sk", "n": 8, key: value}]}}
    if table == "nuisance.levels":
        return found | {"nuisance": {"levels": {key: value}}}
    if table == "nuisance":
        return found | {"nuisance": {"levels": {"x": [1]}, key: value}}
    place = found.setdefault(table, {"at_least": 0.5} if table == "safe" else {})
    place[key] = value
    return found


@pytest.mark.parametrize("table", TABLES)
def test_a_wrong_form_is_answered_with_its_place_and_the_right_form(table):
    refused = 0
    for key, right in TABLES[table].items():
        for value in WRONG:
            try:
                Study.model_validate(with_wrong(table, key, value))
            except (ValidationError, StudyError) as error:
                says = first_problem(error) if isinstance(error, ValidationError) else str(error)
                assert key in says or str(value) in says, (table, key, value, says)
                assert not PYTHON.search(says.replace(repr(value), "")), says
                refused += 1
            else:
                assert type(value) is type(right) or isinstance(right, float), (table, key, value)
    assert refused > 8 * len(TABLES[table])


@pytest.mark.parametrize("value", [[[1]], 3, ["a"], {"a": 1}, True])
@pytest.mark.parametrize("table", [*TABLES, "nonsense"])
def test_what_should_be_a_table_is_named_where_it_is_none(table, value):
    first, _, second = table.partition(".")
    inside = {second: value} if second else value
    with pytest.raises(ValidationError) as caught:
        Study.model_validate(tomllib.loads(GOOD) | {first: inside})
    says = first_problem(caught.value)
    assert (second or first) in says
    assert not PYTHON.search(says), says


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[2, 8]", "[2, {}]"),
        ("n = 8", "n = 8\nseed = {}"),
        *(
            ("[factors]", f"{table}\n[factors]")
            for table in (
                *("[repeat]\nruns = {}", "[nuisance]\nlevels = {{x = [{}]}}"),
                *("[machine]\nsettings = {{x = {}}}", "[machine]\noptions = {{x = {}}}"),
                *("[safe]\nat_least = {}", "[train]\noptions = {{x = [[{}]]}}"),
                "[[cliff]]\nfactor = 'adc.bits'\nthreshold = {}",
            )
        ),
    ],
)
def test_whole_numbers_have_64_bits(tmp_path, old, new):
    for number in (2**63, -(2**63) - 1, 10**400):
        text = GOOD.replace(old, new.format(number))
        with pytest.raises(StudyError, match=r"\S: a whole number has at most 64 bits"):
            read_study(written(tmp_path, text))
