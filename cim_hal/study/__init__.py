"""Studies of robustness: how sampling degrades with bits, noise and faults, with intervals."""

from cim_hal.study.assertions import (
    assert_degrades_less_than,
    assert_success,
    assert_success_probability,
)
from cim_hal.study.plan import Study, read_study
from cim_hal.study.run import run_study
from cim_hal.study.shares import Interval, Share, repeats, share_of, wilson

__all__ = [
    "Interval",
    "Share",
    "Study",
    "assert_degrades_less_than",
    "assert_success",
    "assert_success_probability",
    "read_study",
    "repeats",
    "run_study",
    "share_of",
    "wilson",
]
