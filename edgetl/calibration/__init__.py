"""What makes probabilities honest, and what an app may build on them (numpy and scipy)."""

from __future__ import annotations

from edgetl.calibration.temperature import (
    LARGEST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    TemperatureFit,
    fit_temperature,
    fit_temperature_report,
)

__all__ = [
    "LARGEST_TEMPERATURE",
    "SMALLEST_TEMPERATURE",
    "TemperatureFit",
    "fit_temperature",
    "fit_temperature_report",
]
