"""What a training run asks of a method, and of a recipe carried out on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from cim_hal import DevicePool, Session
    from qnn_train.arrays import Array, Arrays
    from qnn_train.training.recipe import ProximalRecipe, Recipe
    from qnn_train.training.report import Row


__all__ = ["Problem", "Stepper"]

StepT_co = TypeVar("StepT_co", covariant=True)


class Stepper(Protocol[StepT_co]):
    """A method that trains step by step.

    A step changes all of its state at once, at its end: an interruption finds it before the step
    or after it.
    """

    @property
    def calls(self) -> int:
        """Calls of the machine up to the last step, those before a checkpoint too."""
        ...

    @property
    def progress(self) -> tuple[int, int]:
        """How much is done, and how much there is at most, in units of the method."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        ...

    @property
    def rows(self) -> list[Row]:
        """The history so far."""
        ...

    @property
    def machine(self) -> dict[str, str | int]:
        """What of the machine the state depends on."""
        ...

    def step(self) -> StepT_co:
        """Make one step."""
        ...

    def status(self) -> str:
        """Return the state of the training in a few words, for a progress bar."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Return all that the next step depends on, but for the rows of the history."""
        ...


class Problem(Protocol[StepT_co]):
    """A recipe carried out on data, up to the first call of a machine."""

    @property
    def recipe(self) -> Recipe | ProximalRecipe:
        """All that decides the training."""
        ...

    @property
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes; empty for a table."""
        ...

    def digest(self) -> str:
        """Return a fingerprint of the data."""
        ...

    def stepper(
        self,
        session: Session | DevicePool,
        arrays: Arrays | None = None,
        rows: list[Row] | None = None,
    ) -> Stepper[StepT_co]:
        """Return the method at its beginning, or after the steps that these arrays are of.

        Raises
        ------
        AssemblyError, CapabilityError
            The problem does not fit the machine.
        CheckpointError
            The arrays are of another problem, or damaged.
        """
        ...
