"""The folder of one release: a folder a stage, each with the record of what it was made from."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.errors import DataError, UsageError
from edgetl.files import canonical_json, parse_json, sha256_bytes, sha256_file, write_json

RECORD = "stage.json"
_SCRATCH = ".work"
_LOCK = ".lock"
_MARKER = "run.json"
_SCHEMA = "edgetl.run/1"
_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class RunFolder:
    """Where a release keeps what its stages made."""

    root: Path

    def stage(self, name: str) -> Path:
        """The folder of a finished stage."""
        return self.root / name

    def scratch(self, name: str, key: str) -> Path:
        """A folder that outlives a kill, for work that can be taken up again.

        Work for other inputs is thrown away: only the key's own folder is kept.
        """
        parent = self.root / _SCRATCH / name
        mine = parent / key[:16]
        if parent.exists():
            for other in parent.iterdir():
                if other != mine:
                    shutil.rmtree(other)
        mine.mkdir(parents=True, exist_ok=True)
        return mine

    def is_begun(self, name: str, key: str) -> bool:
        """Whether a stage that was stopped left work for this key that can be taken up again."""
        return (self.root / _SCRATCH / name / key[:16]).is_dir()

    def drop_scratch(self, name: str) -> None:
        """Throw a stage's scratch folder away once the stage is finished."""
        shutil.rmtree(self.root / _SCRATCH / name, ignore_errors=True)
        scratch = self.root / _SCRATCH
        if scratch.exists() and not any(scratch.iterdir()):
            scratch.rmdir()

    def clear_leftovers(self, name: str) -> None:
        """Remove the temporary folders that a killed stage left behind."""
        if self.root.exists():
            for leftover in self.root.glob(f".{name}.*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def withdraw(self, name: str) -> bool:
        """Take a stage's results away, all at once; True when there were any."""
        if not self.stage(name).exists():
            return False
        aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.root))
        self.stage(name).rename(aside / name)
        shutil.rmtree(aside, ignore_errors=True)
        return True

    def record(self, name: str) -> dict[str, Any] | None:
        """A stage's record, or None when the stage was never finished."""
        path = self.stage(name) / RECORD
        if not path.is_file():
            return None
        try:
            value = parse_json(path.read_bytes(), str(path))
        except DataError:
            return None
        whole = isinstance(value, dict) and isinstance(value.get("outputs"), dict)
        return value if whole else None

    def write_record(self, folder: Path, *, key: str, inputs: object, seconds: float) -> None:
        """Record what a stage made in `folder`, and from what."""
        outputs = {name: sha256_file(folder / name) for name in _files(folder)}
        write_json(
            folder / RECORD,
            {"key": key, "inputs": inputs, "outputs": outputs, "seconds": round(seconds, 3)},
        )

    def outputs(self, name: str) -> Mapping[str, str]:
        """The hashes of the files that a finished stage made.

        Raises:
            UsageError: When the stage has not been run.
        """
        record = self.record(name)
        if record is None:
            raise UsageError(
                f"{self.root}: stage {name}",
                got="not run yet",
                expected="its results",
                fix=f"run `edgetl {name} CONFIG` or `edgetl release CONFIG` first",
            )
        return dict(record["outputs"])

    def is_current(self, name: str, key: str) -> bool:
        """True when a stage was made from exactly these inputs and its files are unchanged."""
        record = self.record(name)
        if record is None or record.get("key") != key:
            return False
        folder = self.stage(name)
        outputs: dict[str, str] = record["outputs"]
        return sorted(outputs) == _files(folder) and all(
            sha256_file(folder / file) == digest for file, digest in outputs.items()
        )

    @contextmanager
    def locked(self, release: str) -> Iterator[int]:
        """Hold the folder for one release of that name; gives the lock's file handle.

        A process that inherits the handle holds the lock too: while a stage still writes, even
        one whose parent was killed, no other release begins.

        Raises:
            UsageError: When another process holds it, the folder cannot be written, or it is not
                a run of this release: stages replace folders, and must not replace others'.
        """
        self.refuse_foreign(release)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(
                str(self.root),
                got=error.strerror or str(error),
                expected="a folder that can be written",
                fix="name another one with --out DIR",
            ) from error
        try:
            self._take(handle)
            self.refuse_foreign(release)
            if not (self.root / _MARKER).exists():
                write_json(self.root / _MARKER, {"schema": _SCHEMA, "name": release})
            yield handle
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        # A stage that was killed a moment ago may still be giving its memory back.
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() < patience:
                    time.sleep(0.05)
                    continue
                raise UsageError(
                    str(self.root),
                    got="a release that is still running here",
                    expected="one release at a time in a folder",
                    fix="wait for it, or name another folder with --out DIR",
                ) from error

    def refuse_foreign(self, release: str) -> None:
        """Refuse a folder that is neither new nor empty, nor a run of this release.

        Raises:
            UsageError: Saying what it is.
        """
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise _foreign(self.root, "a file")
        marker = self.root / _MARKER
        if not marker.exists():
            if any(path.name != _LOCK for path in self.root.iterdir()):
                raise _foreign(self.root, "a folder with other things in it")
            return
        try:
            value = parse_json(marker.read_bytes(), str(marker))
        except (DataError, OSError) as error:
            raise _foreign(self.root, f"an unreadable {_MARKER}") from error
        name = value.get("name") if isinstance(value, dict) else None
        if name != release:
            raise _foreign(self.root, f"the run of another release, {name!r}")


def _foreign(root: Path, got: str) -> UsageError:
    return UsageError(
        str(root),
        got=got,
        expected="a new or empty folder, or an earlier run of this release",
        fix="name another folder with --out DIR",
    )


def stage_key(value: object) -> str:
    """The hash under which a stage's result is known: of everything it is made from."""
    return sha256_bytes(canonical_json(value))


def _files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    )
