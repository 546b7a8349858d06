"""What a search of hyper-parameters varies: ranges and choices of keys of ``[finetune]``."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgetl.errors import UsageError
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.finetune_keys import check_key, plain_keys, read_value
from edgetl.spec import ImageInput

_RECIPES = ("linear-probe", "lp-ft", "two-stage", "full")
_AUGMENT = ("none", "light", "trivial")


class Suggests(Protocol):
    """The part of an Optuna trial that gives values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number from low to high."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number from low to high."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; on a logarithmic scale when `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Suggests, key: str) -> Any:
        """A value of a trial."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def holds(self, value: object) -> bool:
        """Whether a value is in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def to_json(self) -> dict[str, Any]:
        """The range as plain data."""
        return {"low": self.low, "high": self.high, "log": self.log, "choices": None}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def suggest(self, trial: Suggests, key: str) -> Any:
        """A value of a trial."""
        return trial.suggest_categorical(key, self.values)

    def holds(self, value: object) -> bool:
        """Whether a value is one of the choices."""
        return value in self.values

    def to_json(self) -> dict[str, Any]:
        """The choices as plain data."""
        return {"low": None, "high": None, "log": False, "choices": list(self.values)}


Space = Mapping[str, Range | Choice]


def default_space(config: ReleaseConfig, *, fixed: Collection[str] = ()) -> dict[str, Any]:
    """What is varied when nothing is said: around the config's own values.

    Learning rates from a tenth to four times (the head's: from a half to ten times), decay,
    label smoothing, epochs from half to twice as many, augmentation of pictures, and the recipe
    where there are pretrained weights.

    Args:
        config: With ``[finetune]``.
        fixed: Keys that are decided.
    """
    section = config.finetune
    assert section is not None
    rate, head_rate = section.learning_rate, section.head_learning_rate
    space: dict[str, Any] = {"learning_rate": Range(low=rate / 10, high=rate * 4, log=True)}
    if section.weights != "none":
        space["head_learning_rate"] = Range(low=head_rate / 2, high=head_rate * 10, log=True)
    space |= {
        "weight_decay": Range(low=1e-5, high=0.3, log=True),
        "label_smoothing": Range(low=0.0, high=0.2),
        "epochs": Range(low=max(1, section.epochs // 2), high=2 * section.epochs, whole=True),
    }
    if isinstance(config.input.spec(), ImageInput):
        own = section.augment or "light"
        space["augment"] = Choice(values=tuple(dict.fromkeys((own, *_AUGMENT))))
    if section.weights != "none":
        # Terms that hold a body, or a source's batches, say nothing of one that never trains.
        moving = section.l2_sp or section.keep_answers or section.source
        recipes = _RECIPES[1:] if moving else _RECIPES
        space["recipe"] = Choice(values=tuple(dict.fromkeys((section.recipe, *recipes))))
    return {key: one for key, one in space.items() if key not in fixed}


def read_space(texts: Iterable[str], *, fixed: Collection[str] = ()) -> dict[str, Any]:
    """What ``--search`` says: ``KEY=LOW:HIGH``, ``KEY=LOW:HIGH:log`` or ``KEY=a,b,c``.

    Raises:
        UsageError: For an unknown key, one that is named twice or decided, or no such range.

    Example:
        >>> space = read_space(["learning_rate=1e-4:1e-2:log", "batch_size=16,32"])
        >>> space["learning_rate"].high, space["batch_size"].values
        (0.01, (16, 32))
    """
    space: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        check_key(key, "--search")
        if key in space or key in fixed:
            raise UsageError(
                f"--search {text}",
                got=f"{key}, which is " + ("named twice" if key in space else "set by an option"),
                expected="each key once, to vary or to set",
                fix="keep the one that is meant",
            )
        space[key] = _range(text, key, value) if ":" in value else _choice(text, value)
    return space


def suggest(trial: Suggests, space: Space) -> dict[str, Any]:
    """A trial's values, in the order of the space."""
    return {key: one.suggest(trial, key) for key, one in space.items()}


def _choice(text: str, value: str) -> Choice:
    read = [read_value(one) for one in value.split(",") if one]
    if not all(isinstance(one, str | int | float) for one in read):
        raise _unread(text, "lists, tables or dates")
    values = tuple(dict.fromkeys(read))
    if len(values) < 2:
        raise _unread(text, "no two values")
    return Choice(values=values)


def _range(text: str, key: str, value: str) -> Range:
    ends = value.split(":")
    numbers = [read_value(one) for one in ends[:2]]
    scale = ends[2:]
    if scale not in ([], ["log"]) or not all(type(one) in (int, float) for one in numbers):
        raise _unread(text, "no two numbers")
    low, high = numbers
    whole = type(plain_keys()[key]) is int
    if whole and not all(type(one) is int for one in numbers):
        raise _unread(text, f"fractions for {key}, which is a whole number")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _unread(text, "no finite range with LOW below HIGH")
    if scale and low <= 0:
        raise _unread(text, f"a logarithmic range from {low}, which is not above 0")
    return Range(low=low, high=high, log=bool(scale), whole=whole)


def _unread(text: str, got: str) -> UsageError:
    return UsageError(
        f"--search {text}",
        got=got,
        expected="KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=a,b,c",
        fix="write it as --search learning_rate=1e-4:1e-2:log, or fix a value with --set KEY=VALUE",
    )
