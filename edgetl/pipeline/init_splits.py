"""How large `edgetl init` makes the splits, and why: the test split first, for it decides."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from edgetl.data.dataset import Dataset
from edgetl.data.splits import Splits, make_splits
from edgetl.errors import DataError
from edgetl.gate.policy import Policy
from edgetl.pipeline.candidates import CANDIDATES, USUAL
from edgetl.stats.power import paired_sample_size, rate_sample_size

# What is assumed of a candidate that is as accurate as its reference: how often exactly one of
# the two is right, and how often their top classes differ.
DISCORDANCE = 0.01
FLIPS = 0.01
_POWER = 0.8
_POWERS = (0.99, 0.95, 0.9, _POWER)
_MOST_OF_TEST = 0.4
# Where samples are plenty the test split is up to twice what decides: one verdict in five would
# be left open at 80% power.
_PLENTY = 2
_SHARE_OF_PLENTY = 0.2
_SHARE = 10
_ENOUGH = 1000
_MARGINS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """Sizes of the splits, and the sentences that say why.

    Attributes:
        test: None for the source's own test part.
        tested: Samples of the test split, the source's own included.
        train: What remains; it is not written down, so that added samples are trained on.
        why: A sentence for each split.
        decides: What the test split can decide.
        short: Whether it is too small for the policy's own limits.
    """

    val: int
    calib: int
    test: int | None
    tested: int
    train: int
    why: dict[str, str]
    decides: tuple[str, ...]
    short: bool


def choose_splits(dataset: Dataset, *, trained_elsewhere: bool = False) -> SplitPlan:
    """Choose the splits of a dataset, and draw them once to be sure that they can be drawn.

    Args:
        dataset: Its labels, ids and given parts are read.
        trained_elsewhere: As for `make_splits`.

    Raises:
        DataError: When there are too few samples for four splits with every class in each.

    Example:
        >>> from edgetl.data.sources import open_dataset
        >>> plan = choose_splits(open_dataset("builtin:digits"))
        >>> plan.test, plan.val, plan.calib, plan.train
        (718, 179, 179, 721)
    """
    wanted = _wanted()
    refusal: DataError | None = None
    # Two of the rarest class in each split where that is possible, else one.
    for of_rarest in (2, 1):
        sizes = _Sizes.of(dataset, wanted, of_rarest)
        try:
            drawn = make_splits(
                dataset,
                val=sizes.val,
                calib=sizes.calib,
                test=sizes.test,
                train=None,
                seed=0,
                trained_elsewhere=trained_elsewhere,
            )
        except DataError as error:
            refusal = error
            continue
        if len(drawn.train):
            return _plan(sizes, drawn, wanted)
    raise DataError(
        f"splits of {dataset.name}",
        got=f"{len(dataset)} samples" if refusal is None else refusal.got,
        expected="enough samples for train, val, calib and test with every class in each",
        fix="add samples of the rarest class, or leave the class out",
    )


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What is asked for, and from how many distinct samples."""

    val: int
    calib: int
    test: int | None
    pool: int
    least: int
    given: dict[str, int]

    @classmethod
    def of(cls, dataset: Dataset, wanted: int, of_rarest: int) -> _Sizes:
        given = Counter(dataset.given_split or ())
        pool = _distinct(dataset, "train")
        rarest = int(np.bincount(dataset.labels[pool], minlength=len(dataset.classes)).min())
        count = len(pool)
        least = math.ceil(of_rarest * count / rarest) if rarest else count
        test = None
        if not given["test"]:
            enough = min(wanted, int(count * _MOST_OF_TEST))
            test = max(least, enough, min(_PLENTY * wanted, int(count * _SHARE_OF_PLENTY)))
        share = min(_ENOUGH, max(least, count // _SHARE))
        val, calib = share, share
        if given["val"]:
            # The calib split is drawn from the given val part as well, unless it is given.
            own = len(_distinct(dataset, "val"))
            val = min(_ENOUGH, own if given["calib"] else own // 2)
            calib = val
        if given["calib"]:
            calib = min(_ENOUGH, len(_distinct(dataset, "calib")))
        return cls(val=val, calib=calib, test=test, pool=count, least=least, given=dict(given))


def _distinct(dataset: Dataset, part: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Positions of a given part's samples that occur once; all samples are train without parts."""
    times = Counter(dataset.ids)
    given = dataset.given_split
    return np.array(
        [
            at
            for at, sample in enumerate(dataset.ids)
            if times[sample] == 1 and (given is None or given[at] == part)
        ],
        np.int64,
    )


def _alpha() -> float:
    """The level of one backend's verdict: the usual candidates' backends share the policy's."""
    return Policy().alpha / len({CANDIDATES[name].backend for name in USUAL})


def _wanted(power: float = _POWER) -> int:
    """Test samples that decide the default policy's limits of accuracy and flips, each with this
    power."""
    policy = Policy()
    accuracy = paired_sample_size(
        margin=policy.max_accuracy_drop, discordance=DISCORDANCE, power=power, alpha=_alpha()
    )
    flips = rate_sample_size(FLIPS, policy.max_flip_rate, power=power, alpha=_alpha())
    return max(accuracy, flips or 0)


def _plan(sizes: _Sizes, drawn: Splits, wanted: int) -> SplitPlan:
    tested = len(drawn.test)
    return SplitPlan(
        val=sizes.val,
        calib=sizes.calib,
        test=sizes.test,
        tested=tested,
        train=len(drawn.train),
        why={
            "test": _why_test(sizes, tested, wanted),
            "val": _why_share(sizes, "val", sizes.val),
            "calib": _why_share(sizes, "calib", sizes.calib),
            "train": "all that remain",
        },
        decides=_decides(tested, wanted),
        short=tested < wanted,
    )


def _why_test(sizes: _Sizes, tested: int, wanted: int) -> str:
    if sizes.test is None:
        return f"the source's own test part, {tested:,} samples"
    if sizes.test == wanted:
        return "what the default limits need"
    if sizes.test == _PLENTY * wanted:
        return "twice what the default limits need: there are samples enough"
    if sizes.test > wanted and sizes.test == int(sizes.pool * _SHARE_OF_PLENTY):
        return f"{_SHARE_OF_PLENTY:.0%} of {sizes.pool:,} distinct samples, more than is needed"
    if sizes.test == int(sizes.pool * _MOST_OF_TEST):
        return f"{_MOST_OF_TEST:.0%} of {sizes.pool:,} distinct samples"
    return "as few as leave every class in it"


def _why_share(sizes: _Sizes, name: str, size: int) -> str:
    part = "val" if name == "calib" and "calib" not in sizes.given else name
    if part in sizes.given:
        return f"of the {sizes.given[part]:,} that the source gives as {part}"
    if size == sizes.pool // _SHARE:
        return f"a tenth of {sizes.pool:,} distinct samples"
    if size == _ENOUGH:
        return f"enough, of {sizes.pool:,} distinct samples"
    return "as few as leave every class in it"


def _decides(tested: int, wanted: int) -> tuple[str, ...]:
    policy = Policy()
    backends = len({CANDIDATES[name].backend for name in USUAL})
    needed = {
        margin: paired_sample_size(
            margin=margin, discordance=DISCORDANCE, power=_POWER, alpha=_alpha()
        )
        for margin in _MARGINS
    }
    able = next((margin for margin, count in needed.items() if count <= tested), None)
    said = [
        f"The default limits (accuracy drop {policy.max_accuracy_drop:g}, flips "
        f"{policy.max_flip_rate:g}) are decided by {wanted:,} test samples,",
        f"with {_POWER:.0%} power at alpha {policy.alpha:g} / {backends} backends, when exactly "
        f"one of reference and candidate is right",
        f"on {DISCORDANCE:.0%} of the samples. "
        + (
            f"These {tested:,} decide a drop of {able:g} or more."
            if able is not None
            else f"These {tested:,} decide no drop below {_MARGINS[-1]:g}."
        ),
    ]
    if tested > wanted:
        power = next(power for power in _POWERS if _wanted(power) <= tested)
        said.append(f"These {tested:,} decide the default limits with at least {power:.0%} power.")
    if tested < wanted:
        said.append("A verdict may be INCONCLUSIVE; it then says how many samples are missing.")
    return tuple(said)
