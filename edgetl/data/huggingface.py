"""A dataset that the library `datasets` wrote to a folder with `save_to_disk`. Never the network.

The columns decide: one `ClassLabel` is the label; one `Image` is the pictures; otherwise the
columns of float32 of a fixed shape (`List` with a length, `Array2D` …) are the input, or several
inputs by name. Columns called ``slice_NAME`` are slices. Other columns are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgetl.data.content import sample_ids
from edgetl.data.dataset import Dataset, GivenSplit
from edgetl.data.listing import SPLIT_WORDS, Entry, Listing, shown, split_called
from edgetl.data.regular_file import open_regular
from edgetl.data.samples import Samples, SeveralSamples
from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.files import parse_json

_MAX_JSON = 16 << 20
_SLICE = "slice_"
_FIX = "write the folder with datasets' save_to_disk"


def read_huggingface(folder: Path) -> Listing | Dataset:
    """Read a folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Returns:
        A listing of the pictures when there is an image column, else the dataset of tensors.

    Raises:
        DataError: When the folder is not such, names files outside itself, or its columns are
            not as above.
        MissingExtraError: Without `datasets`.
    """
    where = f"huggingface:{folder}"
    parts = dict(_parts(folder, where))
    with extra("huggingface"):
        import datasets
    loaded: dict[GivenSplit | None, Any] = {}
    for split, place in parts.items():
        try:
            # An absolute path: `datasets` takes a name with :// for a remote file system.
            loaded[split] = datasets.load_from_disk(str(place.absolute()), keep_in_memory=False)
        except Exception as error:
            # Arrow and `datasets` answer damaged files with whatever error they stumble on.
            text = " ".join(str(error).split())[:200]
            raise _bad(where, f"{place.name}: {type(error).__name__}: {text}") from error
    kinds = {
        str(sorted((name, str(kind)) for name, kind in one.features.items())): None
        for one in loaded.values()
    }
    if len(kinds) > 1:
        raise _bad(where, "parts with different columns", "the same columns in every part")
    columns = _Columns(next(iter(loaded.values())).features, where)
    if columns.image is None:
        return _tensors(loaded, columns, folder)
    entries = [entry for split, part in loaded.items() for entry in _entries(split, part, columns)]
    return Listing(
        name=f"huggingface:{shown(folder.name)}",
        where=where,
        classes=columns.classes,
        entries=tuple(entries),
        slices=tuple(name.removeprefix(_SLICE) for name in columns.slices),
    )


class _Columns:
    """Which column is what."""

    def __init__(self, features: Mapping[str, Any], where: str) -> None:
        import datasets

        self.where = where
        labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        self.slices = sorted(name for name in features if name.startswith(_SLICE))
        labels = [name for name in labels if name not in self.slices]
        images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        tensors = {name: _shape(kind) for name, kind in features.items()}
        self.tensors = sorted(name for name, shape in tensors.items() if shape is not None)
        listed = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in features.items())
        if len(labels) != 1:
            got = f"{len(labels)} label columns among {listed or 'none'}"
            raise _bad(where, got, "one column of ClassLabel", "cast_column(…, ClassLabel(…))")
        if len(images) > 1 or (images and self.tensors) or not (images or self.tensors):
            raise _bad(
                where,
                f"the columns {listed}",
                "one column of Image, or columns of float32 of a fixed shape",
                "cast_column or remove_columns, then save_to_disk again",
            )
        self.label, self.image = labels[0], images[0] if images else None
        self.classes = tuple(str(name) for name in features[self.label].names)


def _shape(kind: Any) -> tuple[int, ...] | None:
    """The fixed shape of a column of float32, else None."""
    if getattr(kind, "dtype", None) == "float32" and hasattr(kind, "shape"):
        sizes = tuple(kind.shape)
        return sizes if all(isinstance(size, int) for size in sizes) else None
    inside, length = getattr(kind, "feature", None), getattr(kind, "length", -1)
    if inside is None or length < 1:
        return None
    if getattr(inside, "dtype", None) == "float32" and not hasattr(inside, "shape"):
        return (length,)
    rest = _shape(inside)
    return None if rest is None else (length, *rest)


def _entries(split: GivenSplit | None, part: Any, columns: _Columns) -> Iterator[Entry]:
    import datasets

    column = str(columns.image)
    # The bytes as they are: decoding is ours. This changes the description only, no file.
    pictures = part.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    rows = zip(_labels(part, columns), _slices(part, columns), strict=True)
    for row, (label, slices) in enumerate(rows):
        yield Entry(
            place=f"{split or 'row'} {row}",
            label=label,
            read=partial(_bytes, pictures, row, column),
            split=split,
            slices=slices,
        )


def _bytes(pictures: Any, row: int, column: str) -> bytes:
    held = pictures[row][column]
    data = None if held is None else held.get("bytes")
    if isinstance(data, bytes) and data:
        return data
    got = "no picture" if held is None or not held.get("path") else "only the path of a file"
    raise DataError(
        f"row {row}", got=got, expected="the bytes of a picture", fix="embed the files, or drop it"
    )


def _labels(part: Any, columns: _Columns) -> list[int]:
    labels = list(part.select_columns([columns.label])[:][columns.label])
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < len(columns.classes):
            got = f"the label {label} in row {row}"
            raise _bad(columns.where, got, f"0 to {len(columns.classes) - 1}", "label every row")
    return labels


def _slices(part: Any, columns: _Columns) -> list[tuple[str, ...]]:
    held = part.select_columns(columns.slices)[:] if columns.slices else {}
    texts = []
    for name in columns.slices:
        kind = part.features[name]
        values = [kind.int2str(v) if hasattr(kind, "int2str") else v for v in held[name]]
        if not all(isinstance(value, str | int) for value in values):
            raise _bad(columns.where, f"{name} of {kind}", "text, integers or booleans")
        texts.append([str(value) for value in values])
    return list(zip(*texts, strict=True)) if texts else [()] * len(part)


def _tensors(loaded: Mapping[GivenSplit | None, Any], columns: _Columns, folder: Path) -> Dataset:
    parts: dict[str, Any] = {name: [] for name in columns.tensors}
    labels: list[int] = []
    given: list[GivenSplit] = []
    slices: list[tuple[str, ...]] = []
    for split, part in loaded.items():
        held = part.select_columns(columns.tensors).with_format("numpy")[:]
        for name in columns.tensors:
            parts[name].append(np.asarray(held[name], np.float32))
        labels += _labels(part, columns)
        slices += _slices(part, columns)
        given += [] if split is None else [split] * len(part)
    arrays = {name: np.ascontiguousarray(np.concatenate(held)) for name, held in parts.items()}
    samples: Samples = SeveralSamples(arrays) if len(arrays) > 1 else arrays[columns.tensors[0]]
    names = [name.removeprefix(_SLICE) for name in columns.slices]
    return Dataset(
        name=f"huggingface:{shown(folder.name)}",
        images=samples,
        labels=np.array(labels, np.int64),
        classes=columns.classes,
        ids=sample_ids(samples),
        given_split=tuple(given) or None,
        slices={name: tuple(one[at] for one in slices) for at, name in enumerate(names)} or None,
    )


def _parts(folder: Path, where: str) -> Iterator[tuple[GivenSplit | None, Path]]:
    """Each part and its folder, after checking that no part names a file outside itself."""
    if not folder.is_dir():
        raise _bad(where, "a file" if folder.exists() else "no such folder")
    if not (folder / "dataset_dict.json").exists():
        _check_part(folder, where)
        yield None, folder
        return
    named = _json(folder / "dataset_dict.json", where).get("splits")
    seen: set[GivenSplit] = set()
    for name in named if isinstance(named, list) else [None]:
        split = split_called(name) if isinstance(name, str) else None
        if split is None or split in seen:
            expected = f"each once, of {', '.join(SPLIT_WORDS)}"
            raise _bad(where, f"the part {name!r}", expected, "rename or drop this part")
        seen.add(split)
        _check_part(folder / str(name), where)
        yield split, folder / str(name)


def _check_part(folder: Path, where: str) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise _bad(where, f"{folder.name}: no folder")
    _json(folder / "dataset_info.json", where)
    state = _json(folder / "state.json", where)
    files = state.get("_data_files")
    if not isinstance(files, list) or not files or state.get("_indices_data_files"):
        raise _bad(where, f"{folder.name}: no list of data files")
    for file in files:
        name = file.get("filename") if isinstance(file, dict) else None
        if not isinstance(name, str) or PurePosixPath(name).name != name:
            raise _bad(where, f"the data file {name!r}", "a file in the part's own folder")
        open_regular(folder / name, follow_links=False).close()


def _json(path: Path, where: str) -> dict[str, Any]:
    if not path.exists():
        raise _bad(where, f"no {path.name}")
    with open_regular(path, follow_links=False) as stream:
        value = parse_json(stream.read(_MAX_JSON), str(path))
    if not isinstance(value, dict):
        raise _bad(where, f"{path.name}: no JSON object")
    return value


def _bad(
    where: str, got: str, expected: str = "a folder of datasets' save_to_disk", fix: str = _FIX
) -> DataError:
    return DataError(f"dataset {where}", got=got, expected=expected, fix=fix)
