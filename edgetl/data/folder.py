"""Pictures in one folder a class, found by a walk of our own.

``DIR/CLASS/…`` or ``DIR/train/CLASS/…`` (``training``) beside ``val`` (``valid``, ``validation``,
``dev``), ``calib`` (``calibration``) and ``test`` (``testing``), in any case. Split words beside
other folders, and a level above the classes that has other names, are refused: classes called
after the folders of splits would be learnt without complaint. What counts as a picture is decided
by content, not by name:

- regular files at any depth below a class folder are its pictures;
- links, FIFOs, sockets and devices are never opened or followed, and cannot be used;
- hidden files and folders (``.…``), and files beside the class folders that are no pictures, such
  as a licence, are skipped; the dataset card lists both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

from edgetl.data.dataset import GivenSplit
from edgetl.data.decode import looks_like_picture
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

_MAX_DEPTH = 32
_SHOWN = 5


def list_folder(folder: Path) -> Listing:
    """Find the pictures of a folder of class folders, in the order of their paths.

    Raises:
        DataError: When there is no such folder, it cannot be read, or some of its folders are
            named as splits and others are not, or they seem to lie above the classes.
    """
    where = f"folder:{folder}"
    if not folder.is_dir():
        raise DataError(
            f"dataset {where}",
            got="a file" if folder.exists() else "no such folder",
            expected="a folder with one folder a class",
            fix="check the path",
        )
    walk = _Walk(folder)
    tops = walk.folders_of(folder)
    found: list[tuple[GivenSplit | None, str, Path]] = []
    if _is_split_level(tops, where):
        for top in tops:
            split = split_called(top.name)
            found += [(split, path.name, path) for path in walk.folders_of(top)]
    else:
        _check_class_level(tops, where)
        found = [(None, path.name, path) for path in tops]
    classes = tuple(sorted({name for _, name, _ in found}))
    number = {name: at for at, name in enumerate(classes)}
    entries = [
        Entry(
            place=shown(path.relative_to(folder)),
            label=number[name],
            read=partial(read_bytes, path),
            split=split,
        )
        for split, name, place in found
        for path in walk.files_of(place)
    ]
    return Listing(
        name=f"folder:{shown(folder.name)}",
        where=where,
        classes=classes,
        entries=tuple(entries),
        problems=tuple(walk.problems),
        skipped=tuple(walk.skipped),
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder that is neither hidden nor reached by a link, sorted."""
    return _Walk(folder).files_of(folder)


def _is_split_level(tops: list[Path], where: str) -> bool:
    named = [shown(top.name) for top in tops if split_called(top.name)]
    others = [shown(top.name) for top in tops if not split_called(top.name)]
    if named and others:
        raise DataError(
            f"dataset {where}",
            got=f"folders {', '.join(sorted(named))} beside {', '.join(others[:_SHOWN])}"
            + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""),
            expected="split folders only, or class folders only",
            fix=f"move the other folders elsewhere; if {named[0]} is a class, rename it, or put "
            "all classes into a folder train",
        )
    return bool(named)


def _check_class_level(tops: list[Path], where: str) -> None:
    """Refuse folders that hold no pictures but the same folders: the classes are below."""
    below = {top: {path.name.casefold() for path in _Walk(top).folders_of(top)} for top in tops}
    alike = next(
        (
            (one, other, both)
            for one, other in combinations(tops, 2)
            if len(both := below[one] & below[other]) > 1
        ),
        None,
    )
    if alike is None or any(map(_holds_pictures, tops)):
        return
    one, other, both = alike
    raise DataError(
        f"dataset {where}",
        got=f"a level above the classes: {shown(one.name)} and {shown(other.name)} hold no "
        f"pictures but both {', '.join(map(shown, sorted(both)[:_SHOWN]))}",
        expected=f"a folder per class, or above the classes {', '.join(SPLIT_WORDS)}",
        fix=f"rename these folders as the splits that they are; if {shown(one.name)} is a class, "
        "put its pictures right into it",
    )


def _holds_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as found:
            return any(
                entry.is_file(follow_symlinks=False) and _is_picture(Path(entry.path))
                for entry in found
                if not entry.name.startswith(".")
            )
    except OSError:
        return False


@dataclass
class _Walk:
    root: Path
    problems: list[Problem] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def folders_of(self, folder: Path) -> list[Path]:
        """The folders right below one that holds no pictures itself."""
        folders = []
        for entry in self._scan(folder):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and not _is_picture(Path(entry.path)):
                self.skipped.append(self._place(entry))
            elif entry.is_file(follow_symlinks=False):
                self._refuse(entry, "a picture that lies in no class folder")
            else:
                self._refuse(entry, _kind(entry))
        return folders

    def files_of(self, folder: Path, depth: int = 0) -> Iterator[Path]:
        """The regular files at any depth below a folder."""
        for entry in self._scan(folder):
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            elif not entry.is_dir(follow_symlinks=False):
                self._refuse(entry, _kind(entry))
            elif depth == _MAX_DEPTH:
                self._refuse(entry, f"a folder {_MAX_DEPTH} levels below its class")
            else:
                yield from self.files_of(Path(entry.path), depth + 1)

    def _scan(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            self.problems.append(Problem(place=shown(folder.relative_to(self.root)), why=why))
            return []
        hidden = [entry for entry in entries if entry.name.startswith(".")]
        self.skipped += [self._place(entry) for entry in hidden]
        return [entry for entry in entries if not entry.name.startswith(".")]

    def _refuse(self, entry: os.DirEntry[str], why: str) -> None:
        self.problems.append(Problem(place=self._place(entry), why=why))

    def _place(self, entry: os.DirEntry[str]) -> str:
        return shown(Path(entry.path).relative_to(self.root))


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a symbolic link, which is never followed"
    tests: dict[str, Callable[[], bool]] = {
        "a FIFO": Path(entry.path).is_fifo,
        "a socket": Path(entry.path).is_socket,
    }
    return next((kind for kind, test in tests.items() if test()), "a device")


def _is_picture(path: Path) -> bool:
    try:
        with open_regular(path, follow_links=False) as stream:
            return looks_like_picture(stream.read(16))
    except DataError:
        return False
