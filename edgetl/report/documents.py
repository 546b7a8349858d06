"""Documents that other stages wrote, checked before a word of them is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from edgetl.errors import GateError
from edgetl.report.numbers import clean, finite

Table = Mapping[str, Any]

WATERFALL = "edgetl.waterfall/1"
THRESHOLDS = "edgetl.thresholds/1"
CONFORMAL = "edgetl.conformal/1"
SUSPICIOUS = "edgetl.suspicious/1"
TRANSFER_CHECK = "edgetl.transfer-check/1"


def check_schema(document: object, schema: str) -> Table:
    """The document, when it is of that schema.

    Raises:
        GateError: Naming what it is instead.
    """
    if not isinstance(document, Mapping) or "schema" not in document:
        refuse(schema, "a document without a schema")
    if document["schema"] != schema:
        refuse(schema, f"the schema {clean(document['schema'])}")
    return document


def refuse(schema: str, got: str) -> NoReturn:
    """Raise the error of a document that is not what its schema says."""
    raise GateError(
        f"report: {schema}",
        got=got,
        expected=f"a whole document {schema}",
        fix="write it anew with the stage that made it, then the report",
    )


def table(document: Table, key: str, schema: str, *, where: str = "") -> Table:
    """The object under a key; a GateError when there is none."""
    value = document.get(key)
    if not isinstance(value, Mapping):
        refuse(schema, f"{where}{key} that is no object")
    return value


def figure(document: Table, key: str, schema: str, *, where: str = "") -> float:
    """The finite number under a key; a GateError when there is none."""
    value = finite(document.get(key))
    if value is None:
        refuse(schema, f"{where}{key} that is no number")
    return value


def text(document: Table, key: str, schema: str, *, where: str = "") -> str:
    """The text under a key; a GateError when there is none."""
    value = document.get(key)
    if not isinstance(value, str):
        refuse(schema, f"{where}{key} that is no text")
    return value


def rows(document: Table, key: str, schema: str) -> Sequence[Table]:
    """The list of objects under a key; a GateError when there is none."""
    value = document.get(key)
    if not isinstance(value, list | tuple) or not all(isinstance(one, Mapping) for one in value):
        refuse(schema, f"{key} that is no list of objects")
    return value
