"""The gate: is the candidate still the classifier that the reference is?"""

from __future__ import annotations

from edgetl.gate.judge import judge
from edgetl.gate.policy import Objective, Policy, load_policy
from edgetl.gate.predictions import Predictions
from edgetl.gate.verdict import (
    ComparedVariant,
    GateResult,
    JudgedData,
    JudgedVariant,
    ReleaseVerdict,
    Verdict,
)

__all__ = [
    "ComparedVariant",
    "GateResult",
    "JudgedData",
    "JudgedVariant",
    "Objective",
    "Policy",
    "Predictions",
    "ReleaseVerdict",
    "Verdict",
    "judge",
    "load_policy",
]
