"""Files written whole or not at all, strict JSON, and content hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgetl.errors import DataError

_CHUNK = 1 << 20


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits.

    Example:
        >>> sha256_bytes(b"")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: object) -> bytes:
    """JSON as UTF-8 with sorted keys, two spaces of indentation, no NaN, one newline at the end.

    Example:
        >>> canonical_json({"b": 1, "a": 2})
        b'{\\n  "a": 2,\\n  "b": 1\\n}\\n'
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def parse_json(data: bytes, subject: str) -> Any:
    """Parse strict JSON: UTF-8, no NaN or Infinity, no duplicate key, no absurd nesting.

    Args:
        data: The bytes of the document.
        subject: What to call the document in an error.

    Raises:
        DataError: When the bytes are not such a document.
    """

    def refuse_constant(name: str) -> Any:
        raise ValueError(f"the constant {name}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in names if names.count(key) > 1)
            raise ValueError(f"the key {twice!r} twice")
        return result

    try:
        return json.loads(
            data.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=unique
        )
    except (ValueError, RecursionError) as error:
        raise DataError(
            subject,
            got=str(error) or type(error).__name__,
            expected="a strict JSON document in UTF-8",
            fix="write the file anew with the command that made it",
        ) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader or a power cut sees the old content or the new, never a mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; a result is as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write canonical JSON atomically."""
    write_atomic(path, canonical_json(value))


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends well.

    An existing `target` is replaced. When the block raises, the temporary folder is
    removed and `target` stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with atomic_folder(Path(root) / "made") as folder:
        ...         _ = (folder / "a.txt").write_text("a")
        ...     sorted(p.name for p in (Path(root) / "made").iterdir())
        ['a.txt']
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    temporary.chmod(0o777 & ~_umask())
    try:
        yield temporary
        sync_tree(temporary)
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with (Path(root) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(root))


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace_folder(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    # A folder cannot be renamed over a full one: the old one steps aside first.
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / "was")
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
