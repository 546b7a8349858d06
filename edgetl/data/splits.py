"""Disjoint train, val, calib and test splits: stratified, seeded, and of distinct images.

- *train* teaches the network (and lends the ptq samples).
- *val* stops training early and chooses between candidates.
- *calib* fits the temperature.
- *test* is opened once, by the gate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset
from edgetl.errors import ConfigError, DataError

SplitName = Literal["train", "val", "calib", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Positions in a dataset, int64 [n] each, in a random order; no position is in two of them."""

    train: Indices
    val: Indices
    calib: Indices
    test: Indices

    def items(self) -> tuple[tuple[SplitName, Indices], ...]:
        """Each split's name and positions."""
        return (
            ("train", self.train),
            ("val", self.val),
            ("calib", self.calib),
            ("test", self.test),
        )


def make_splits(
    dataset: Dataset,
    *,
    val: int,
    calib: int,
    test: int | None,
    train: int | None,
    seed: int,
    per_class: int | None = None,
    trained_elsewhere: bool = False,
) -> Splits:
    """Draw the four splits.

    Every split has each class's share of the images, by largest remainder. An image that occurs
    more than once goes to train with its copies, so that no other split can hold one of them.
    The order of drawing is test, calib, val, train: another `train` changes no other split.

    Args:
        dataset: Where the images are. Parts in its `Dataset.given_split` are kept apart: test is
            drawn from what was given as test, val from what was given as val, calib from what
            was given as calib. Without a given calib part, calib is drawn from the given val
            part when that is large enough for both. A split whose part is not given is drawn
            from train; what is left of a part other than train is not used.
        val, calib: Images in these splits; 0 for none.
        test: Images in the test split; 0 for none. None takes the whole given test part.
        train: Images in the train split; None takes all that remain.
        seed: The same seed and dataset give the same splits.
        per_class: Images of each class in the train split, in place of `train`; what is left
            over is in no split. Of one seed the images of a smaller number are among those of a
            larger one.
        trained_elsewhere: Whether the network came trained, on what was given as train: then no
            other split of a source that gives parts is drawn from there. Without a given val
            part, val and calib are taken out of the given test part first.

    Raises:
        ConfigError: For `train` and `per_class` together.
        DataError: When there are too few images (with `per_class` of a class, which is named
            with its number), a class would be missing from a split, the same image is in two of
            the given parts, or a split would be drawn from images that the network was trained
            on.

    Example:
        >>> from edgetl.data.sources import open_dataset
        >>> splits = make_splits(open_dataset("builtin:digits"), val=200, calib=200, test=720,
        ...                      train=None, seed=0)
        >>> {name: len(indices) for name, indices in splits.items()}
        {'train': 677, 'val': 200, 'calib': 200, 'test': 720}
    """
    _check_sizes({"val": val, "calib": calib, "test": test, "train": train}, per_class)
    rng = np.random.default_rng(seed)
    parts = _given_parts(dataset)
    copies = _copies(dataset)
    pools = {name: part[~copies[part]] for name, part in parts.items()}
    if trained_elsewhere and dataset.given_split is not None:
        _lend_from_test(dataset, parts, pools, val=val, calib=calib, rng=rng)
        _check_unseen(dataset, pools, {"val": val, "calib": calib, "test": test})
    if "test" in parts:
        given = parts["test"]
        tested = _draw(dataset, given, len(given) if test is None else test, "test", rng)
    elif test is not None:
        tested = _draw(dataset, pools["train"], test, "test", rng)
        pools["train"] = np.setdiff1d(pools["train"], tested)
    else:
        raise DataError(
            f"split test of {dataset.name}",
            got="no size",
            expected="a number of images: this source has no test part of its own",
            fix="set the size of the test split",
        )
    of_calib = _pool_of_calib(pools, val=val, calib=calib)
    calibrated = _draw(dataset, pools[of_calib], calib, "calib", rng)
    pools[of_calib] = np.setdiff1d(pools[of_calib], calibrated)
    of_val = "val" if "val" in pools else "train"
    validated = _draw(dataset, pools[of_val], val, "val", rng)
    rest = np.setdiff1d(parts["train"], np.concatenate([tested, calibrated, validated]))
    if per_class is None:
        trained = _draw(dataset, rest, len(rest) if train is None else train, "train", rng)
    else:
        trained = _draw_each(dataset, rest, per_class, rng)
    return Splits(train=trained, val=validated, calib=calibrated, test=tested)


