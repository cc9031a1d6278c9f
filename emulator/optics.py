r"""Laboratory numbers (W, m, Hz, V, dB) to dimensionless parameters: the only file that knows SI.

Vacuum has variance 1/2, pump rates are amplitudes in units of threshold, and coherent amplitudes
are in units of a lone oscillator's at twice threshold (`MeasurementFeedback`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emulator.converters import Converter
from emulator.dynamics.measurement_feedback import MeasurementFeedback
from emulator.options import (
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_SHARE,
    Interval,
    check_options,
    documented,
    option,
)

__all__ = ["FibreCavity", "HomodyneDetector", "loss_db_of", "transmission_of"]

LIGHT_SPEED_M_PER_S = 299_792_458.0  # exact, SI
PLANCK_J_S = 6.626_070_15e-34  # exact, SI


def transmission_of(loss_db: float) -> float:
    r"""Return the power transmission :math:`\eta = 10^{-\mathrm{loss}/10}` of a loss in dB.

    Raises
    ------
    ValueError
        A gain (below 0 dB), or a loss that is not finite.

    Examples
    --------
    >>> transmission_of(10.0)
    0.1
    """
    if not 0 <= loss_db < math.inf:
        raise ValueError(f"loss_db = {loss_db}: must be 0 (no loss) or more, and finite")
    return 10 ** (-loss_db / 10)


def loss_db_of(transmission: float) -> float:
    r"""Return the loss :math:`-10\log_{10}\eta` in dB of a power transmission.

    Raises
    ------
    ValueError
        A transmission outside of 0 (excluded) to 1.
    """
    if not 0 < transmission <= 1:
        raise ValueError(f"transmission = {transmission}: must be above 0, and 1 at most")
    return -10 * math.log10(transmission) + 0.0  # no -0.0


@documented
@dataclass(frozen=True, kw_only=True)
class HomodyneDetector:
    r"""A balanced homodyne detector and its amplifier.

    References
    ----------
    Appel et al., Phys. Rev. A 75, 035802 (2007), doi:10.1103/PhysRevA.75.035802.

    Examples
    --------
    >>> detector = HomodyneDetector(quantum_efficiency=0.9, visibility=0.95, shot_noise_v=5e-3)
    >>> round(detector.efficiency, 5)
    0.81225
    """

    quantum_efficiency: float = option(
        within=POSITIVE_SHARE, doc="Of the photodiodes, electrons per photon; above 0, 1 at most."
    )
    shot_noise_v: float = option(
        within=POSITIVE,
        doc="""Standard deviation of the shot noise at the ADC, electronic noise subtracted, in
volts.""",
    )
    visibility: float = option(
        1.0,
        within=POSITIVE_SHARE,
        doc="Fringe visibility of signal and local oscillator, above 0, 1 at most.",
    )
    loss_db: float = option(
        0.0, within=NON_NEGATIVE, doc="Between the out-coupler and the photodiodes, in dB."
    )
    clearance_db: float = option(
        math.inf,
        within=Interval(-math.inf, math.inf, includes_low=False),
        doc=r"""Power of the shot noise alone over that of the electronic noise, in dB; infinite
for a detector without electronic noise. Where the trace with light, which holds both,
lies t dB above the dark trace, it is :math:`10\log_{10}(10^{t/10} - 1)`.""",
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def efficiency(self) -> float:
        r"""Efficiency :math:`\eta_d = \eta_\mathrm{path}\,\eta_q\,\mathcal V^2`.

        Visibility counts twice: it is the overlap of fields.
        """
        return transmission_of(self.loss_db) * self.quantum_efficiency * self.visibility**2

    @property
    def electronic_noise(self) -> float:
        r"""Standard deviation :math:`\sigma_{el} = \sqrt{10^{-C/10}/2}`; vacuum: sqrt(1/2)."""
        return math.sqrt(0.5 * 10 ** (-self.clearance_db / 10))

    def record(self, voltage_v: float) -> float:
        r"""Return the record :math:`m = (V/V_\mathrm{shot})/\sqrt2` of a voltage at the ADC."""
        return voltage_v / self.shot_noise_v * math.sqrt(0.5)


@documented
@dataclass(frozen=True, kw_only=True)
class FibreCavity:
    r"""A fibre ring with a parametric amplifier, filled with pulses.

    Raises
    ------
    ValueError
        A parameter out of its range, or a cavity too short for one pulse.

    References
    ----------
    Inagaki et al., Science 354, 603 (2016), doi:10.1126/science.aah4243.
    McMahon et al., Science 354, 614 (2016), doi:10.1126/science.aah5178.

    Examples
    --------
    >>> ring = FibreCavity(
    ...     length_m=1000.0, pulse_rate_hz=1e9, loss_db=8.0, outcoupling=0.1, threshold_w=0.02
    ... )
    >>> print(f"{ring.round_trip_s * 1e6:.1f} us, {ring.pulses} pulses")
    4.9 us, 4897 pulses
    """

    length_m: float = option(within=POSITIVE, doc="Length of fibre in metres.")
    pulse_rate_hz: float = option(
        within=POSITIVE, doc="Repetition rate of the pump pulses in hertz."
    )
    loss_db: float = option(within=NON_NEGATIVE, doc="Of a round trip in dB, out-coupler aside.")
    outcoupling: float = option(
        within=Interval(0, 1, includes_low=False, includes_high=False),
        doc="Share R of the power that the out-coupler sends to the detector: 0.2 for 80:20.",
    )
    threshold_w: float = option(
        within=POSITIVE,
        doc="""Average pump power in watts at which a lone oscillator starts to oscillate, in the
