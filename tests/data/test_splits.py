from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetl.data.dataset import content_ids
from edgetl.data.splits import check_disjoint, largest_remainder, make_splits
from edgetl.errors import ConfigError, DataError


def shares(dataset, indices) -> list[int]:
    return np.bincount(dataset.labels[indices], minlength=len(dataset.classes)).tolist()


def test_splits_are_disjoint_stratified_and_of_the_sizes_asked_for(make_dataset) -> None:
    dataset = make_dataset([100, 200, 300])
    splits = make_splits(dataset, val=60, calib=30, test=120, train=None, seed=3)
    assert shares(dataset, splits.test) == [20, 40, 60]
    assert shares(dataset, splits.calib) == [5, 10, 15]
    assert shares(dataset, splits.val) == [10, 20, 30]
    assert shares(dataset, splits.train) == [65, 130, 195]
    together = np.concatenate([indices for _, indices in splits.items()])
    assert sorted(together.tolist()) == list(range(600))
    assert all(indices.dtype == np.int64 for _, indices in splits.items())


def test_another_train_size_changes_no_other_split(make_dataset) -> None:
    dataset = make_dataset([50, 50])
    whole = make_splits(dataset, val=10, calib=10, test=20, train=None, seed=0)
    part = make_splits(dataset, val=10, calib=10, test=20, train=8, seed=0)
    assert shares(dataset, part.train) == [4, 4]
    for name in ("val", "calib", "test"):
        assert np.array_equal(getattr(whole, name), getattr(part, name))


def test_the_seed_decides(make_dataset) -> None:
    dataset = make_dataset([50, 50])
    sizes = {"val": 10, "calib": 10, "test": 20, "train": None}
    first, again = (make_splits(dataset, **sizes, seed=5) for _ in range(2))
    other = make_splits(dataset, **sizes, seed=6)
    assert all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(first.items(), again.items(), strict=True)
    )
    assert set(first.test) != set(other.test)


def test_the_first_images_of_a_split_are_of_every_class(make_dataset) -> None:
    splits = make_splits(make_dataset([200, 200]), val=2, calib=2, test=2, train=None, seed=0)
    assert 5 < (splits.train[:30] < 200).sum() < 25


def test_the_given_test_part_is_the_test_split(make_dataset) -> None:
    given_split = ("train", "test") * 50
    dataset = make_dataset([50, 50], given_split=given_split)
    splits = make_splits(dataset, val=10, calib=10, test=None, train=None, seed=0)
    assert sorted(splits.test) == list(range(1, 100, 2))
    assert all(i % 2 == 0 for name, part in splits.items() if name != "test" for i in part)
    some = make_splits(dataset, val=10, calib=10, test=6, train=None, seed=0)
    assert shares(dataset, some.test) == [3, 3]
    assert set(some.test) <= set(splits.test)


def test_the_same_image_in_both_given_parts_is_refused_and_named(make_dataset) -> None:
    dataset = make_dataset([10, 10], given_split=("train", "test") * 10)
    images = dataset.images.copy()
    images[3] = images[0]
    copied = replace(dataset, images=images, ids=content_ids(images))
    with pytest.raises(DataError) as caught:
        make_splits(copied, val=2, calib=2, test=None, train=None, seed=0)
    assert copied.ids[0] in str(caught.value)
    assert "train" in caught.value.got
    assert "test" in caught.value.got


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_together_in_train(make_dataset, seed: int) -> None:
    dataset = make_dataset([30, 30])
    images = dataset.images.copy()
    images[10:15] = images[40:45] = images[0:5]
    dataset = replace(dataset, images=images, ids=content_ids(images))
    splits = make_splits(dataset, val=8, calib=8, test=20, train=None, seed=seed)
    check_disjoint(
        {name: tuple(dataset.ids[i] for i in indices) for name, indices in splits.items()}
    )
    assert {0, 4, 10, 14, 40, 44} <= set(splits.train.tolist())


def test_a_class_that_a_split_would_miss_is_refused(make_dataset) -> None:
    with pytest.raises(DataError, match="class 1") as caught:
        make_splits(make_dataset([100, 2]), val=10, calib=10, test=40, train=None, seed=0)
    assert "every class" in caught.value.expected


def test_too_few_images_are_refused(make_dataset) -> None:
    dataset = make_dataset([10, 10])
    with pytest.raises(DataError, match="split val"):
        make_splits(dataset, val=15, calib=4, test=4, train=None, seed=0)
    with pytest.raises(DataError, match="split train"):
        make_splits(dataset, val=4, calib=4, test=4, train=9, seed=0)
    with pytest.raises(DataError, match="-1 images"):
        make_splits(dataset, val=-1, calib=4, test=4, train=None, seed=0)


