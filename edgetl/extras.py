"""Optional dependencies: a missing one is said with the extra that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgetl.errors import MissingExtraError


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn a failed import inside the block into an error that names the extra.

    Args:
        name: The extra of edgetl that brings the module, such as ``"gate"``.

    Raises:
        MissingExtraError: When a module imported in the block is not installed.

    Example:
        >>> with extra("gate"):
        ...     import json
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "edgetl":
            # No extra brings a module of our own: that is a defect, and reads as one.
            raise
        raise MissingExtraError(
            f"module {error.name}",
            got="not installed",
            expected=f"the extra '{name}'",
            fix=f"pip install 'edgetl[{name}]'",
        ) from error
