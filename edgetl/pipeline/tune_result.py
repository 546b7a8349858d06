"""What a search found: its trials, the best, and which values mattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA = "edgetl.search/1"


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One trial.

    Attributes:
        number: From 0; in a new study trial 0 has the config's own values.
        state: ``complete``; ``pruned``, when its val NLL was above the median of the others at
            the same epoch; ``refused``, when its values do not fit one another or training
            diverged, with `why`.
        nll: The lowest on val, in nats; of a pruned trial the last one; None when refused.
        top1, ece, best_epoch, epochs: Of the kept epoch; None unless complete.
        seconds: That it took.
        values: Of the keys that were varied.
    """

    number: int
    state: Literal["complete", "pruned", "refused"]
    nll: float | None
    top1: float | None
    ece: float | None
    best_epoch: int | None
    epochs: int | None
    seconds: float | None
    values: Mapping[str, Any]
    why: str | None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A search as far as it is.

    Attributes:
        study: Its name in the storage.
        storage: A file or URL.
        space: What was varied, as plain data.
        trials: In their order; those that still run elsewhere are not among them.
        running: How many run in other processes.
        importance: Share of the variance of val NLL that each varied key explains (fANOVA,
            Hutter 2014); empty for fewer than two complete trials.
    """

    study: str
    storage: str
    space: Mapping[str, Mapping[str, Any]]
    trials: tuple[SearchTrial, ...]
    running: int
    importance: Mapping[str, float]

    @property
    def ranked(self) -> tuple[SearchTrial, ...]:
        """The complete trials, lowest NLL first."""
        complete = [one for one in self.trials if one.state == "complete" and one.nll is not None]
        return tuple(sorted(complete, key=lambda one: (one.nll, one.number)))

    @property
    def best(self) -> SearchTrial | None:
        """The complete trial of the lowest NLL on val; None without one."""
        return next(iter(self.ranked), None)

    def to_json(self, *, config: str | None, picture: str | None) -> dict[str, Any]:
        """The document `edgetl.search/1`.

        Args:
            config: The winner's config.
            picture: The drawing of the trials.
        """
        return {
            "schema": SCHEMA,
            "study": self.study,
            "storage": self.storage,
            "objective": {"split": "val", "metric": "nll", "direction": "minimize"},
            "space": {key: dict(one) for key, one in self.space.items()},
            "trials": [asdict(one) | {"values": dict(one.values)} for one in self.trials],
            "running": self.running,
            "best": None if self.best is None else self.best.number,
            "importance": dict(self.importance),
            "config": config,
            "picture": picture,
        }


def shown(value: object) -> str:
    """A value as a line has it.

    Example:
        >>> shown(0.00123456), shown("full"), shown(12)
        ('0.00123', 'full', '12')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
