"""Published curves on the emulators: runs the studies in `published`, and says what they show.

Run as ``python benchmarks/studies/published_curves.py --out DIR`` (docs/explanation/
published-curves.md has claims, sizes and verdicts). Studies that are there go on, so it can be
stopped at any time. Intervals are of 95 %, from 2000 bootstrap samples of the models, drawn apart
for each size; V1 and the losses of V2 and V4 have the intervals of ``cim-hal sweep``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study import run_study
from cim_hal.study.rows import Row, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

STUDIES = Path(__file__).parent / "published"
SAMPLES, USABLE = 2000, 0.5  # of the bootstrap; of the best point of the continuous machine
INK = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
Shares = dict[float, "NDArray[np.float64]"]  # of each model, by level


def shares(rows: Sequence[Row], factor: str, **fixed: float) -> Shares:
    """Return the success of each model at each level of a factor, models in one order."""
    found: dict[float, dict[str, float]] = {}
    for row in rows:
        if all(row.factors[name] == level for name, level in fixed.items()):
            found.setdefault(row.factors[factor], {})[row.model] = row.successes / row.runs
    return {
        level: np.array([models[name] for name in sorted(models)])
        for level, models in sorted(found.items())
    }


def of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    """Return the rows of a family, by the first part of its models' names."""
    return [row for row in rows if row.model.startswith(f"{kind}-")]


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the middle 95 % of bootstrap samples."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def said(value: float, samples: NDArray[np.float64], unit: str = "") -> str:
    """Return an estimate with its interval."""
    low, high = interval(samples)
    return f"{value:.3g}{unit} [{low:.3g}, {high:.3g}]"