def test_a_source_without_test_part_needs_a_size(make_dataset) -> None:
    with pytest.raises(DataError, match="no size"):
        make_splits(make_dataset([9, 9]), val=2, calib=2, test=None, train=None, seed=0)


def test_splits_may_be_left_out(make_dataset) -> None:
    splits = make_splits(make_dataset([9, 9]), val=4, calib=0, test=0, train=None, seed=0)
    assert (len(splits.calib), len(splits.test), len(splits.train)) == (0, 0, 14)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.data())
def test_largest_remainder(available: list[int], data: st.DataObject) -> None:
    counts = np.array(available, np.int64)
    total = int(counts.sum())
    size = data.draw(st.integers(0, total))
    quotas = largest_remainder(counts, size)
    assert quotas.sum() == size
    assert (quotas >= 0).all()
    assert (quotas <= counts).all()
    if total:
        # Hamilton's method: no class is a whole image off its exact share.
        assert (np.abs(quotas - counts * (size / total)) < 1 + 1e-6).all()


def given(dataset_of, **parts: int):
    """A dataset of three classes with so many images of each class in each given part."""
    names = tuple(name for name, count in parts.items() for _ in range(count))
    return dataset_of([len(names)] * 3, given_split=names * 3)


def origins(dataset, splits) -> dict[str, set[str]]:
    return {name: {dataset.given_split[i] for i in indices} for name, indices in splits.items()}


def test_a_given_val_part_large_enough_lends_val_and_calib(make_dataset) -> None:
    dataset = given(make_dataset, train=20, val=10, test=5)
    splits = make_splits(dataset, val=15, calib=15, test=None, train=None, seed=0)
    assert origins(dataset, splits) == {
        "train": {"train"},
        "val": {"val"},
        "calib": {"val"},
        "test": {"test"},
    }
    assert not set(splits.val) & set(splits.calib)
    assert len(splits.train) == 60


def test_with_a_smaller_given_val_part_calib_is_drawn_from_train(make_dataset) -> None:
    dataset = given(make_dataset, train=20, val=10, test=5)
    splits = make_splits(dataset, val=15, calib=18, test=None, train=None, seed=0)
    assert origins(dataset, splits)["calib"] == {"train"}
    assert origins(dataset, splits)["val"] == {"val"}
    # What is left of the val part is not trained on.
    assert len(splits.train) == 60 - 18


def test_a_given_calib_part_is_used(make_dataset) -> None:
    dataset = given(make_dataset, train=20, val=10, calib=4, test=5)
    splits = make_splits(dataset, val=15, calib=6, test=6, train=None, seed=0)
    assert {name: {name} for name, _ in splits.items()} == origins(dataset, splits)
    dataset = given(make_dataset, train=20, calib=4)
    splits = make_splits(dataset, val=9, calib=6, test=6, train=None, seed=0)
    assert origins(dataset, splits) == {
        "train": {"train"},
        "val": {"train"},
        "calib": {"calib"},
        "test": {"train"},
    }


def test_given_parts_that_are_too_small_are_refused(make_dataset) -> None:
    dataset = given(make_dataset, train=20, val=3, calib=2)
    with pytest.raises(DataError, match="split val"):
        make_splits(dataset, val=12, calib=6, test=3, train=None, seed=0)
    with pytest.raises(DataError, match="split calib"):
        make_splits(dataset, val=9, calib=9, test=3, train=None, seed=0)
    with pytest.raises(DataError, match="no size"):
        make_splits(dataset, val=9, calib=6, test=None, train=None, seed=0)


@pytest.mark.parametrize("parts", [("train", "val"), ("val", "test"), ("calib", "val")])
def test_an_image_in_any_two_given_parts_is_refused(make_dataset, parts: tuple[str, str]) -> None:
    dataset = given(make_dataset, train=9, val=9, calib=9, test=9)
    first, second = (dataset.given_split.index(part) for part in parts)
    ids = list(dataset.ids)
    ids[second] = ids[first]
    with pytest.raises(DataError) as caught:
        make_splits(replace(dataset, ids=tuple(ids)), val=6, calib=6, test=None, train=None, seed=0)
    assert all(f"the given {part} part" in str(caught.value) for part in parts)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train": 20, "val": 10, "test": 5}, "val/ has 30 images; val + calib need 33"),
        ({"train": 20, "test": 5}, "15 distinct images left"),
        ({"train": 20, "val": 3, "calib": 9, "test": 5}, "val/ has 9 images; val needs 15"),
        ({"train": 20, "val": 11}, "gives no test part; test needs 9 images"),
        ({"train": 40}, "val/ has 0 images"),
    ],
)
def test_a_trained_network_is_not_asked_about_what_it_was_trained_on(
    make_dataset, parts: dict[str, int], said: str
) -> None:
    dataset = given(make_dataset, **parts)
    sizes = {"val": 15, "calib": 18, "test": 9, "train": None, "seed": 0}
    with pytest.raises(DataError) as caught:
        make_splits(dataset, **sizes, trained_elsewhere=True)
    assert said in caught.value.got


