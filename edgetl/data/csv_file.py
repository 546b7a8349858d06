"""Pictures named in a CSV file: ``path,label[,split][,other columns]``, in UTF-8 (RFC 4180).

Paths are relative to the CSV's folder and stay inside it. Every column beside these three is a
slice: a value for each picture, by which the gate can judge apart.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from edgetl.data.dataset import GivenSplit, is_plain_text
from edgetl.data.inside import stays_inside, why_unusable
from edgetl.data.listing import (
    SPLIT_WORDS,
    Entry,
    Listing,
    Problem,
    read_bytes,
    shown,
    split_called,
)
from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError

MAX_CSV_BYTES = 64 << 20
"""The largest CSV file that is read."""

_RESERVED = ("path", "label", "split")


def list_csv(path: Path) -> Listing:
    """Find the pictures of a CSV file, in the order of its lines.

    Raises:
        DataError: Naming the line, when the header or a line is not as above: a missing or extra
            field, an empty label, a split that is unknown, a path that leaves the folder or is
            there twice. A picture that is missing or no regular file is a problem of the listing.
    """
    columns, lines = _lines(path)
    base = Path(os.path.realpath(path.parent))
    classes = tuple(sorted({line.label for line in lines}))
    number = {name: at for at, name in enumerate(classes)}
    entries, problems = [], []
    for line in lines:
        place = f"{shown(line.path)} (line {line.number})"
        picture = base / line.path
        if (why := why_unusable(picture, base)) is not None:
            problems.append(Problem(place=place, why=why))
            continue
        entries.append(
            Entry(
                place=place,
                label=number[line.label],
                read=partial(read_bytes, picture),
                split=line.split,
                slices=line.slices,
            )
        )
    return Listing(
        name=f"csv:{shown(path.name)}",
        where=f"csv:{path}",
        classes=classes,
        entries=tuple(entries),
        problems=tuple(problems),
        slices=tuple(name for name in columns if name not in _RESERVED),
    )


def pictures_of(path: Path) -> dict[str, Path]:
    """The paths in a CSV file as they are written -> the files, those that can be used.

    Raises:
        DataError: As `list_csv`.
    """
    base = Path(os.path.realpath(path.parent))
    names = [line.path for line in _lines(path)[1]]
    return {name: base / name for name in names if why_unusable(base / name, base) is None}


def _lines(path: Path) -> tuple[dict[str, int], list[_Line]]:
    """The header's columns and the lines below it."""
    rows = _rows(path)
    header = next(rows, None)
    columns = _columns(path, [] if header is None else header.fields)
    seen: dict[str, int] = {}
    lines = []
    for row in rows:
        line = _line(path, row, columns)
        if line.path in seen:
            got = f"{shown(line.path)} again, already in line {seen[line.path]}"
            raise _bad(path, line.number, got, "each path once")
        seen[line.path] = line.number
        lines.append(line)
    return columns, lines


@dataclass(frozen=True)
class _Row:
    number: int
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class _Line:
    number: int
    path: str
    label: str
    split: GivenSplit | None
    slices: tuple[str, ...]


def _rows(path: Path) -> Iterator[_Row]:
    with open_regular(path, follow_links=True) as stream:
        data = stream.read(MAX_CSV_BYTES + 1)
    if len(data) > MAX_CSV_BYTES:
        raise DataError(
            f"file {path}",
            got=f"more than {MAX_CSV_BYTES >> 20} MiB",
            expected="a CSV file of paths and labels",
            fix="split it, or give the data as npz:FILE",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _bad(path, line, f"the byte {data[error.start]:#04x}", "UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _bad(path, number, str(error), "comma-separated values") from error
        if fields is None:
            return
        if fields:
            yield _Row(number, fields)


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    columns = {name: at for at, name in enumerate(header)}
    twice = len(columns) != len(header)
    if twice or not {"path", "label"} <= columns.keys() or not all(map(is_plain_text, columns)):
        got = ",".join(header)
        raise _bad(
            path,
            1,
            "no line at all" if not header else repr(got if len(got) <= 80 else got[:79] + "…"),
            "a header with the columns path and label, perhaps split, and any others, each once",
        )
    return columns


def _line(path: Path, row: _Row, columns: dict[str, int]) -> _Line:
    if len(row.fields) != len(columns):
        got = f"{len(row.fields)} fields"
        raise _bad(path, row.number, got, f"{len(columns)}, as the header has")
    value = {name: row.fields[at] for name, at in columns.items()}
    label = value["label"]
    if label != label.strip() or not is_plain_text(label):
        got = f"the label {label!r}"
        raise _bad(path, row.number, got, "printable text without blanks around it")
    split = split_called(value["split"]) if "split" in value else None
    if "split" in value and split is None:
        expected = f"one of {', '.join(SPLIT_WORDS)}"
        raise _bad(path, row.number, f"the split {value['split']!r}", expected)
    slices = tuple(held for name, held in value.items() if name not in _RESERVED)
    for held in slices:
        if held and not is_plain_text(held):
            raise _bad(path, row.number, f"the value {held!r}", "printable text, or nothing")
    return _Line(
        number=row.number,
        path=_inside(path, row.number, value["path"]),
        label=label,
        split=split,
        slices=slices,
    )


def _inside(path: Path, number: int, written: str) -> str:
    if not stays_inside(written):
        raise _bad(path, number, f"the path {written!r}", "a path inside the CSV's folder")
    return str(PurePosixPath(written))


def _bad(path: Path, number: int, got: str, expected: str) -> DataError:
    return DataError(
        f"file {path}, line {number}", got=got, expected=expected, fix="correct this line"
    )
