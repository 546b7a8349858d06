"""A missing extra is named; a missing module of edgetl's own stays what it is."""

from __future__ import annotations

import importlib

import pytest

from edgetl.errors import MissingExtraError
from edgetl.extras import extra


def test_a_module_that_is_not_installed_is_said_with_its_extra() -> None:
    with pytest.raises(MissingExtraError, match="no_such_module") as error, extra("gate"):
        importlib.import_module("no_such_module")
    assert "pip install 'edgetl[gate]'" in str(error.value)


def test_a_missing_module_of_edgetl_s_own_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"edgetl\.no_such_room"), extra("gate"):
        importlib.import_module("edgetl.no_such_room")
