"""The folder of a study: models that are one, and machines that are several."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cim_hal import Capabilities
from cim_hal.errors import StudyError
from cim_hal.study.folder import draw_models, keep_machines, sole_study, target_of_row
from cim_hal.study.plan import read_study

STUDY = """
study = {name = "x"}
models = {files = ["one.txt", "two.txt"]}
factors = {coupling_bits = [2]}
"""


def machine(name: str, bits: int = 8) -> Capabilities:
    return Capabilities(name=name, max_spins=8, coupling_bits=bits)


@pytest.mark.parametrize(("edges", "is_one"), [("1 2 1\n2 3 1\n", 1), ("1 2 1\n2 3 2\n", 0)])
def test_a_model_under_two_names_is_refused(tmp_path, edges, is_one):
    (tmp_path / "one.txt").write_text("3 2\n2 3 1\n1 2 1\n")  # the same in another order
    (tmp_path / "two.txt").write_text("3 2\n" + edges)
    (tmp_path / "study.toml").write_text(STUDY)
    study = read_study(tmp_path / "study.toml")
    if not is_one:
        assert len(list(draw_models(study, tmp_path, are_copies=False))) == 2
        return
    with pytest.raises(StudyError, match=r"one.txt and two.txt are one model"):
        list(draw_models(study, tmp_path, are_copies=False))


def test_machines_of_one_kind_add_rows_and_each_is_known_by_its_name(tmp_path):
    keep_machines(tmp_path, machine("a"), {"a": None})
    (tmp_path / "rows.jsonl").write_text("{}\n")
    keep_machines(tmp_path, machine("b"), {"b": "tcp://b:1"})
    assert target_of_row(tmp_path, "a") is None
    assert target_of_row(tmp_path, "b") == "tcp://b:1"
    with pytest.raises(StudyError, match=r"are of a, and c differ in coupling_bits"):
        keep_machines(tmp_path, machine("c", 4), {"c": None})


def test_a_folder_has_one_study_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from cim_hal.study.folder import sole_study\n"
        "with sole_study(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"in\n"
    with pytest.raises(StudyError, match=f"already, by process {other.pid} on"):  # noqa: SIM117
        with sole_study(tmp_path):
            pass
    other.kill()
    other.communicate()
    with sole_study(tmp_path), pytest.raises(StudyError, match="runs in"), sole_study(tmp_path):
        pass


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"machine": {}, "targets": 3}', "\x00"])
def test_what_is_damaged_is_named(tmp_path, damaged):
    (tmp_path / "machines.json").write_text(damaged)
    with pytest.raises(StudyError, match=r"machines.json is damaged"):
        target_of_row(tmp_path, "a")