def resampled(n_models: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return models drawn with replacement, a row for each bootstrap sample."""
    return rng.integers(n_models, size=(SAMPLES, n_models))


# ---- V1: bits of the feedback ---------------------------------------------------------------


def bits_of_feedback(_rows: list[Row], summary: dict, axis: Axes) -> None:
    """Say what fewer bits of the measured amplitudes cost, at one full scale and re-tuned."""
    for name, found, style in (
        ("one full scale and gain", summary, "o-"),
        ("re-tuned", summary["retuned"], "s--"),
    ):
        print(f"V1, {name}")
        for each in found["verdicts"]:
            print("  ", each["verdict"])
        levels = [p["factors"]["adc.bits"] or 16 for p in found["points"]]
        values, low, high = (
            [p[key] for p in found["points"]] for key in ("success_probability", "low", "high")
        )
        order = np.argsort(levels)
        axis.plot(np.array(levels)[order], np.array(values)[order], style, label=name)
        axis.fill_between(
            np.array(levels)[order], np.array(low)[order], np.array(high)[order], alpha=0.15
        )
    axis.set(xlabel="bits of the ADC (16: ideal)", ylabel="success probability", title="V1")


# ---- V2: threshold of noise and size --------------------------------------------------------


def half_level(curve: Shares) -> float:
    """Return the level at which the success falls to half of that of the first level."""
    levels = np.array(list(curve))
    means = np.array([models.mean() for models in curve.values()])
    below = np.flatnonzero(means < means[0] / 2)
    if not below.size or means[0] == 0:
        return np.inf
    k = below[0]
    inside = (means[k - 1] - means[0] / 2) / (means[k - 1] - means[k])
    return float(levels[k - 1] + inside * (levels[k] - levels[k - 1]))


def noise_and_size(factor: str, label: str, colour: str) -> Callable[..., None]:
    """Return what tells how the noise that halves the success depends on the number of spins."""

    def tell(rows: list[Row], summary: dict, axis: Axes) -> None:
        rng, sizes = np.random.default_rng(0), sorted({row.n_spins for row in rows})
        found, samples = {}, {}
        print(f"V2, {label}: {factor} that halves the success without it")
        for n in sizes:
            curve = shares([row for row in rows if row.n_spins == n], factor)
            draws = resampled(len(next(iter(curve.values()))), rng)
            found[n] = half_level(curve)
            samples[n] = np.array([half_level({x: p[d] for x, p in curve.items()}) for d in draws])
            first = next(iter(curve.values()))
            print(f"   {n} spins: {said(found[n], samples[n])}, without noise {first.mean():.3f}")
            if np.isfinite(found[n]):
                _say_kept(curve, max(level for level in curve if level <= found[n] / 4), draws)
        _say_laws({n: samples[n] for n in sizes if np.isfinite(samples[n]).all()}, found)
        for each in summary["verdicts"]:
            print("  ", each["verdict"])
        finite = [n for n in sizes if np.isfinite(found[n])]
        ends = np.array([interval(samples[n]) for n in finite]).T
        middle = np.array([found[n] for n in finite])
        errors = np.abs(ends - middle)
        axis.errorbar(finite, middle, errors, fmt="o-", color=colour, label=f"{label}: {factor}")
        axis.set(xlabel="spins", ylabel="noise that halves success", title="V2")
        axis.set(xscale="log", yscale="log")

    return tell


def _say_kept(curve: Shares, level: float, draws: NDArray[np.int64]) -> None:
    """Say which part of the success without noise is left at a level."""
    first, here = next(iter(curve.values())), curve[level]
    kept = here[draws].mean(axis=1) / first[draws].mean(axis=1).clip(1e-9)
    print(f"      at noise {level:g}, {said(here.mean() / first.mean(), kept)} of it")


def _say_laws(samples: dict[int, NDArray[np.float64]], found: dict[int, float]) -> None:
    """Fit a power of the size, and an exponential, to every bootstrap sample."""
    if len(samples) < 3:
        print("   too few sizes have a threshold within the levels for a law")
        return
    sizes, values = np.array(list(samples)), np.log(np.array(list(samples.values())))
    middle = np.log([found[n] for n in samples])
    power = np.polyfit(np.log(sizes), values, 1)
    print(
        "   exponent of a power of the size:",
        said(np.polyfit(np.log(sizes), middle, 1)[0], power[0]),
    )
    left = [_left_over(x, values, np.ones(len(sizes))) for x in (np.log(sizes), sizes)]
    print(
        f"   a power fits better than an exponential in {np.mean(left[0] < left[1]):.0%} of samples"
    )


def _left_over(
    x: NDArray[Any], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted squares that a line leaves, for each bootstrap sample."""
    fit = np.polyfit(x, values, 1, w=weights)
    return ((weights[:, None] * (values - np.outer(x, fit[0]) - fit[1])) ** 2).sum(axis=0)


# ---- V3: success and size -------------------------------------------------------------------


def success_and_size(rows: list[Row], summary: dict, axis: Axes) -> None:
    """Say how the success falls with the number of spins, and whether faster than exponentially."""
    device = summary["device"]
    for k, kind in enumerate(("sk-pm1", "maxcut")):
        rng, here = np.random.default_rng(0), of_kind(rows, kind)
        sizes = np.array(sorted({row.n_spins for row in here}))
        found, samples = [], []
        for n in sizes:
            models = shares([row for row in here if row.n_spins == n], "round_trips")
            p = next(iter(models.values()))
            found.append(p.mean())
            samples.append(p[resampled(len(p), rng)].mean(axis=1))
        values = np.log(np.array(samples))
        weights = 1 / values.std(axis=1)
        print(
            f"V3, {device}, {kind}:",
            {int(n): f"{p:.3f}" for n, p in zip(sizes, found, strict=True)},
        )
        for degree, what in ((1, "slope of ln p"), (2, "coefficient of N^2")):
            fits = np.polyfit(sizes, values, degree, w=weights)[0]
            best = np.polyfit(sizes, np.log(found), degree, w=weights)[0]
            print(f"   {what}: {said(best, fits)}")
        left = [_left_over(x, values, weights) for x in (sizes, sizes**2)]
        print(f"   N fits better than N^2 in {np.mean(left[0] < left[1]):.0%} of samples")
        ends = np.array([interval(s) for s in samples]).T
        style: dict[str, Any] = {"color": INK[k], "label": f"{device}, {kind}"}
        axis.errorbar(sizes, found, np.abs(ends - np.array(found)), fmt="o-", **style)
    axis.set(xlabel="spins", ylabel="success probability", yscale="log", title="V3")


# ---- V4: the best noise ---------------------------------------------------------------------


def best_noise(rows: list[Row], _summary: dict, axis: Axes) -> None:
    """Choose the noise on half of the models, and say what it gains on the others."""
    for gain in sorted({row.factors["coupling_gain"] for row in rows}):
        for k, kind in enumerate(("maxcut", "cubic", "sk")):
            curve = shares(of_kind(rows, kind), "noise", coupling_gain=gain)
            levels, p = np.array(list(curve)), np.array(list(curve.values()))
            seen, unseen = p[:, ::2], p[:, 1::2]
            best = int(seen.mean(axis=1).argmax())
            draws = resampled(unseen.shape[1], np.random.default_rng(0))
            ratio = unseen[best].mean() / max(unseen[0].mean(), 1e-9)
            ratios = unseen[best][draws].mean(axis=1) / unseen[0][draws].mean(axis=1).clip(1e-3)
            lost = unseen[best] - unseen[-1]
            print(
                f"V4, gain {gain:g}, {kind}: best noise {levels[best]:g}, success on others "
                f"{unseen[best].mean():.3f}, without noise {unseen[0].mean():.3f}, ratio "
                f"{said(ratio, ratios)}, above the most noise by "
                f"{said(lost.mean(), lost[draws].mean(axis=1))}"
            )
            if gain == max(row.factors["coupling_gain"] for row in rows):
                axis.plot(levels, unseen.mean(axis=1), "osD"[k] + "-", color=INK[k], label=kind)
    axis.set(xlabel="noise", ylabel="success probability", title="V4, larger gain")


# ---- V5: usable gains and pumps -------------------------------------------------------------


def usable(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return the success of each model at each point, array (points, models)."""
    points: dict[tuple[float, float], dict[str, float]] = {}
    for row in rows:
        point = row.factors["coupling_gain"], row.factors["pump_end"]
        points.setdefault(point, {})[row.model] = row.successes / row.runs
    return np.array([[points[x][m] for m in sorted(points[x])] for x in sorted(points)])


def region(out: Path, axis: Axes) -> None:
    """Say which share of gains and pumps is usable, discrete against continuous.

    Usable is a point with half the success of the best point of the continuous machine.
    """
    for k, (one, other) in enumerate(REGIONS):
        both = [usable(read_rows(out / f"v5-{name}")) for name in (one, other)]
        draws = resampled(both[0].shape[1], np.random.default_rng(0))
        means = [p[:, draws].mean(axis=2) for p in both]
        levels = USABLE * means[1].max(axis=0)
        areas = [(mean >= levels).mean(axis=0) for mean in means]
        level = USABLE * both[1].mean(axis=1).max()
        whole = [float((p.mean(axis=1) >= level).mean()) for p in both]
        for name, area, value, p in zip((one, other), areas, whole, both, strict=True):
            print(f"V5, {name}: usable {said(value, area)}, best {p.mean(axis=1).max():.3f}")
            error = np.abs(np.array(interval(area))[:, None] - value)
            axis.bar([name], [value], yerr=error, color=INK[k], capsize=4)
        ratio = areas[0] / areas[1].clip(1e-9)
        print(f"V5, {one} over {other}: {said(whole[0] / whole[1], ratio)}")
    axis.set(ylabel="usable share of gains and pumps", title="V5")
    axis.tick_params(axis="x", rotation=30)


# ---- all of them ----------------------------------------------------------------------------

FIGURES: dict[str, tuple[int, Callable[..., None]]] = {
    "v1-feedback-bits": (0, bits_of_feedback),
    "v2-noise-mean-field": (1, noise_and_size("noise", "mean field", INK[0])),
    "v2-noise-amplitude-control": (1, noise_and_size("detector_noise", "CAC", INK[1])),
    "v3-size-100": (2, success_and_size),
    "v4-noise-optimum": (3, best_noise),
}
REGIONS = (  # discrete, continuous
    ("discrete", "continuous"),
    ("pulses", "gaussian"),
    ("glasses-discrete", "glasses-continuous"),
)


def main() -> None:
    """Run what is missing, and print and draw what all say."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    figure = Figure(figsize=(15, 8.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for name in (*FIGURES, *(f"v5-{name}" for pair in REGIONS for name in pair)):
        run_study(STUDIES / f"{name}.toml", out / name, resume=True)
    for name, (place, tell) in FIGURES.items():
        summary = json.loads((out / name / "summary.json").read_text("utf-8"))
        tell(read_rows(out / name), summary, axes[place])
    region(out, axes[4])
    for axis in axes[:4]:
        axis.legend(fontsize=8)
    axes[5].set_axis_off()
    figure.savefig(out / "published-curves.png", dpi=80)


if __name__ == "__main__":
    main()
