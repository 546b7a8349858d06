from __future__ import annotations

import pickle

import pytest

from edgetl import errors
from edgetl.errors import EdgetlError
from edgetl.pipeline.process import error_from_json, error_to_json

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, EdgetlError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_drawn_in_the_tree(kind: type[EdgetlError]) -> None:
    assert errors.__doc__ is not None
    assert f"{kind.__name__} " in errors.__doc__
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_travels_whole_between_processes(kind: type[EdgetlError]) -> None:
    error = kind("a file", got="nothing", expected="something", fix="write it")
    for copy in (pickle.loads(pickle.dumps(error)), error_from_json(error_to_json(error))):
        assert type(copy) is kind
        assert str(copy) == str(error)
        assert copy.exit_code == (3 if issubclass(kind, errors.UnavailableError) else 2)
