from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError


def test_a_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with open_regular(path, follow_links=False) as stream:
        assert stream.read() == b"abc"


def test_a_link_is_followed_only_when_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    link = tmp_path / "b"
    link.symlink_to("a")
    with open_regular(link, follow_links=True) as stream:
        assert stream.read() == b"abc"
    with pytest.raises(DataError, match="symbolic link"):
        open_regular(link, follow_links=False)


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("kind", ["folder", "FIFO", "device", "no such file"])
def test_everything_else_is_refused(tmp_path: Path, kind: str, follow: bool) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(DataError, match=kind):
        open_regular(path, follow_links=follow)


def test_a_null_byte_in_the_path_is_refused() -> None:
    with pytest.raises(DataError, match="regular file"):
        open_regular(Path("a\0b"), follow_links=True)
