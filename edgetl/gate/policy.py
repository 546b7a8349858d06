"""The policy: the limits that a verdict is taken against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.gate.toml_table import build, explains_itself, read_toml

with extra("gate"):
    from pydantic import ConfigDict, Field
    from pydantic.dataclasses import dataclass

SCHEMA = "edgetl.policy/1"
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
# Above zero: no finite sample shows a harm of exactly nothing, so a limit of 0 could never pass.
Limit = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]


class Unstated(float):
    """A default limit. Pydantic turns what a user writes into a plain float, so the two differ."""


@explains_itself
@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Objective:
    """What the latency is measured at. `threads` None means all cores of the machine."""

    batch: Count = 1
    threads: Count | None = None


@explains_itself
@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Policy:
    """The limits of harm, each compared with a one-sided bound at 1 − `alpha`.

    Attributes:
        max_accuracy_drop: Top-1 of the reference minus that of the candidate; 0.01 is one point.
        max_nll_increase: Mean negative log-likelihood, nats.
        max_brier_increase: Mean Brier score, summed over classes.
        max_flip_rate: Share of inputs whose top class changes.
        max_p50_ratio: Median latency of the candidate over that of the reference.
        alpha: One-sided error rate of every bound.
        objective: The batch and threads that latency is measured at.

    Raises:
        ConfigError: For NaN, infinity, a wrong type, an unknown name, or a value out of range.

    Example:
        >>> Policy(max_accuracy_drop=0.02).max_flip_rate
        0.03
    """

    max_accuracy_drop: Share = Unstated(0.01)
    max_nll_increase: Limit = Unstated(0.02)
    max_brier_increase: Limit = Unstated(0.005)
    max_flip_rate: Share = Unstated(0.03)
    max_p50_ratio: Limit = Unstated(1.0)
    alpha: Alpha = 0.05
    objective: Objective = Objective()

    def states(self, name: str) -> bool:
        """Whether the limit `name` was written by the user rather than left at its default.

        Example:
            >>> policy = Policy(max_p50_ratio=1.0)
            >>> policy.states("max_p50_ratio"), policy.states("max_flip_rate")
            (True, False)
        """
        return not isinstance(getattr(self, name), Unstated)

    def to_json(self) -> dict[str, Any]:
        """The policy with every default written in."""
        table = {
            name: float(value) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return {"schema": SCHEMA, **table}


def load_policy(source: Path | str | Mapping[str, Any]) -> Policy:
    """Read a policy.

    Args:
        source: The path of a TOML file, or a table that was read already. The keys are those of
            `Policy`; ``schema = "edgetl.policy/1"`` may stand above them.

    Raises:
        ConfigError: For anything that is not such a policy.

    Example:
        >>> load_policy({"max_flip_rate": 0.05, "objective": {"batch": 8}}).objective.batch
        8
    """
    if isinstance(source, Mapping):
        table, subject = dict(source), "policy"
    else:
        table, subject = read_toml(Path(source)), str(source)
    schema = table.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise ConfigError(
            f"{subject}: schema",
            got=repr(schema)[:80],
            expected=repr(SCHEMA),
            fix="use an edgetl that reads this schema, or write the policy for this one",
        )
    return build(Policy, table, subject)
