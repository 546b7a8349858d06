"""The zip form of a bundle: stored entries in one fixed layout, so that no bit of it is free.

A zip has many spellings of the same content, and readers that disagree on them. The reader here
takes names, sizes and checksums from the central directory, lays the archive out anew, and
compares every byte that is not file content; the content has its SHA-256 in the manifest.

Layout: APPNOTE.TXT, 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (end record).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgetl.bundle.folder import open_regular, read_exactly
from edgetl.bundle.problem import Problem, path_fault
from edgetl.errors import BundleError

MAX_BYTES = (1 << 32) - 1
MAX_ENTRIES = 10_000
_MAX_DIRECTORY = 4 << 20

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 10
_MADE_BY = 3 << 8 | _VERSION
_DATE = 1 << 5 | 1  # 1 January 1980, the first day that a zip can name
_MODE = 0o100644 << 16
_LINK = 0o120000
_PACK = "pack the bundle's folder with edgetl.bundle.pack_zip"


@dataclass(frozen=True, kw_only=True)
class ZipEntry:
    """A stored file: its path, size and CRC-32."""

    path: str
    size: int
    crc: int

    @property
    def header(self) -> bytes:
        """The local header that stands before the content."""
        name = self.path.encode()
        fields = (_VERSION, 0, 0, 0, _DATE, self.crc, self.size, self.size, len(name), 0)
        return _LOCAL.pack(b"PK\x03\x04", *fields) + name


def directory_of(entries: Iterable[ZipEntry]) -> bytes:
    """The central directory and the end record of an archive of these entries, in this order."""
    offset, count, rows = 0, 0, bytearray()
    for entry in entries:
        name = entry.path.encode()
        sizes = (_DATE, entry.crc, entry.size, entry.size, len(name))
        rows += _CENTRAL.pack(
            b"PK\x01\x02", _MADE_BY, _VERSION, 0, 0, 0, *sizes, 0, 0, 0, 0, _MODE, offset
        )
        rows += name
        offset += len(entry.header) + entry.size
        count += 1
    return bytes(rows) + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(rows), offset, 0)


def write_archive(stream: BinaryIO, paths: Iterable[str], contents: Mapping[str, Path]) -> None:
    """Write files as an archive in the one layout.

    Args:
        stream: Where to write.
        paths: Paths inside the bundle; they are sorted.
        contents: Where the content of each path lies.

    Raises:
        BundleError: When the archive would reach 4 GiB.
    """
    entries = []
    for path in sorted(paths):
        data = contents[path].read_bytes()
        entry = ZipEntry(path=path, size=len(data), crc=zlib.crc32(data))
        if stream.tell() + len(data) + _MAX_DIRECTORY > MAX_BYTES:
            raise BundleError(
                path, got="an archive of 4 GiB or more", expected="less", fix="use the folder"
            )
        stream.write(entry.header)
        stream.write(data)
        entries.append(entry)
    stream.write(directory_of(entries))


class ArchiveSource:
    """A bundle's zip, read in place: nothing is unpacked to the disk.

    `faults` are what is wrong with the archive itself; while there are any, nothing can be read.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._entries: dict[str, tuple[ZipEntry, int]] = {}
        self._stream = open_regular(path, self._name, allow_links=True)
        self.faults = self._read_directory()

    def close(self) -> None:
        """Close the file."""
        if not isinstance(self._stream, Problem):
            self._stream.close()

    def check_listing(self, expected: Collection[str]) -> list[Problem]:
        """Every file that is missing or too many."""
        extra = [
            Problem(file=path, got="a file that is not listed", expected="listed files only")
            for path in sorted(set(self._entries) - set(expected))
        ]
        missing = [
            Problem(file=path, got="no such file", expected="a listed file")
            for path in sorted(set(expected) - set(self._entries))
        ]
        return extra + missing

    def read(self, path: str, size: int) -> bytes | Problem:
        """The content of a file of at most `size` bytes."""
        if path not in self._entries or isinstance(self._stream, Problem):
            return Problem(file=path, got="no such file", expected="a listed file")
        entry, offset = self._entries[path]
        if entry.size > size:
            return Problem(file=path, got=f"{entry.size} bytes", expected=f"{size} bytes")
        self._stream.seek(offset)
        header = self._stream.read(len(entry.header))
        data = read_exactly(self._stream, entry.size)
        if header != entry.header or zlib.crc32(data) != entry.crc:
            return Problem(
                file=path,
                got="a local header or checksum that differs",
                expected="what the zip's directory says, in edgetl's layout",
            )
        return data

    def _read_directory(self) -> list[Problem]:
        stream = self._stream
        if isinstance(stream, Problem):
            return [stream]
        end_of_file = stream.seek(0, 2)
        stream.seek(max(0, end_of_file - _END.size))
        end = stream.read(_END.size)
        if len(end) < _END.size or not end.startswith(b"PK\x05\x06"):
            return [self._fault("no end record in the last 22 bytes")]
        *_, size, offset, _ = _END.unpack(end)
        if offset + size + _END.size != end_of_file or size > _MAX_DIRECTORY:
            return [self._fault("a directory that does not end where the end record begins")]
        stream.seek(offset)
        rows = stream.read(size)
        entries = self._parse(rows)
        if isinstance(entries, Problem):
            return [entries]
        if _end_of(entries) != offset or directory_of(entries) != rows + end:
            return [self._fault("a directory in another layout")]
        at = 0
        for entry in entries:
            self._entries[entry.path] = (entry, at)
            at += len(entry.header) + entry.size
        return []

    def _parse(self, rows: bytes) -> list[ZipEntry] | Problem:
        entries: list[ZipEntry] = []
        at = 0
        while at < len(rows):
            if at + _CENTRAL.size > len(rows) or len(entries) >= MAX_ENTRIES:
                return self._fault("a directory that is cut off, or too many entries")
            row = _CENTRAL.unpack_from(rows, at)
            _, _, _, flags, method, _, _, crc, packed, size, name_length, extra, comment = row[:13]
            raw = rows[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
            path = raw.decode("utf-8", "backslashreplace")
            fault = _row_fault(path, flags, method, row[15])
            if fault is None and entries and path <= entries[-1].path:
                names = [entry.path for entry in entries]
                fault = "the same name twice" if path in names else "names out of order"
            if fault is None and (packed != size or extra or comment):
                fault = "sizes that differ, an extra field or a comment"
            if fault:
                return self._fault(f"the entry {path[:200]!a}: {fault}")
            entries.append(ZipEntry(path=path, size=size, crc=crc))
            at += _CENTRAL.size + name_length
        return entries

    def _fault(self, got: str) -> Problem:
        return Problem(
            file=self._name, got=got, expected="a zip in the layout of edgetl", fix=_PACK
        )


def _end_of(entries: Iterable[ZipEntry]) -> int:
    return sum(len(entry.header) + entry.size for entry in entries)


def _row_fault(path: str, flags: int, method: int, attributes: int) -> str | None:
    if fault := path_fault(path):
        return fault
    if attributes >> 16 & 0o170000 == _LINK:
        return "a symbolic link"
    if flags & 1:
        return "an encrypted entry"
    return f"an entry compressed by method {method}" if method else None
