"""Studies of robustness: how sampling degrades with bits, noise and faults, with intervals."""

from cim_hal.study.plan import Study, read_study
from cim_hal.study.run import run_study
from cim_hal.study.shares import Interval, Share, repeats, share_of

__all__ = ["Interval", "Share", "Study", "read_study", "repeats", "run_study", "share_of"]