def _check_sizes(sizes: dict[str, int | None], per_class: int | None) -> None:
    for name, size in sizes.items():
        if size is not None and size < 0:
            raise DataError(
                f"split {name}", got=f"{size} images", expected="0 or more", fix="correct its size"
            )
    if per_class is None:
        return
    check_per_class(sizes["train"], per_class)
    if per_class < 1:
        raise DataError(
            "per_class", got=f"{per_class} images", expected="1 or more", fix="correct the number"
        )


def check_per_class(train: int | None, per_class: int | None) -> None:
    """Refuse two sizes of one split.

    Raises:
        ConfigError: When both are given.

    Example:
        >>> check_per_class(None, 20)
    """
    if train is not None and per_class is not None:
        raise ConfigError(
            "[data] train, per_class",
            got=f"train = {train} and per_class = {per_class}",
            expected="one of the two: both say how many images to train on",
            fix="remove one of them",
        )


def _pool_of_calib(pools: dict[str, Indices], *, val: int, calib: int) -> str:
    if "calib" in pools:
        return "calib"
    return "val" if "val" in pools and len(pools["val"]) >= val + calib else "train"


def _lend_from_test(
    dataset: Dataset,
    parts: dict[str, Indices],
    pools: dict[str, Indices],
    *,
    val: int,
    calib: int,
    rng: np.random.Generator,
) -> None:
    """Where no val part is given, the test part is all that a trained network has not seen."""
    size = val + (0 if "calib" in pools else calib)
    if "val" in pools or "test" not in pools or size == 0:
        return
    pools["val"] = np.sort(_draw(dataset, pools["test"], size, "val and calib", rng))
    parts["test"] = np.setdiff1d(parts["test"], pools["val"])


def _check_unseen(
    dataset: Dataset, pools: dict[str, Indices], sizes: dict[str, int | None]
) -> None:
    """Refuse when val, calib or test would be drawn from the given train part."""
    val, calib = sizes["val"] or 0, sizes["calib"] or 0
    lent = {name: len(pools.get(name, ())) for name in ("val", "calib")}
    both = "calib" not in pools
    needed = val + calib if both else val
    if lent["val"] < needed:
        got = f"val/ has {lent['val']} images; val{' + calib' * both} need{'s' * (not both)} "
        got += str(needed)
    elif sizes["test"] and "test" not in pools:
        got = f"the source gives no test part; test needs {sizes['test']} images"
    else:
        return
    raise DataError(
        f"splits of {dataset.name}",
        got=got,
        expected="val, calib and test apart from the given train part, for a trained network "
        "knows those images",
        fix="give more images that it was not trained on, or ask for smaller splits; if it was "
        "not trained on the train part, give the images without parts",
    )


def check_disjoint(ids: dict[str, tuple[str, ...]]) -> None:
    """Refuse splits that share an image.

    Args:
        ids: For each split's name, its images' ids.

    Raises:
        DataError: Naming the image and the two splits.

    Example:
        >>> check_disjoint({"train": ("a", "b"), "test": ("c",)})
    """
    owner: dict[str, str] = {}
    for name, members in ids.items():
        for image in members:
            other = owner.setdefault(image, name)
            if other != name:
                raise DataError(
                    f"image {image}",
                    got=f"the same image in {other} and in {name}",
                    expected="each image in one split only",
                    fix="remove the copy, or make the splits anew",
                )


