"""How a step is made: integrators that say what they converge to, and how fast."""

from emulator.integrators.base import (
    Equation,
    Integrator,
    Interpretation,
    ItoIntegrator,
    SemiImplicitEquation,
    SplitEquation,
    StratonovichIntegrator,
    check_integrator,
)
from emulator.integrators.euler_maruyama import EulerMaruyama
from emulator.integrators.heun import Heun
from emulator.integrators.runge_kutta import RungeKutta4
from emulator.integrators.semi_implicit import LinearlyImplicitEuler
from emulator.integrators.splitting import StrangSplitting

__all__ = [
    "Equation",
    "EulerMaruyama",
    "Heun",
    "Integrator",
    "Interpretation",
    "ItoIntegrator",
    "LinearlyImplicitEuler",
    "RungeKutta4",
    "SemiImplicitEquation",
    "SplitEquation",
    "StrangSplitting",
    "StratonovichIntegrator",
    "check_integrator",
]