wave that drives the crystal (the second harmonic) and at the crystal.""",
    )
    wavelength_m: float = option(
        1.55e-6, within=POSITIVE, doc="Of the signal in vacuum, in metres."
    )
    group_index: float = option(
        1.468,
        within=Interval(1, math.inf, includes_high=False),
        doc="""c over the group velocity. The default is that of standard single-mode fibre at
1550 nm (Corning SMF-28, data sheet: 1.468).""",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.pulses < 1:
            raise ValueError(f"{self.length_m} m hold no pulse at {self.pulse_rate_hz} Hz")

    @property
    def round_trip_s(self) -> float:
        r"""Round-trip time :math:`T = n_g l / c` in seconds."""
        return self.length_m * self.group_index / LIGHT_SPEED_M_PER_S

    @property
    def pulses(self) -> int:
        """Pulses in the cavity, the integer nearest to rate times round-trip time.

        A laboratory trims the fibre until it is an integer. Some serve to lock the cavity, so
        the spins are fewer.
        """
        return round(self.pulse_rate_hz * self.round_trip_s)

    @property
    def transmission(self) -> float:
        r"""Power transmission :math:`\eta` of a round trip, out-coupler aside."""
        return transmission_of(self.loss_db)

    @property
    def loss_exponent(self) -> float:
        r"""Field loss :math:`L = -\frac12\ln\eta(1 - R)` of a round trip."""
        return -0.5 * math.log(self.transmission * (1 - self.outcoupling))

    @property
    def photon_energy_j(self) -> float:
        r"""Energy :math:`hc/\lambda` of a signal photon in joules."""
        return PLANCK_J_S * LIGHT_SPEED_M_PER_S / self.wavelength_m

    @property
    def saturation(self) -> float:
        r"""Saturation parameter :math:`A_s`, from the energy of a pump pulse at threshold.

        .. math:: A_s^2 = \frac{2}{L}\,\frac{P_{th}/f}{hc/\lambda}

        The coupled waves of ``crystal.gain_series`` conserve energy. With little loss all of the
        pump is converted at p = 2, that is :math:`4P_{th}/f = 2L A_s^2\,hc/\lambda`. Pulses are
        taken to be flat and to overlap perfectly.
        """
        threshold_photons = self.threshold_w / self.pulse_rate_hz / self.photon_energy_j
        return math.sqrt(2 * threshold_photons / self.loss_exponent)

    def pump(self, power_w: float) -> float:
        r"""Return the pump rate :math:`p = \sqrt{P/P_{th}}` of an average power in watts.

        Rates are of amplitudes, so four times the threshold power is p = 2. The power is that of
        `threshold_w`: of the second harmonic, not of a laser that is doubled before.

        Raises
        ------
        ValueError
            A power below 0 or not finite.
        """
        if not 0 <= power_w < math.inf:
            raise ValueError(f"power_w = {power_w}: must be 0 or more, and finite")
        return math.sqrt(power_w / self.threshold_w)

    def pump_power_w(self, pump: float) -> float:
        r"""Return the average power :math:`P = p^2 P_{th}` in watts of a pump rate.

        Raises
        ------
        ValueError
            A rate below 0 or not finite.
        """
        if not 0 <= pump < math.inf:
            raise ValueError(f"pump = {pump}: must be 0 or more, and finite")
        return pump**2 * self.threshold_w

    def adc(
        self, detector: HomodyneDetector, *, full_scale_v: float, bits: int | None
    ) -> Converter:
        r"""Return the ADC behind `detector`, in units of the amplitude at twice threshold.

        .. math:: F = \frac{m}{\sqrt{2R\eta_d}\,A_s}
                    = \frac{V/V_\mathrm{shot}}{2\sqrt{R\eta_d}\,A_s}

        Parameters
        ----------
        detector : HomodyneDetector
        full_scale_v : float
            Largest magnitude it passes (half of peak to peak), in volts. For a full scale in
            widths of the shot noise, multiply by `shot_noise_v`.
        bits : int or None
            As in `Converter`.
        """
        tap = self.outcoupling * detector.efficiency
        amplitude = detector.record(full_scale_v) / math.sqrt(2 * tap) / self.saturation
        return Converter(full_scale=amplitude, bits=bits)

    def dac(self, *, full_scale_w: float, bits: int | None) -> Converter:
        r"""Return the DAC of the injected pulses, in units of the linear loss.

        .. math:: F = \frac{1}{A_s L}\sqrt{\frac{P/f}{hc/\lambda}}

        Parameters
        ----------
        full_scale_w : float
            Average power in watts, within the cavity, of a train of the brightest pulses that
            it injects.
        bits : int or None
            As in `Converter`.

        Raises
        ------
        ValueError
            A power that is not positive and finite.
        """
        if not 0 < full_scale_w < math.inf:
            raise ValueError(f"full_scale_w = {full_scale_w}: must be positive and finite")
        photons = full_scale_w / self.pulse_rate_hz / self.photon_energy_j
        drive = math.sqrt(photons) / (self.saturation * self.loss_exponent)
        return Converter(full_scale=drive, bits=bits)

    def measurement_feedback(
        self, detector: HomodyneDetector, *, adc: Converter, dac: Converter
    ) -> MeasurementFeedback:
        """Return the dynamics of this cavity; change the rest with ``dataclasses.replace``.

        Parameters
        ----------
        detector : HomodyneDetector
        adc, dac : Converter
            Of `FibreCavity.adc` and `FibreCavity.dac`.
        """
        return MeasurementFeedback(
            transmission=self.transmission,
            outcoupling=self.outcoupling,
            detector_efficiency=detector.efficiency,
            electronic_noise=detector.electronic_noise,
            saturation=self.saturation,
            adc=adc,
            dac=dac,
        )
