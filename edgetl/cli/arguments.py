"""Arguments that several commands share, and the checks of what they name."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from edgetl.errors import UsageError
from edgetl.files import canonical_json, write_atomic

# More than any machine that runs a classifier has; a backend would fail on it in its own words.
MAX_THREADS = 1024

SOURCES = (
    "builtin:digits, folder:DIR, csv:FILE, npz:FILE, idx:DIR, cub:DIR, flowers:DIR or "
    "huggingface:DIR"
)
"""What help calls the kinds of data; told here, because help does not import the data's room."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--force`` and ``--quiet``."""
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the machine-readable result (- to print it)",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite result files that exist, never an input"
    )
    parser.add_argument("--quiet", action="store_true", help="print only errors and what is wrong")


def positive_int(text: str) -> int:
    """An integer of at least 1.

    Example:
        >>> positive_int("2")
        2
    """
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, which is not a whole number of at least 1")
    return value


def thread_count(text: str) -> int:
    """A number of threads, 1 to 1024.

    Example:
        >>> thread_count("8")
        8
    """
    value = _whole(text)
    if not 1 <= value <= MAX_THREADS:
        shown = text if len(text) <= 40 else text[:39] + "…"
        raise argparse.ArgumentTypeError(
            f"{shown!r}, which is not a whole number from 1 to {MAX_THREADS}"
        )
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def check_file(path: Path, what: str) -> None:
    """Refuse a path that is not a file that can be read.

    Raises:
        UsageError: When nothing is there, a folder is, or it cannot be read.
    """
    if path.is_dir():
        raise UsageError(str(path), got="a folder", expected=what, fix="name the file inside it")
    if not path.exists():
        raise UsageError(
            str(path),
            got="nothing there",
            expected=what,
            fix=f"correct the path; it is relative to {Path.cwd()}"
            if not path.is_absolute()
            else "correct the path",
        )
    if not os.access(path, os.R_OK):
        raise UsageError(
            str(path), got="no permission to read it", expected=what, fix=f"chmod +r {path}"
        )


def check_outputs(
    options: argparse.Namespace,
    *names: str,
    inputs: Iterable[Path | None] = (),
    inside: Path | None = None,
) -> None:
    """Refuse result files that cannot or must not be written, before any work is done.

    Args:
        options: The parsed options.
        names: The options that name result files. ``-`` is standard output for ``--json`` only.
        inputs: Files that the command reads: ``--force`` does not allow to overwrite them.
        inside: An input folder that results must stay out of.

    Raises:
        UsageError: When a result exists without ``--force``, is anything but a regular file, is
            an input or another result, lies in no folder, cannot be written, or lies inside the
            input folder.
    """
    taken = {os.path.realpath(path): f"the input {path}" for path in inputs if path is not None}
    for name in names:
        path: Path | None = getattr(options, name)
        if path is None or (name == "json" and str(path) == "-"):
            continue
        _check_name(path, name)
        # realpath: Path.resolve gives up with an error of its own on a circle of links.
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(
                f"--{name} {path}",
                got=f"the same file as {taken[place]}",
                expected="a file of its own, with or without --force",
                fix="name another file",
            )
        taken[place] = f"--{name}"
        if inside is not None and inside.is_dir() and _within(path, inside):
            raise UsageError(
                str(path),
                got="a result inside the input",
                expected=f"a place outside {inside}",
                fix="name another file",
            )
        _check_target(path, force=options.force)
        _check_folder(path)


def _check_name(path: Path, name: str) -> None:
    if str(path) == "-":
        raise UsageError(
            f"--{name} -",
            got="standard output",
            expected="a file; only --json - prints",
            fix=f"--{name} FILE",
        )


def _check_target(path: Path, *, force: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise UsageError(
            str(path), got="a folder", expected="a file to write", fix="name a file inside it"
        )
    if not stat.S_ISREG(mode):
        # A finished file takes the name's place: what the link or device leads to gets nothing.
        raise UsageError(
            str(path),
            got="a symbolic link" if stat.S_ISLNK(mode) else "a device, FIFO or socket",
            expected="a regular file or a new one, with or without --force",
            fix="name the file itself, or --json - to print",
        )
    if not force:
        raise UsageError(
            str(path),
            got="a file that exists",
            expected="a new file",
            fix="name another one, or add --force to overwrite it",
        )


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(
            str(path),
            got="no such folder",
            expected="an existing folder to write in",
            fix=f"mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK):
        raise UsageError(
            str(path),
            got="no permission to write there",
            expected="a folder that can be written",
            fix="name another file",
        )


def _within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_one_source(options: argparse.Namespace, command: str, *, extra: str = "") -> None:
    """Refuse a command that names neither or both of a release's CONFIG and --predictions."""
    if (options.config is None) == (options.predictions is None):
        raise UsageError(
            "command line",
            got="neither or both of CONFIG and --predictions",
            expected="one of the two",
            fix=f"edgetl {command} CONFIG, or "
            f"edgetl {command} --predictions REF.npz CAND.npz{extra}",
        )
    if options.dry_run and options.config is None:
        raise UsageError(
            f"edgetl {command} --dry-run",
            got="given beside --predictions",
            expected="a release's CONFIG: stored predictions have no stages to plan",
            fix="leave --dry-run out",
        )


def write_result(options: argparse.Namespace, value: object) -> None:
    """Write the machine-readable result to where ``--json`` says, if it does."""
    if options.json is None:
        return
    if str(options.json) == "-":
        sys.stdout.buffer.write(canonical_json(value))
        sys.stdout.flush()
    else:
        write_atomic(options.json, canonical_json(value))
