"""What makes probabilities honest, and what an app may build on them (numpy and scipy)."""

from __future__ import annotations

from edgetl.calibration.temperature import (
    LARGEST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    TemperatureFit,
    fit_temperature,
    fit_temperature_report,
)
from edgetl.calibration.temperature_ratio import TemperatureRatio, log_temperature_ratio

__all__ = [
    "LARGEST_TEMPERATURE",
    "SMALLEST_TEMPERATURE",
    "TemperatureFit",
    "TemperatureRatio",
    "fit_temperature",
    "fit_temperature_report",
    "log_temperature_ratio",
]
