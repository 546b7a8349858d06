"""Splits on disk, by content; the test split opens for the gate only, and each opening is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.data.content import check_samples, sample_ids, stored_ids
from edgetl.data.dataset import Dataset
from edgetl.data.npz_arrays import read_npz
from edgetl.data.packing import pack_samples, pack_slices, unpack_samples, unpack_slices
from edgetl.data.regular_file import open_regular
from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.data.splits import SPLIT_NAMES, Splits, check_disjoint
from edgetl.errors import DataError, GateError
from edgetl.files import atomic_folder, parse_json, sha256_bytes, write_json

SCHEMA = "edgetl.splits/1"
OPENINGS_SCHEMA = "edgetl.test-openings/1"
OPENINGS_FILE = "test-openings.json"
_DESCRIPTION = "splits.json"
_MAX_JSON = 16 << 20
_FIX = "make the splits anew"


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitPart:
    """The samples of one split.

    Attributes:
        ids: The id of each sample, as in `Dataset.ids`.
        labels: int64 [n].
        images: Samples of any kind, as in `Dataset.images`.
        slices: As in `Dataset.slices`.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    images: Samples
    slices: Mapping[str, tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> SplitPart:
        """The first samples; a split is shuffled, so they are of every class."""
        slices = self.slices
        return SplitPart(
            ids=self.ids[:count],
            labels=self.labels[:count],
            images=self.images[:count],
            slices=None
            if slices is None
            else {name: values[:count] for name, values in slices.items()},
        )


def dataset_hash(part: SplitPart | Dataset) -> str:
    """SHA-256 over the ids and labels, whatever their order.

    Example:
        >>> image = np.zeros((1, 2, 2), np.uint8)
        >>> dataset_hash(SplitPart(ids=("ab",), labels=np.array([0]), images=image))[:8]
        '22535f81'
    """
    lines = sorted(f"{image} {label}\n" for image, label in zip(part.ids, part.labels, strict=True))
    return sha256_bytes("".join(lines).encode())


def save_splits(folder: Path, dataset: Dataset, splits: Splits) -> None:
    """Write the four splits into a folder, whole or not at all.

    Encoded pictures are kept as their files' bytes, not as pixels.

    The folder gets one npz a split and ``splits.json``. The same dataset and splits give the same
    bytes. A record of test openings that the folder already holds is kept.

    Args:
        folder: Made, or replaced.
        dataset: Where the images are.
        splits: Positions in `dataset`.

    Raises:
        DataError: When the same image is in two splits.
    """
    parts = {name: _part(dataset, indices) for name, indices in splits.items()}
    check_disjoint({name: part.ids for name, part in parts.items()})
    before = folder / OPENINGS_FILE
    kept = before.read_bytes() if before.is_file() else None
    with atomic_folder(folder) as temporary:
        for name, part in parts.items():
            _write_npz(temporary / f"{name}.npz", part)
        if kept is not None:
            (temporary / OPENINGS_FILE).write_bytes(kept)
        write_json(
            temporary / _DESCRIPTION,
            {
                "schema": SCHEMA,
                "dataset": dataset.name,
                "classes": list(dataset.classes),
                "splits": {name: _entry(part) for name, part in parts.items()},
            },
        )


class SplitStore:
    """The splits that `save_splits` wrote.

    Args:
        folder: What was given to `save_splits`.
        openings: Where openings of the test split are recorded; in the folder when None.

    Attributes:
        name: The dataset's name.
        classes: The names of the classes.
        hashes: The `dataset_hash` of each split, test included, known without opening it.
        sizes: The number of images of each split.

    Raises:
        DataError: When the folder is not such a store.
    """

    def __init__(self, folder: Path, *, openings: Path | None = None) -> None:
        self.folder = folder
        self._openings = openings or folder / OPENINGS_FILE
        description = _read_json(folder / _DESCRIPTION, SCHEMA)
        try:
            self.name = str(description["dataset"])
            self.classes = tuple(str(name) for name in description["classes"])
            entries = {str(name): description["splits"][name] for name in SPLIT_NAMES}
            self.hashes = {name: str(entry["hash"]) for name, entry in entries.items()}
            self.sizes = {name: int(entry["images"]) for name, entry in entries.items()}
            self._entries = {name: dict(entry) for name, entry in entries.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise _bad(folder / _DESCRIPTION, f"{type(error).__name__}: {error}") from error

    def load(self, name: str) -> SplitPart:
        """Read the train, val or calib split, and check that it is what was written.

        Pixels and tensors are hashed again and held against their ids; of encoded pictures the
        files' bytes are, by the hash that binds them to the ids of their pixels.

        Raises:
            GateError: When `name` is ``"test"``: only the gate opens that, with `open_test`.
            DataError: When there is no such split, or its file is not what was written.
        """
        if name == "test":
            raise GateError(
                "split test",
                got="a stage that is not the gate",
                expected="train, val or calib",
                fix="choose on val and calibrate on calib; the test split is for the verdict",
            )
        if name not in self.hashes:
            raise DataError(
                f"split {name!r}",
                got="no such split",
                expected="train, val or calib",
                fix="name one of these",
            )
        return self._read(name)

    def open_test(
        self, *, stage: str, winners: Mapping[str, str], reference: str, policy: str
    ) -> SplitPart:
        """Read the test split for the verdict on the winners, and record the opening.

        The record is on disk before an image is given out. The same models under the same
        policy on the same test images are no new opening, so that a gate that was interrupted can
        run again; anything else is one.

        Args:
            stage: Who asks; only ``"gate"`` may.
            winners: Id of each variant that will be judged -> SHA-256 of its model files.
            reference: SHA-256 of the reference that they are judged against.
            policy: SHA-256 of the limits that they are judged by.

        Raises:
            GateError: For another stage, or without winners.
            DataError: When the file is not what was written.
        """
        if stage != "gate" or not winners:
            raise GateError(
                "split test",
                got=f"stage {stage!r} with {len(winners)} winners",
                expected="stage 'gate', with the variants that were chosen on val",
                fix="choose on val first; the test split is for the verdict",
            )
        part = self._read("test")
        opening = {
            "test": self.hashes["test"],
            "winners": dict(winners),
            "reference": reference,
            "policy": policy,
        }
        openings = self._recorded()
        if opening not in openings:
            write_json(
                self._openings, {"schema": OPENINGS_SCHEMA, "openings": [*openings, opening]}
            )
        return part

    def test_openings(self) -> int:
        """How many times the test split was opened for other models or another policy."""
        return len(self._recorded())

    def check_disjoint(self) -> None:
        """Refuse splits that share an image; only ids are read, no image and no label.

        Raises:
            DataError: Naming the image and the two splits.
        """
        check_disjoint({name: self.ids(name) for name in SPLIT_NAMES})

    def ids(self, name: str) -> tuple[str, ...]:
        """The ids of a split's samples, the test split's too: no image and no label is read.

        Raises:
            DataError: When the file is not one of a split.
        """
        path = self.folder / f"{name}.npz"
        return _decode_ids(read_npz(path, names=("ids",))["ids"])

    def _read(self, name: str) -> SplitPart:
        path = self.folder / f"{name}.npz"
        arrays = read_npz(path)
        try:
            part = _part_of(arrays)
        except (KeyError, ValueError, DataError) as error:
            raise _bad(path, str(error)) from error
        if part.labels.dtype != np.int64 or part.labels.shape != (len(part.images),):
            raise _bad(
                path,
                f"labels {part.labels.dtype} {part.labels.shape} for {len(part.images)} images",
            )
        right = len(part) == len(part.images) and _entry(part) == self._entries[name]
        # An encoded picture is known by its file here: decoding all of them takes minutes.
        if not right or (not _has_encoded(part.images) and part.ids != sample_ids(part.images)):
            raise _bad(path, "images or labels that are not the ones that were written")
        return part

    def _recorded(self) -> list[dict[str, Any]]:
        if not self._openings.exists():
            return []
        openings = _read_json(self._openings, OPENINGS_SCHEMA).get("openings")
        if not isinstance(openings, list):
            raise _bad(self._openings, "no list of openings")
        return openings


def _part(dataset: Dataset, indices: NDArray[np.int64]) -> SplitPart:
    chosen = dataset.subset(indices)
    return SplitPart(
        ids=chosen.ids, labels=chosen.labels, images=chosen.images, slices=chosen.slices
    )


def _entry(part: SplitPart) -> dict[str, Any]:
    """What ``splits.json`` says of a split; of plain pixels no more than their number and hash."""
    entry: dict[str, Any] = {"images": len(part), "hash": dataset_hash(part)}
    if _has_encoded(part.images):
        # Binds each id, which is that of the pixels, to the bytes that these were decoded from.
        pairs = zip(part.ids, stored_ids(part.images), strict=True)
        entry["stored"] = sha256_bytes("".join(f"{a} {b}\n" for a, b in pairs).encode())
    if part.slices is not None:
        entry["slices"] = {
            name: sha256_bytes("\n".join(values).encode()) for name, values in part.slices.items()
        }
    return entry


def _has_encoded(samples: Samples) -> bool:
    if isinstance(samples, SeveralSamples):
        return any(isinstance(part, EncodedImages) for part in samples.parts.values())
    return isinstance(samples, EncodedImages)


def _write_npz(path: Path, part: SplitPart) -> None:
    ids = np.array([image.encode() for image in part.ids], dtype="S64")
    arrays = pack_samples(part.images) | pack_slices(part.slices)
    with path.open("wb") as stream:
        np.savez(stream, ids=ids, labels=part.labels, **arrays)  # type: ignore[arg-type]


def _part_of(arrays: Mapping[str, Any]) -> SplitPart:
    samples = unpack_samples(arrays)
    check_samples(samples, "a split")
    return SplitPart(
        ids=_decode_ids(arrays["ids"]),
        labels=arrays["labels"],
        images=samples,
        slices=unpack_slices(arrays),
    )


def _decode_ids(ids: NDArray[Any]) -> tuple[str, ...]:
    return tuple(image.decode("ascii", "replace") for image in ids.astype("S64").tolist())


def _read_json(path: Path, schema: str) -> dict[str, Any]:
    with open_regular(path, follow_links=False) as stream:
        value = parse_json(stream.read(_MAX_JSON), str(path))
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise _bad(path, "another schema", f"schema {schema}")
    return value


def _bad(path: Path, got: str, expected: str = "a split as edgetl writes it") -> DataError:
    return DataError(f"file {path}", got=got, expected=expected, fix=_FIX)
