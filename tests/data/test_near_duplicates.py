from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from edgetl.data import near_duplicates
from edgetl.data.letters import render_letters
from edgetl.data.near_duplicates import Fingerprint, NearPairs, fingerprint, near_pairs
from tests.data.helpers.pictures import encoded


@pytest.fixture(scope="module")
def pieces() -> list[np.ndarray]:
    """Pieces of two photographs that do not overlap."""
    from sklearn.datasets import load_sample_images

    photos = [np.asarray(photo) for photo in load_sample_images().images]
    return [
        photo[top : top + 48, left : left + 48]
        for photo in photos
        for top in range(0, photo.shape[0] - 48, 48)
        for left in range(0, photo.shape[1] - 48, 48)
    ]


def again(pixels: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=quality))))


def judged(images) -> list[tuple[np.ndarray, Fingerprint]]:
    return [(image, one) for image in images if (one := fingerprint(image)) is not None]


@pytest.mark.parametrize(("quality", "share"), [(90, 0.7), (60, 0.5)])
def test_copies_are_found_and_different_pictures_are_not(pieces, quality, share) -> None:
    for images, most in ((pieces, 1.0), (render_letters(10, seed=1).images, 1.0)):
        pairs = judged(images)
        prints = [one for _, one in pairs]
        assert len(prints) > 100
        # No two of the originals are the same.
        assert near_pairs(prints).first == []
        copies = [fingerprint(again(image, quality)) for image, _ in pairs]
        count = len(prints)
        both = [*prints, *(one or Fingerprint(0, np.zeros((16, 16), np.uint8)) for one in copies)]
        found = near_pairs(both, [0] * count + [1] * count).first
        assert share <= len(found) / count <= most
        assert all(second == first + count for first, second in found)


def test_darker_and_smaller_copies_of_a_photograph(pieces) -> None:
    from sklearn.datasets import load_sample_images

    for photo in load_sample_images().images:
        darker = (photo * 0.9).astype(np.uint8)
        smaller = np.asarray(Image.fromarray(photo).resize((213, 142)))
        prints = [fingerprint(one) for one in (photo, darker, smaller)]
        assert near_pairs(prints).first == [(0, 1), (0, 2), (1, 2)]


def test_small_and_flat_pictures_have_no_fingerprint() -> None:
    rng = np.random.default_rng(0)
    assert fingerprint(rng.integers(256, size=(23, 99), dtype=np.uint8)) is None
    assert fingerprint(rng.integers(256, size=(24, 24, 3), dtype=np.uint8)) is not None
    assert fingerprint(np.full((50, 50, 3), 90, np.uint8)) is None
    one_dot = np.zeros((64, 64), np.uint8)
    one_dot[:8, :8] = 255
    assert fingerprint(one_dot) is None


def random_prints(count: int) -> list[Fingerprint]:
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(256, size=(16, 16), dtype=np.uint8)
    bits = rng.integers(1 << 63, size=count)
    # Some are within six bits of others.
    bits[1::3] = bits[::3][: len(bits[1::3])] ^ 0b111
    return [Fingerprint(int(value), thumbnail) for value in bits]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_blocks_find_what_comparing_each_pair_finds(
    monkeypatch: pytest.MonkeyPatch, grouped: bool, old_numpy: bool
) -> None:
    monkeypatch.setattr(near_duplicates, "_ROWS", 7)
    monkeypatch.setattr(near_duplicates, "_COLUMNS", 11)
    if old_numpy:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    prints = random_prints(100)
    groups = [at % 2 + at // 50 for at in range(100)] if grouped else None
    expected = [
        (a, b)
        for a in range(100)
        for b in range(a + 1, 100)
        if (prints[a].bits ^ prints[b].bits).bit_count() <= 6
        and (groups is None or groups[a] != groups[b])
    ]
    assert near_pairs(prints, groups) == NearPairs(len(expected), expected)
    assert len(expected) > 5


def test_none_at_all() -> None:
    assert near_pairs([]) == NearPairs(0, [])


def test_many_alike_are_counted_and_the_first_listed() -> None:
    (alike,) = random_prints(1)
    groups = [0] * 1000 + [1] * 1000
    tracemalloc.start()
    found = near_pairs([alike] * 2000, groups, most=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == NearPairs(1_000_000, [(0, at) for at in range(1000, 1005)])
    # A list of a million tuples takes more.
    assert peak < 80e6


def test_pairs_of_one_content_are_left_out() -> None:
    alike = random_prints(1) * 3
    assert near_pairs(alike, contents=[7, 7, 8]) == NearPairs(2, [(0, 2), (1, 2)])
