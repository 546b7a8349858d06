from __future__ import annotations

import os

import pytest

from edgetl.backends.checked import check_threads, usable_cores, vendor_error
from edgetl.errors import UsageError


def test_all_usable_cores_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_threads(None) == usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert check_threads(None) == 1
    assert check_threads(5) == 5


@pytest.mark.parametrize("threads", [0, -1, True, "2"])
def test_threads_that_are_none(threads: object) -> None:
    with pytest.raises(UsageError, match="threads"):
        check_threads(threads)  # type: ignore[arg-type]


def test_a_vendor_s_words_on_one_line_and_not_endless() -> None:
    error = vendor_error("model", RuntimeError("one\n two" + "x" * 1000))
    assert "one two" in error.got
    assert len(error.got) == 400
    assert vendor_error("model", RuntimeError()).got == "RuntimeError"
