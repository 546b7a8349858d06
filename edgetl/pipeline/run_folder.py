"""The folder of one release: a folder a stage, each with the record of what it was made from."""

from __future__ import annotations

import fcntl
import os
import shutil
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

    def record(self, name: str) -> dict[str, Any] | None:
        """A stage's record, or None when the stage was never finished."""
        path = self.stage(name) / RECORD
        if not path.is_file():
            return None
        try:
            value = parse_json(path.read_bytes(), str(path))
        except DataError:
            return None
        return value if isinstance(value, dict) else None

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
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process.

        Raises:
            UsageError: When another process holds it, or the folder cannot be written.
        """
        self._refuse_foreign()
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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise UsageError(
                str(self.root),
                got="a release that is still running here",
                expected="one release at a time in a folder",
                fix="wait for it, or name another folder with --out DIR",
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def _refuse_foreign(self) -> None:
        """A folder with other things in it is not taken for a run: stages replace folders."""
        if not self.root.exists() or (self.root / _LOCK).exists():
            return
        if not self.root.is_dir() or any(self.root.iterdir()):
            raise UsageError(
                str(self.root),
                got="something that is not a run of edgetl",
                expected="a new or empty folder, or an earlier run",
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
