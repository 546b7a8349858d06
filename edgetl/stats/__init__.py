"""Statistics of paired comparisons: intervals, tests and sample sizes (numpy and scipy)."""

from __future__ import annotations

from edgetl.stats.latency import log_ratio_interval
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
    paired_t_sample_size,
    rate_sample_size,
    structural_minimum,
    tango_power,
    tango_sample_size,
)

__all__ = [
    "clopper_pearson",
    "holm",
    "log_ratio_interval",
    "mcnemar",
    "newcombe",
    "paired_sample_size",
    "paired_t_bounds",
    "paired_t_sample_size",
    "rate_sample_size",
    "structural_minimum",
    "tango",
    "tango_power",
    "tango_sample_size",
]
