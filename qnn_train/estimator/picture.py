"""One picture of how an estimator was trained: objective and scores against calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnn_train.training.curves import INK, SECOND, curve, panels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qnn_train.estimator.descent import Progress
    from qnn_train.estimator.summary import NetworkSummary

__all__ = ["draw"]


def draw(history: Sequence[Progress], summary: NetworkSummary, path: Path) -> None:
    """Write the picture to `path`, in the format of its suffix."""
    figure, (top, bottom) = panels(2, 5.0)
    calls = [told.calls for told in history]
    held = history[-1].validation_score is not None
    judges = "samples kept apart" if held else "training samples"
    curve(top, calls, [told.objective for told in history], color=SECOND if held else INK)
    top.set_ylabel(f"loss, {judges}")
    curve(bottom, calls, [told.train_score for told in history], label="training samples")
    if held:
        scores = [told.validation_score for told in history]
        curve(bottom, calls, scores, color=SECOND, label=judges)
    bottom.set_ylabel("score")
    bottom.set_xlabel("calls of the machine")
    bottom.legend(loc="lower right", frameon=False, fontsize=9)
    sizes = [str(summary.layers[0].inputs), *(str(layer.outputs) for layer in summary.layers)]
    figure.suptitle(
        f"{summary.n_networks} network(s) {'-'.join(sizes)}, "
        f"{summary.bits_per_parameter:.3g} bits per parameter",
        fontsize=11,
    )
    figure.savefig(path, dpi=150)
