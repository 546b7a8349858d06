"""Statistics of paired comparisons: intervals, tests and sample sizes (numpy and scipy)."""

from __future__ import annotations

from edgetl.stats.latency import log_ratio_interval, ratio_of_log
from edgetl.stats.mean import mean_bounds, tost, tost_p
from edgetl.stats.mean_power import mean_power, mean_sample_size, paired_t_sample_size
from edgetl.stats.order import hodges_lehmann, quantile_bounds, quantile_minimum
from edgetl.stats.paired import (
    clopper_pearson,
    holm,
    mcnemar,
    newcombe,
    paired_t_bounds,
    tango,
)
from edgetl.stats.power import (
    paired_sample_size,
    rate_power,
    rate_sample_size,
    structural_minimum,
    tango_power,
    tango_sample_size,
)
from edgetl.stats.resampled_power import ResampledPower

__all__ = [
    "ResampledPower",
    "clopper_pearson",
    "hodges_lehmann",
    "holm",
    "log_ratio_interval",
    "mcnemar",
    "mean_bounds",
    "mean_power",
    "mean_sample_size",
    "newcombe",
    "paired_sample_size",
    "paired_t_bounds",
    "paired_t_sample_size",
    "quantile_bounds",
    "quantile_minimum",
    "rate_power",
    "rate_sample_size",
    "ratio_of_log",
    "structural_minimum",
    "tango",
    "tango_power",
    "tango_sample_size",
    "tost",
    "tost_p",
]
