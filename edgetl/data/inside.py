"""Files that a list names: only regular ones that lie inside a folder, whatever was written."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from edgetl.data.dataset import is_plain_text


def stays_inside(written: str) -> bool:
    """Whether a written path is relative, plain text, and climbs nowhere.

    Example:
        >>> stays_inside("cat/1.jpg"), stays_inside("../1.jpg"), stays_inside("/1.jpg")
        (True, False, False)
    """
    place = PurePosixPath(written)
    climbs = place.is_absolute() or ".." in place.parts or not place.parts
    return is_plain_text(written) and not climbs


def why_unusable(picture: Path, base: Path) -> str | None:
    """Why a file that a list names cannot be used; None when it can.

    Args:
        picture: The file.
        base: The real path of the folder that it must be in.

    Example:
        >>> why_unusable(Path("/data/absent.png"), Path("/data"))
        'no such file'
    """
    if picture.is_symlink():
        return "a symbolic link, which is never followed"
    # A folder on the way may be a link as well.
    if not Path(os.path.realpath(picture)).is_relative_to(base):
        return "a file outside the folder"
    if not picture.exists():
        return "no such file"
    return None if picture.is_file() else "no regular file"