def test_without_a_val_part_a_trained_network_takes_val_and_calib_out_of_test(
    make_dataset,
) -> None:
    dataset = given(make_dataset, train=20, test=20)
    sizes = {"val": 15, "calib": 18, "train": None, "seed": 0}
    splits = make_splits(dataset, test=None, **sizes, trained_elsewhere=True)
    parts = {name: {dataset.given_split[i] for i in indices} for name, indices in splits.items()}
    assert parts == {"train": {"train"}, "val": {"test"}, "calib": {"test"}, "test": {"test"}}
    assert [len(splits.val), len(splits.calib), len(splits.test)] == [15, 18, 60 - 33]
    some = make_splits(dataset, test=9, **sizes, trained_elsewhere=True)
    assert len(some.test) == 9
    lent = [{*one.val.tolist(), *one.calib.tolist()} for one in (some, splits)]
    assert lent[0] == lent[1]
    with pytest.raises(DataError, match="left for it"):
        make_splits(dataset, test=28, **sizes, trained_elsewhere=True)


def test_a_trained_network_changes_no_split_that_it_may_have(make_dataset) -> None:
    sizes = {"val": 15, "calib": 18, "test": 9, "train": None, "seed": 0}
    for dataset in (make_dataset([40] * 3), given(make_dataset, train=20, val=11, test=5)):
        plain = make_splits(dataset, **sizes)
        again = make_splits(dataset, **sizes, trained_elsewhere=True)
        for (_, one), (_, other) in zip(plain.items(), again.items(), strict=True):
            assert np.array_equal(one, other)


def test_per_class_takes_as_many_of_each_class_and_changes_no_other_split(make_dataset) -> None:
    dataset = make_dataset([40, 60, 90])
    sizes = {"val": 19, "calib": 19, "test": 38, "seed": 4}
    whole = make_splits(dataset, **sizes, train=None)
    few = make_splits(dataset, **sizes, train=None, per_class=5)
    more = make_splits(dataset, **sizes, train=None, per_class=20)
    assert shares(dataset, few.train) == [5, 5, 5] and shares(dataset, more.train) == [20, 20, 20]
    # Of one seed the fewer are among the more, so that a curve over shots adds images.
    assert set(few.train) < set(more.train) < set(whole.train)
    for name in ("val", "calib", "test"):
        assert np.array_equal(getattr(whole, name), getattr(few, name))
    again = make_splits(dataset, **sizes, train=None, per_class=5)
    other = make_splits(dataset, **(sizes | {"seed": 5}), train=None, per_class=5)
    assert np.array_equal(few.train, again.train) and set(few.train) != set(other.train)
    # Mixed, so that the first images are of every class.
    assert len(set(dataset.labels[few.train][:8])) > 1


def test_fewer_images_than_shots_name_the_class_and_its_count(make_dataset) -> None:
    dataset = make_dataset([40, 9, 40])
    sizes = {"val": 8, "calib": 8, "test": 9, "train": None, "seed": 0}
    with pytest.raises(DataError, match=r"'class 1' has 6 .*at least 7 distinct") as caught:
        make_splits(dataset, **sizes, per_class=7)
    assert "set per_class to 6 or less" in caught.value.fix
    assert shares(dataset, make_splits(dataset, **sizes, per_class=6).train) == [6, 6, 6]


def test_shots_are_distinct_images(make_dataset) -> None:
    dataset = make_dataset([30, 30])
    copied = np.concatenate([dataset.images, dataset.images[:20].repeat(3, axis=0)])
    labels = np.concatenate([dataset.labels, np.zeros(60, np.int64)])
    dataset = replace(dataset, images=copied, labels=labels, ids=content_ids(copied))
    splits = make_splits(dataset, val=4, calib=4, test=4, train=None, seed=0, per_class=20)
    ids = [dataset.ids[at] for at in splits.train]
    assert shares(dataset, splits.train) == [20, 20] and len(set(ids)) == 40


@pytest.mark.parametrize(
    ("train", "per_class", "error"), [(30, 5, ConfigError), (None, 0, DataError)]
)
def test_two_sizes_of_train_or_none_of_it_are_refused(
    make_dataset, train: int | None, per_class: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="per_class"):
        make_splits(
            make_dataset([30, 30]),
            val=4,
            calib=4,
            test=4,
            train=train,
            seed=0,
            per_class=per_class,
        )
