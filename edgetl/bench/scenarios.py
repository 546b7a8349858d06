"""The names of the load scenarios, apart from what runs them: `--help` loads nothing."""

from __future__ import annotations

SCENARIO = "single-stream"
"""The closed loop of the interleaved bench: one caller that waits for each answer."""

SCENARIOS = ("single-stream", "server", "offline")
"""What MLPerf LoadGen drives."""

LOADGEN = "loadgen-"
"""What a cell's scenario begins with where LoadGen drove it."""

CELL_SCENARIOS = (SCENARIO, *(LOADGEN + name for name in SCENARIOS))
