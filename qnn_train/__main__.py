"""``qnn-train``, and ``python -m qnn_train``."""

from cim_hal.entry import run_program

__all__ = ["main"]


def main() -> None:
    """Run the command of this process and end it."""
    run_program("qnn_train.cli.app:program")


if __name__ == "__main__":
    main()
