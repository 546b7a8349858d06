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
Text = Annotated[str, Field(min_length=1)]


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
    """The limits of harm, each compared with a one-sided bound at 1 − `alpha`; None is off.

    Attributes:
        max_accuracy_drop: Top-1 of the reference minus that of the candidate; 0.01 is one point.
        max_nll_increase: Mean negative log-likelihood, nats.
        max_brier_increase: Mean Brier score, summed over classes.
        max_confidence_gap: Change of mean confidence minus accuracy, either way.
        max_log_temperature_ratio: Log ratio of the temperatures that would fit each, either way.
        max_flip_rate: Share of inputs whose top class changes.
        max_worst_class_drop: As `max_accuracy_drop`, of the images of each class.
        max_slice_drop: As `max_accuracy_drop`, of the images of each value of `slices`.
        slices: Columns of the predictions, or ``column=value`` for one value of a column; every
            column when empty. ``class`` is the true class where no column is called so.
        max_p50_ratio: Median latency of the candidate over that of the reference.
        max_p90_ratio: The same of the 90th percentile.
        max_p99_ms: The candidate's 99th percentile, milliseconds a call.
        max_size_mb: The candidate's files, MiB.
        max_memory_mb: Peak memory of a process that loads the candidate and answers once, MiB.
        alpha: One-sided error rate of every bound.
        objective: The batch and threads that latency is measured at.

    Raises:
        ConfigError: For NaN, infinity, a wrong type, an unknown name, a value out of range, or
            slices without a limit for them.

    Example:
        >>> Policy(max_accuracy_drop=0.02).max_flip_rate
        0.03
    """

    max_accuracy_drop: Share = Unstated(0.01)
    max_nll_increase: Limit = Unstated(0.02)
    max_brier_increase: Limit = Unstated(0.005)
    max_confidence_gap: Share = Unstated(0.01)
    max_log_temperature_ratio: Limit = Unstated(0.05)
    max_flip_rate: Share = Unstated(0.03)
    max_worst_class_drop: Share | None = None
    max_slice_drop: Share | None = None
    slices: tuple[Text, ...] = ()
    max_p50_ratio: Limit = Unstated(1.0)
    max_p90_ratio: Limit | None = None
    max_p99_ms: Limit | None = None
    max_size_mb: Limit | None = None
    max_memory_mb: Limit | None = None
    alpha: Alpha = 0.05
    objective: Objective = Objective()

    def __post_init__(self) -> None:
        if self.slices and self.max_slice_drop is None:
            raise ConfigError(
                "policy: slices",
                got="slices and no limit for them",
                expected="max_slice_drop beside slices",
                fix="add max_slice_drop, such as 0.03, or leave slices out",
            )

    def states(self, name: str) -> bool:
        """Whether the limit `name` was written by the user rather than left as it is.

        Example:
            >>> policy = Policy(max_p50_ratio=1.0)
            >>> policy.states("max_p50_ratio"), policy.states("max_flip_rate")
            (True, False)
        """
        limit = getattr(self, name)
        return limit is not None and not isinstance(limit, Unstated)

    def to_json(self) -> dict[str, Any]:
        """The policy with every default written in; a limit that is off is None."""
        table = {
            name: float(value) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return {"schema": SCHEMA, **table, "slices": list(self.slices)}


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
