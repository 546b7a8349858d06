"""Open a path only when it is a regular file: a FIFO would block, a device would never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from edgetl.errors import DataError


def open_regular(path: Path, *, follow_links: bool) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: The file.
        follow_links: Whether the last part of the path may be a symbolic link. A path that a
            person typed may; a name found inside a dataset's folder may not.

    Raises:
        DataError: When the path is missing, unreadable, a folder, a FIFO, a device, a socket, or
            a link that may not be followed.
    """
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not follow_links and path.is_symlink():
            raise _error(path, "a symbolic link", "put the file itself there")
        handle = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _error(path, got.lower(), "check the path and its permissions") from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise _error(path, _kind(mode), "give the path of the file itself")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"


def _error(path: Path, got: str, fix: str) -> DataError:
    return DataError(f"file {path}", got=got, expected="a regular file", fix=fix)
