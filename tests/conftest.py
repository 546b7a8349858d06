from __future__ import annotations

from pathlib import Path

import pytest

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs a Debian package that is not here."""
    import shutil

    reasons = {}
    if not FASHION_MNIST.is_dir():
        reasons["needs_fashion_mnist"] = "the Debian package dataset-fashion-mnist is missing"
    if shutil.which("strace") is None:
        reasons["needs_strace"] = "the Debian package strace is missing"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
