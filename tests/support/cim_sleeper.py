"""A client in a process of its own: locks a machine, waits for a word, then tries to use it."""

from __future__ import annotations

import sys

from cim_hal import CimError, IsingModel, open_device


def main() -> None:
    with open_device(sys.argv[1]) as device:
        lease = device.lock(note="the sleeper")
        print("locked", lease.epoch, flush=True)
        sys.stdin.readline()
        try:
            device.sample(IsingModel.from_couplings([[0, 1], [1, 0]]), seed=1)
            print("sampled", flush=True)
        except CimError as error:
            print(error.code, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
