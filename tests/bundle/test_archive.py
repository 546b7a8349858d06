from __future__ import annotations

import re
import struct
from pathlib import Path

from edgetl.bundle import pack_zip
from edgetl.bundle.archive import ZipEntry, directory_of

FORMAT = Path(__file__).parents[2] / "docs/bundle-format.md"


def test_the_layout_is_that_of_the_document() -> None:
    entry = ZipEntry(path="a/b", size=5, crc=0x01020304)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 10, 0, 0, 0, 33, 0x01020304, 5, 5, 3, 0)
    assert entry.header == local + b"a/b"
    numbers = (778, 10, 0, 0, 0, 33, 0x01020304, 5, 5, 3, 0, 0, 0, 0, 2175008768, 0)
    row = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *numbers) + b"a/b"
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(row), len(local) + 3 + 5, 0)
    assert directory_of([entry]) == row + end


def test_files_follow_each_other_without_gaps(folder: Path, tmp_path: Path) -> None:
    data = pack_zip(folder, tmp_path / "b.zip").read_bytes()
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    at = 0
    for path in paths:
        name = path.encode()
        content = (folder / path).read_bytes()
        assert data[at : at + 4] == b"PK\3\4"
        assert data[at + 30 : at + 30 + len(name) + len(content)] == name + content
        at += 30 + len(name) + len(content)
    assert data[at : at + 4] == b"PK\1\2"


def test_the_document_names_every_key_of_a_manifest(folder: Path) -> None:
    written = set(re.findall(r'^ +"([a-z_0-9]+)":', (folder / "manifest.json").read_text(), re.M))
    free = {"top1", "n", "hint", "threads", "layers", "type"}  # inside the parts without rules
    named = set(re.findall(r'[`"]([a-z_0-9]+)[`"]', FORMAT.read_text()))
    assert written - free <= named
