"""``cim-hal sweep`` on emulated machines: rows, resume, repetition, cliffs, reports."""

from __future__ import annotations

import json
import re

import pytest
from known_success import KnownSuccess
from studies import STUDY, rows_of, summary_of

from cim_hal.study import run_study
from cim_hal.study.rows import RowFile


def sweep(run, *arguments):
    return run("sweep", *map(str, arguments))


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def timeless(folder):
    """Return the points without what a clock says: this machine has no time of a round trip."""
    clocks = ("device_s", "run_s", "tts", "tts_low", "tts_high")
    points = summary_of(folder)["points"]
    return [{name: value for name, value in p.items() if name not in clocks} for p in points]


def test_a_study_leaves_rows_a_summary_and_a_report(run, study, tmp_path):
    status, out, err = sweep(run, study, "--out", tmp_path / "out")
    assert status == 0, err
    assert "against 8" in out
    rows, summary = rows_of(tmp_path / "out"), summary_of(tmp_path / "out")
    assert len(rows) == 16
    for point in summary["points"]:
        here = [row for row in rows if row["factors"] == point["factors"]]
        mean = sum(row["successes"] / row["runs"] for row in here) / len(here)
        assert point["success_probability"] == pytest.approx(mean)
        assert point["low"] <= mean <= point["high"]
        assert point["n_runs"] == 32
        different = sum(row["configurations"] for row in here) / len(here)
        assert point["configurations"] == pytest.approx(different)
        assert 1 <= point["configurations_low"] <= different <= point["configurations_high"] <= 8
    assert {
        point["rounded"] for point in summary["points"] if point["factors"]["coupling_bits"] == 8
    }
    page = (tmp_path / "out/report.html").read_text()
    assert "Bits &amp; &lt;noise&gt;" in page
    assert not re.search(r"(src|href)=[\"']?http", page)
    assert (tmp_path / "out/rows.parquet").stat().st_size > 1000


