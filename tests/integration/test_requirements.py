"""Studies that ask for what no job can do: refused before the first one."""

from __future__ import annotations

import pytest

STUDY = """
[study]
name = "Policies"
[models]
files = ["dominated.npz"]
[machine]
device = "emulator-mean-field"
[factors]
lowering = ["max", "quantile", "stochastic", "splitting", "mutation"]
coupling_bits = [8]
[repeat]
runs = 16
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"max"', '"maxi"'), "lowering = 'maxi' (one of max, quantile"),
        (('"max"', "8"), "factors.lowering[0] = 8: it should be the name of a policy"),
        (("[8]", '["max"]'), "factors.coupling_bits[0] = 'max': it should be a number"),
        (("[8]", "[8]\n[[cliff]]\nfactor = 'lowering'\nthreshold = 0.5"), "needs two numbers"),
        *(
            (('field"', f'field"\nsettings = {{{wrong}}}'), f"machine.settings{says}")
            for wrong, says in {
                "bogus = 1.0": ": the request needs bogus, the device has",
                "model = 1": ": the request needs model, the device has",
                "noise = 9.0": ".noise: the request needs 9.0, the device has 0 to 0.5",
            }.items()
        ),
        (("[8]", "[8, 20]"), "factor coupling_bits = 20"),
        (("n = 12", "n = 25"), "factor lowering = mutation at 8 bits: sk-25-0.0: the optimum of"),
    ],
)
def test_wrong_policies_of_a_study_are_refused_before_the_first_job(run, tmp_path, change, says):
    family = '[[models.family]]\nkind = "sk"\nn = 12\ncount = 1'
    text = STUDY.replace('[models]\nfiles = ["dominated.npz"]', family)
    assert change[0] in text
    (tmp_path / "study.toml").write_text(text.replace(*change))
    status, _, err = run("sweep", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"))
    assert status == 2
    assert says in err
