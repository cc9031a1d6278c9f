"""What is known of a server at one moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cim_hal.machine.telemetry import Telemetry
    from cim_hal.protocol.wire.messages.status import MetricsReport, StatusReport

__all__ = ["StatusSnapshot"]


@dataclass(frozen=True)
class StatusSnapshot:
    """The last reports of a server; None until it has reported something."""

    target: str
    status: StatusReport | None = None
    metrics: MetricsReport | None = None
    past: tuple[Telemetry, ...] = ()  # earlier; in the first snapshot of a connection only
    trouble: str = ""  # why there is nothing newer; empty if all is well
    taken_at: float = field(default_factory=time.monotonic)

    def after(self, before: StatusSnapshot | None) -> StatusSnapshot:
        """Return this snapshot, with the reports of the one `before` if it has none itself."""
        if self.status is not None or before is None:
            return self
        return replace(self, status=before.status, metrics=before.metrics)

    def as_json(self) -> dict[str, Any]:
        """Return the snapshot in the types of JSON."""
        return {
            "target": self.target,
            "trouble": self.trouble,
            "status": self.status and self.status.model_dump(mode="json"),
            "metrics": self.metrics and self.metrics.model_dump(mode="json"),
        }
