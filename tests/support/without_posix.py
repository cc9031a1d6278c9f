"""Import the packages, and sample, without what Windows has not: run as a script, on Linux."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys

# What others import for themselves, with what they find here.
OTHERS = (
    *("asyncio", "concurrent.futures", "ctypes", "http.server", "logging.handlers", "socket"),
    *("multiprocessing", "selectors", "sqlite3", "subprocess", "tempfile"),
    *("click", "dimod", "networkx", "numba", "numpy", "pydantic", "rich.live", "rich.logging"),
    *("rich.progress", "scipy.sparse", "scipy.stats", "sklearn.base", "threadpoolctl", "zmq.auth"),
)
MODULES = ("fcntl", "grp", "posix", "pwd", "resource", "termios", "tty")
FUNCTIONS = (
    *("fork", "getpgid", "geteuid", "getuid", "killpg", "register_at_fork", "sched_getaffinity"),
    *("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG"),
)
SIGNALS = ("SIGCHLD", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "pthread_sigmask")
# Started by a server that is not on Windows; scripts; what other environments have.
LEFT_OUT = ("cim_hal.keeper", "cim_hal.server.driver.child_main", "cim_hal.interop.kaiwu")


def hide() -> None:
    """Hide what Windows has not."""
    for name in OTHERS:
        importlib.import_module(name)
    sys.modules |= dict.fromkeys(MODULES)
    sys.platform = "win32"
    for place, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            delattr(place, name)


def names() -> list[str]:
    """Return the modules of the packages."""
    roots = ("cim_hal", "emulator", "qnn_train")
    packages = [importlib.import_module(root) for root in roots]
    found = [m.name for p in packages for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")]
    scripts = ("__main__", "pytest_plugin")
    return [n for n in found if n not in LEFT_OUT and not n.endswith(scripts)]


if __name__ == "__main__":
    hide()
    for name in names():
        importlib.import_module(name)
    from cim_machines import Annealer

    from cim_hal import IsingModel, open_device

    with open_device(Annealer()) as device:
        pair = IsingModel.from_maxcut([[0, 1], [1, 0]])
        assert device.sample(pair, n_runs=4, seed=1).best_energy == -1