def test_a_study_that_was_stopped_goes_on_to_the_same_rows(run, study, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert sweep(run, study, "--out", whole)[0] == 0
    write, count = RowFile.add, [0]

    def interrupted(self, row):
        if count[0] == 5:
            raise KeyboardInterrupt
        count[0] += 1
        write(self, row)

    monkeypatch.setattr(RowFile, "add", interrupted)
    status, _, err = sweep(run, study, "--out", stopped)
    assert status == 130
    assert "go on with --resume" in err
    assert len(rows_of(stopped)) == 5
    monkeypatch.undo()
    status, _, err = sweep(run, study, "--out", stopped)
    assert status == 2
    assert "--resume" in err
    assert sweep(run, study, "--out", stopped, "--resume", "--jobs", "2")[0] == 0
    assert rows_of(stopped) == rows_of(whole)
    assert timeless(whole) == timeless(stopped)


@pytest.mark.parametrize(
    "wrong", [{"model": "other"}, {"seed": 1}, {"factors": {"coupling_bits": 3, "round_trips": 40}}]
)
def test_rows_of_another_study_are_refused(run, study, tmp_path, wrong):
    out = tmp_path / "out"
    study.write_text(STUDY.replace("[2, 8]", "[2]").replace("[40, 200]", "[40]"))
    run_study(study, out)
    *lines, last = (out / "rows.jsonl").read_text().splitlines()
    text = "\n".join([*lines, json.dumps({**json.loads(last), **wrong})])
    (out / "rows.jsonl").write_text(f"{text}\n")
    status, _, err = sweep(run, study, "--out", out, "--resume")
    assert status == 2
    assert "is not of this study" in err


def test_several_studies_run_by_one_command_each_in_a_folder_of_its_name(run, study, tmp_path):
    other, out = tmp_path / "ramps.toml", tmp_path / "out"
    other.write_text(STUDY.replace("round_trips = [40, 200]", "pump_end = [0.2, 1.1]"))
    status, said, err = sweep(run, study, other, "--out", out, "--json")
    assert status == 0, err
    assert json.loads(said).keys() == {"study", "ramps"}
    low, high = (
        [row["energy_mean"] for row in rows_of(out / "ramps") if row["factors"]["pump_end"] == end]
        for end in (0.2, 1.1)
    )
    assert low != high
    assert sweep(run, "--row", "0", out / "ramps")[0] == 0
    for wrong in ([study, study, "--out", tmp_path / "twice"], ["--row", "0", study, other]):
        assert sweep(run, *wrong)[0] == 2


def test_several_machines_share_the_jobs_and_change_no_row(study, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    run_study(study, alone)
    seen = []
    run_study(
        study, shared, targets=["emulator-mean-field"] * 2, jobs=2, report=lambda *r: seen.append(r)
    )
    assert rows_of(alone) == rows_of(shared)
    assert [done for _, done, _ in seen] == list(range(1, 17))


def test_machines_of_several_kinds_are_refused(run, study, tmp_path):
    both = ["--device", "emulator-mean-field", "--device", "emulator-ideal"]
    status, _, err = sweep(run, study, "--out", tmp_path / "out", *both)
    assert status == 2
    assert "emulator-mean-field and emulator-ideal differ in has_field" in err


def test_a_row_repeats_and_says_so(run, study, tmp_path):
    out = tmp_path / "out"
    assert sweep(run, study, "--out", out)[0] == 0
    status, said, _ = sweep(run, "--row", "3", out, "--json")
    assert status == 0
    assert json.loads(said)["is_same"] is True
    status, _, err = sweep(run, "--row", "99", out)
    assert status == 2
    assert "there is no row 99" in err


def test_a_width_that_was_not_reached_is_status_3_and_more_runs_are_made(run, study, tmp_path):
    study.write_text(STUDY + "width = 0.01\nmax_runs = 24\n")
    status, out, _ = sweep(run, study, "--out", tmp_path / "out", "--json")
    assert status == 3
    found = json.loads(out)
    assert not found["is_complete"]
    assert {point["n_runs"] for point in found["points"]} == {96}


def test_a_cliff_is_found_between_two_levels(run, study, tmp_path, monkeypatch):
    monkeypatch.setattr("cim_hal.console.BETWEEN_LINES_S", 0.01)
    text = STUDY.replace("round_trips = [40, 200]\n", "").replace("[2, 8]", "[2, 12]")
    study.write_text(text + '[[cliff]]\nfactor = "coupling_bits"\nthreshold = 0.5\n')
    status, out, err = sweep(run, study, "--out", tmp_path / "out")
    assert status == 0, err
    summary = summary_of(tmp_path / "out")
    (cliff,) = summary["cliffs"]
    assert cliff["verdict"] in " ".join(out.split())
    sign = r"^study, \d+ s after the start: \d+ of \d+ jobs$"
    assert re.search(sign, err, re.MULTILINE)  # no terminal
    assert 2 < cliff["level"] < 12
    below, above = int(cliff["level"]), int(cliff["level"]) + 1
    at = {p["factors"]["coupling_bits"]: p["success_probability"] for p in summary["points"]}
    assert at[below] < 0.5 <= at[above]
    assert len(at) < 7


def test_models_of_files_are_kept_with_the_results(run, study, tmp_path):
    (tmp_path / "ring.txt").write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n1 4 1\n")
    family = '[[models.family]]\nkind = "sk"\nn = 10\ncount = 4\n'
    study.write_text(
        STUDY.replace(family, '[models]\nfiles = ["ring.txt"]\ntargets = {"ring.txt" = -4.0}\n')
    )
    out = tmp_path / "out"
    assert sweep(run, study, "--out", out)[0] == 0
    assert summary_of(out)["targets"] == {"ring.txt": "given"}
    (tmp_path / "ring.txt").unlink()
    assert sweep(run, "--row", "0", out)[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("round_trips", "round_trisp", "did you mean round_trips"),
        ("[2, 8]", "[1, 8]", "whole numbers from 2"),
        ("[40, 200]", "[0.5]", "whole numbers from 1"),
        ("round_trips = [40, 200]", "pump_end = [1, 9]", "pump_range"),
        ('"emulator-mean-field"', '"emulator-maen-field"', "emulator-mean-field"),
        ("n = 10", "n = 11\n[[models.family]]\nkind = 'cubic'\nn = 5", "number 2: n = 5"),
    ],
)
def test_what_a_machine_cannot_do_is_said_before_a_job(  # noqa: PLR0917
    run, study, tmp_path, old, new, complaint
):
    study.write_text(STUDY.replace(old, new, 1))
    status, _, err = sweep(run, study, "--out", tmp_path / "out")
    assert status == 2
    assert complaint in err
    assert not (tmp_path / "out/rows.jsonl").exists()
    study.write_text(STUDY.replace("runs = 8", "runs = 1"))
    run_study(study, tmp_path / "out")  # mended, it may use the folder


def test_json_has_no_infinite_numbers(run, study, tmp_path):
    (tmp_path / "pair.txt").write_text("2 1\n1 2 1\n")
    family = '[[models.family]]\nkind = "sk"\nn = 10\ncount = 4\n'
    files = '[models]\nfiles = ["pair.txt"]\ntargets = {"pair.txt" = -9.0}\n'
    study.write_text(STUDY.replace(family, files))
    status, out, _ = sweep(run, study, "--out", tmp_path / "out", "--json")
    assert status == 0
    assert json.loads(out, parse_constant=pytest.fail)["points"][0]["r99"] == "inf"


def test_a_target_that_runs_beat_is_told(run, study, tmp_path):
    (tmp_path / "ring.txt").write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n1 4 1\n")
    family = '[[models.family]]\nkind = "sk"\nn = 10\ncount = 4\n'
    files = '[models]\nfiles = ["ring.txt"]\ntargets = {"ring.txt" = -1.0}\n'
    study.write_text(STUDY.replace(family, files))
    assert sweep(run, study, "--out", tmp_path / "out")[0] == 0
    assert summary_of(tmp_path / "out")["targets_beaten"] == ["ring.txt"]
    assert "give better targets" in (tmp_path / "out/report.html").read_text()


def test_a_machine_above_the_line_of_the_rounded_model_is_explained(run, study, tmp_path):
    """At 2 bits these four models lose their optima, which noise reaches as excited states."""
    text = STUDY.replace("n = 10\n", "n = 8\nseed = 1\n").replace("runs = 8", "runs = 64")
    text = text.replace("emulator-mean-field", "emulator-ideal").replace("[2, 8]", "[2]")
    study.write_text(text.replace("round_trips = [40, 200]", "electronic_noise = [8]"))
    assert sweep(run, study, "--out", tmp_path / "out")[0] == 0
    (point,) = summary_of(tmp_path / "out")["points"]
    assert point["rounded"] == 0 < point["success_probability"]
    page = (tmp_path / "out/report.html").read_text()
    assert "no bound for the machine, whose runs are ranked by the energies of the model" in page


def test_a_folder_that_cannot_be_written_is_said_before_a_job(run, study):
    status, _, err = sweep(run, study, "--out", "/proc/out")
    assert status == 2
    assert "cannot write to /proc/out" in err


def test_the_first_job_of_a_kind_is_made_after_a_run_whose_time_is_not_counted(
    run, study, tmp_path, monkeypatch
):
    made, make = [], KnownSuccess.run
    monkeypatch.setattr(KnownSuccess, "run", lambda *of: (made.append(of[1].n_runs), make(*of))[1])
    text = STUDY.replace("emulator-mean-field", "known_success:make").replace("n = 10", "n = 6")
    study.write_text(text.replace("coupling_bits = [2, 8]", "noise = [0.0, 0.5]"))
    assert sweep(run, study, "--out", tmp_path / "out", "--jobs", 2)[0] == 0
    assert sorted(made) == [1] * 2 + [8] * 4 * 4  # at each noise once, and not at each length
    assert len(rows_of(tmp_path / "out")) == 4 * 4
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<td>0.00%</td><td>not known: none is above 0</td>") == 2


def test_a_dry_run_counts_and_writes_nothing(run, study, tmp_path):
    status, out, _ = sweep(run, study, "--dry-run", "--out", tmp_path / "out")
    assert status == 0
    assert "4 points x 4 models = 16 jobs" in out
    assert "narrow" not in out  # no width is asked for
    assert not (tmp_path / "out").exists()


def test_another_kind_of_machine_makes_no_rows_beside_those_that_are_there(run, study, tmp_path):
    """The machine of the study is told by its settings; the row of another is repeated on that."""
    out, other = tmp_path / "out", tmp_path / "other.toml"
    other.write_text('driver = "emulator-mean-field"\n[settings]\nnoise = 0.3\n')
    assert sweep(run, study, "--out", out, "--device", other)[0] == 0
    status, _, err = sweep(run, study, "--out", out, "--resume")
    assert status == 2
    assert "differ in settings" in err
    assert sweep(run, study, "--out", out, "--resume", "--device", other)[0] == 0
    status, said, _ = sweep(run, "--row", "3", out, "--json")
    assert status == 0
    assert json.loads(said)["is_same"] is True


MACHINES = """
[study]
name = "Gain of modulators"
[[models.family]]
kind = "sk-pm1"
n = 10
count = 4
[machine]
device = "emulator"
seeds = [1, 2, 3]
[factors]
imperfections.injection_gain_error = [0, 0.4]
round_trips = [50, 100, 200]
[repeat]
runs = 8
[safe]
at_least = 0.01
confidence = 0.9
"""


def test_machines_are_drawn_as_models_are_and_the_safe_region_is_told(run, study, tmp_path):
    study.write_text(MACHINES)
    status, out, _ = sweep(run, study, "--dry-run")
    assert status == 0
    assert "6 points x 4 models x 3 machines = 72 jobs" in out
    status, out, err = sweep(run, study, "--out", tmp_path / "out")
    assert status == 0, err
    assert "success probability is at least 0.01, with 90 % for all together" in out
    summary, rows = summary_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert len(rows) == 72
    assert {row["factors"]["imperfections.seed"] for row in rows} == {1, 2, 3}
    assert [point["n_runs"] for point in summary["points"]] == [4 * 3 * 8] * 6
    assert summary["verdicts"][0]["n_instances"] == 4
    page = (tmp_path / "out/report.html").read_text()
    assert "4 models on 3 machines" in page
    assert "Machines are drawn as models are" in page
    assert sweep(run, "--row", "7", tmp_path / "out")[0] == 0
    study.write_text(MACHINES.replace('"emulator"', '"emulator-mean-field"'))
    status, _, err = sweep(run, study, "--out", tmp_path / "other")
    assert status == 2
    assert "imperfections" in err


def test_what_disturbed_couplings_leave_is_told_beside_the_machine(run, study, tmp_path):
    text = STUDY.replace("emulator-mean-field", "emulator").replace("count = 4", "count = 8")
    levels = 'coupling_bits = [8]\n"imperfections.coupling_error" = [0, 0.5]'
    study.write_text(text.replace("coupling_bits = [2, 8]\nround_trips = [40, 200]", levels))
    assert sweep(run, study, "--out", tmp_path / "out")[0] == 0
    exact, disturbed = summary_of(tmp_path / "out")["points"]
    assert exact["rounded"] > disturbed["rounded"] > 0.1
    assert exact["rounded_excess_energy"] < disturbed["rounded_excess_energy"]
    assert disturbed["rounded_low"] < disturbed["rounded"] < disturbed["rounded_high"]