def _given_parts(dataset: Dataset) -> dict[str, Indices]:
    """The positions of each part that the source gives; all of them as train when it gives none."""
    if dataset.given_split is None:
        return {"train": np.arange(len(dataset), dtype=np.int64)}
    given = np.array(dataset.given_split)
    parts = {name: np.flatnonzero(given == name).astype(np.int64) for name in SPLIT_NAMES}
    check_disjoint(
        {
            f"the given {name} part": tuple(dataset.ids[i] for i in part)
            for name, part in parts.items()
        }
    )
    return {name: part for name, part in parts.items() if name == "train" or len(part)}


def _copies(dataset: Dataset) -> NDArray[np.bool_]:
    counts = Counter(dataset.ids)
    return np.array([counts[image] > 1 for image in dataset.ids], dtype=np.bool_)


def _draw(
    dataset: Dataset, pool: Indices, size: int, name: str, rng: np.random.Generator
) -> Indices:
    if size > len(pool):
        raise DataError(
            f"split {name} of {dataset.name}",
            got=f"{len(pool)} distinct images left for it",
            expected=f"at least {size}",
            fix="make the splits smaller, or add images",
        )
    labels = dataset.labels[pool]
    available = np.bincount(labels, minlength=len(dataset.classes))
    quotas = largest_remainder(available, size)
    if size and not quotas.all():
        short = int(np.argmin(quotas))
        raise DataError(
            f"class {dataset.classes[short]!r} of {dataset.name}",
            got=f"{available[short]} of {len(pool)} images left for {size} in split {name}: none",
            expected="at least one image of every class in every split",
            fix="add images of this class, leave it out, or make the split larger",
        )
    chosen = [rng.permutation(pool[labels == label])[:quota] for label, quota in enumerate(quotas)]
    # Shuffled, so that the first images of a split are of every class.
    return rng.permutation(np.concatenate(chosen)).astype(np.int64)


def _draw_each(
    dataset: Dataset, pool: Indices, per_class: int, rng: np.random.Generator
) -> Indices:
    # A copy is no further example.
    _, first = np.unique([dataset.ids[at] for at in pool], return_index=True)
    pool = pool[np.sort(first)]
    labels = dataset.labels[pool]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    short = [label for label, count in enumerate(counts) if count < per_class]
    if short:
        named = ", ".join(f"{dataset.classes[label]!r} has {counts[label]}" for label in short[:5])
        more = f" and {len(short) - 5} more classes have fewer too" if len(short) > 5 else ""
        raise DataError(
            f"split train of {dataset.name}",
            got=f"{named}{more} (left for it after test, calib and val)",
            expected=f"at least {per_class} distinct images of each class, as per_class says",
            fix=f"set per_class to {counts.min()} or less, add images, or make the other splits "
            "smaller"
            if counts.min()
            else "add images of the class, leave it out, or make the other splits smaller",
        )
    # A whole permutation of each class, whatever the number: so the images of a smaller one are
    # among those of a larger one.
    orders = [rng.permutation(pool[labels == label]) for label in range(len(counts))]
    chosen = np.concatenate([order[:per_class] for order in orders])
    return rng.permutation(chosen).astype(np.int64)


def largest_remainder(available: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Share `size` images among classes in proportion to `available` (Hamilton's method).

    Args:
        available: int [K], images of each class.
        size: At most their sum.

    Returns:
        int64 [K] that sums to `size`, nowhere more than `available`; of equal remainders the
        first class gets the image.

    Example:
        >>> largest_remainder(np.array([50, 30, 21]), 10)
        array([5, 3, 2])
    """
    total = int(available.sum())
    if total == 0:
        return np.zeros(len(available), np.int64)
    # In integers: a float quota could round past what is available.
    whole, remainder = np.divmod(available.astype(np.int64) * size, total)
    order = np.argsort(-remainder, kind="stable")
    whole[order[: size - int(whole.sum())]] += 1
    return whole
