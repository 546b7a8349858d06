"""The folder form of a bundle: regular files of their own, opened without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from edgetl.bundle.problem import Problem, parents, path_fault

_CHUNK = 1 << 30  # a single read stops short of 2 GiB on Linux


class FolderSource:
    """A bundle's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.faults: list[Problem] = []

    def close(self) -> None:
        """Nothing is held open."""

    def check_listing(self, expected: Collection[str]) -> list[Problem]:
        """Every file that is missing, too many, linked or not a regular file.

        A folder that no listed file lies in is too many, and is not entered.
        """
        wanted = set(expected)
        folders = {parent for path in wanted for parent in parents(path)}
        problems, found = [], set()
        waiting = [""]
        while waiting:
            below = waiting.pop()
            with os.scandir(self._root / below) as entries:
                for entry in entries:
                    path = f"{below}/{entry.name}" if below else entry.name
                    found.add(path)
                    mode = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(mode.st_mode) and path in folders:
                        waiting.append(path)
                    elif fault := _entry_fault(mode, path in wanted):
                        problems.append(
                            Problem(file=_shown(path), got=fault, expected="listed files only")
                        )
        problems += [
            Problem(file=path, got="no such file", expected="a listed file")
            for path in wanted - found
        ]
        return sorted(problems, key=lambda problem: problem.file)

    def read(self, path: str, size: int) -> bytes | Problem:
        """The content of a file of at most `size` bytes."""
        stream = open_regular(self._root / path, path, allow_links=False)
        if isinstance(stream, Problem):
            return stream
        with stream:
            there = os.fstat(stream.fileno()).st_size
            if there > size:
                return Problem(file=path, got=f"{there} bytes", expected=f"{size} bytes")
            return read_exactly(stream, there)


def open_regular(path: Path, name: str, *, allow_links: bool) -> BinaryIO | Problem:
    """Open a regular file for reading, or say why not.

    Args:
        path: Where it lies.
        name: What to call it.
        allow_links: Whether it may be a symbolic link or have a second name (a hard link).
    """
    # Without waiting: opening a FIFO would otherwise block until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0) | (0 if allow_links else getattr(os, "O_NOFOLLOW", 0))
    try:
        if not allow_links and path.is_symlink():
            return Problem(file=name, got="a symbolic link", expected="a regular file")
        handle = os.open(path, flags)
    except OSError as error:
        return Problem(file=name, got=error.strerror or str(error), expected="a regular file")
    state = os.fstat(handle)
    fault = _entry_fault(state, listed=True)
    if fault and not (allow_links and stat.S_ISREG(state.st_mode)):
        os.close(handle)
        return Problem(file=name, got=fault, expected="a regular file of its own")
    return os.fdopen(handle, "rb", buffering=0)


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, or fewer where the file ends."""
    chunks = []
    while size and (chunk := stream.read(min(size, _CHUNK))):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _entry_fault(state: os.stat_result, listed: bool) -> str | None:
    if stat.S_ISLNK(state.st_mode):
        return "a symbolic link"
    if stat.S_ISDIR(state.st_mode):
        return "a folder that no listed file lies in"
    if not stat.S_ISREG(state.st_mode):
        return "a FIFO, socket or device"
    if not listed:
        return "a file that is not listed"
    return f"a hard link ({state.st_nlink} names)" if state.st_nlink > 1 else None


def _shown(path: str) -> str:
    return path if path_fault(path) is None else ascii(path[:200])
