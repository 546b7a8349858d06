from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import UsageError
from edgetl.pipeline.toml_text import comment, entry, toml_value

VALUES = st.one_of(
    st.text(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(deadline=None)
@given(st.one_of(VALUES, st.lists(VALUES)), st.text())
def test_what_is_written_is_read_again(value: object, why: str) -> None:
    assert tomllib.loads(entry("key", value, why)) == {"key": value}
    assert tomllib.loads(entry("key", value, why, off=True)) == {}
    assert tomllib.loads(comment(why)) == {}


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        toml_value("a\udcff")
