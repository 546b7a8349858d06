"""The way back from `manifest.json` to a Manifest: strict types, nothing guessed.

Keys that this version does not know are ignored, so that a later version may add optional ones;
a higher major number of the schema is refused.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import cast

from edgetl.bundle.fields import Node, check_plain
from edgetl.bundle.manifest import (
    NAME,
    VERSION,
    FileEntry,
    GoldenFiles,
    GoldenKind,
    Manifest,
    ManifestVariant,
    VerdictName,
)
from edgetl.bundle.problem import MANIFEST, RESERVED, path_fault, paths_fault
from edgetl.bundle.tables import read_conformal, read_thresholds
from edgetl.errors import BundleError, DataError, SpecError
from edgetl.files import parse_json
from edgetl.input_json import input_from_json, input_to_json
from edgetl.spec import ClassifierInput, Precision, Variant

MAX_MANIFEST_BYTES = 16 << 20
# Above it a golden set would prove nothing.
MAX_TOLERANCE = 0.25

_SCHEMA = re.compile(r"edgetl\.bundle/([1-9][0-9]{0,5})(?:\.[0-9]{1,6})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def parse_manifest(data: bytes) -> Manifest:
    """Read the bytes of `manifest.json`.

    Raises:
        BundleError: When they are not a manifest of this major version; the message says where.
    """
    try:
        document = parse_json(data, MANIFEST)
    except DataError as error:
        raise BundleError(
            MANIFEST, got=error.got, expected=error.expected, fix=error.fix
        ) from error
    root = Node(document, "")
    _check_schema(root.key("schema"))
    check_plain(document)
    manifest = Manifest(
        name=_matching(root.key("name"), NAME, "letters, digits, '.', '_', '-', at most 64"),
        version=_matching(root.key("version"), VERSION, "one to four numbers, such as 1.0.0"),
        classes=_classes(root.key("classes")),
        input=_input(root.key("input")),
        variants=tuple(_variant(node) for node in root.key("variants").items()),
        reference=MappingProxyType(
            {key: node.scalar() for key, node in root.key("reference").mapping().items()}
        ),
        golden=_golden(root.key("golden")),
        files=_files(root.key("files")),
        created_by=root.key("created_by").text(),
    )
    _check_variants(manifest, root)
    _check_golden(manifest, root.key("golden"))
    return manifest


def _check_schema(node: Node) -> None:
    match = _SCHEMA.fullmatch(node.value) if isinstance(node.value, str) else None
    if match is None:
        raise node.error("edgetl.bundle/1")
    if int(match[1]) > 1:
        raise BundleError(
            f"{MANIFEST}: schema",
            got=f"edgetl.bundle/{match[1]}, from a newer edgetl",
            expected="edgetl.bundle/1",
            fix="update edgetl on this device",
        )


def _matching(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.error(expected)
    return text


def _classes(node: Node) -> tuple[str, ...]:
    labels = tuple(item.text() for item in node.items())
    if len(labels) < 2:
        raise node.error("at least two classes")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise Node(twice, node.where).error("every label once")
    return labels


def _input(node: Node) -> ClassifierInput:
    try:
        value = input_from_json({key: below.value for key, below in node.mapping().items()})
    except SpecError as error:
        raise node.error(f"{error.expected} ({error.got})") from error
    # The spec's reader converts numbers kindly; a manifest holds them as they are.
    for key, written in input_to_json(value).items():
        if node.key(key).value != written:
            raise node.key(key).error(f"{written!r}")
    return value


def _variant(node: Node) -> ManifestVariant:
    p50 = node.key("p50_ms")
    optional = node.mapping()
    return ManifestVariant(
        variant=Variant(
            id=_matching(node.key("id"), _ID, "letters, digits, '.', '_', '-', at most 64"),
            backend=_matching(node.key("backend"), _ID, "the name of a backend"),
            precision=Precision(node.key("precision").one_of(tuple(Precision))),
            files=tuple(item.text() for item in node.key("files").items()),
            settings=MappingProxyType(
                {key: item.scalar() for key, item in node.key("settings").mapping().items()}
            ),
        ),
        verdict=cast(
            VerdictName,
            node.key("verdict").one_of(("PASS", "FAIL", "INCONCLUSIVE", "NOT JUDGED")),
        ),
        temperature=node.key("temperature").number(above=0),
        p50_ms=None if p50.value is None else p50.number(above=0),
        execution=MappingProxyType(
            {key: item.value for key, item in node.key("execution").mapping().items()}
        ),
        thresholds=read_thresholds(optional["thresholds"]) if "thresholds" in optional else None,
        conformal=read_conformal(optional["conformal"]) if "conformal" in optional else None,
    )


def _golden(node: Node) -> GoldenFiles:
    answers = node.key("answers")
    return GoldenFiles(
        kind=cast(GoldenKind, node.key("kind").one_of(("real", "synthetic", "none"))),
        inputs=tuple(item.text() for item in node.key("inputs").items()),
        answers=None if answers.value is None else answers.text(),
        tolerance=MappingProxyType(
            {
                key: item.number(above=0, up_to=MAX_TOLERANCE)
                for key, item in node.key("tolerance").mapping().items()
            }
        ),
    )


def _files(node: Node) -> MappingProxyType[str, FileEntry]:
    files = {}
    for path, entry in node.mapping().items():
        if path in RESERVED or path_fault(path):
            raise Node(path, node.where).error("a relative path of plain names, not a reserved one")
        sha256 = _matching(entry.key("sha256"), _SHA256, "64 lower-case hexadecimal digits")
        files[path] = FileEntry(size=entry.key("size").integer(least=0), sha256=sha256)
    fault = paths_fault([*files, *RESERVED])
    if fault:
        raise Node(fault, node.where).error("paths that one folder can hold")
    return MappingProxyType(files)


def _check_variants(manifest: Manifest, root: Node) -> None:
    node = root.key("variants")
    ids = [entry.variant.id for entry in manifest.variants]
    if not ids:
        raise node.error("at least one variant")
    for at, entry in enumerate(manifest.variants):
        # The golden answers of the reference and of the variants are named side by side.
        if entry.variant.id == "reference" or ids.count(entry.variant.id) > 1:
            raise node.items()[at].key("id").error("an id of its own, not 'reference'")
        _check_listed(manifest, node.items()[at].key("files"), entry.variant.files)
        if not entry.variant.files:
            raise node.items()[at].key("files").error("at least one file")


def _check_golden(manifest: Manifest, node: Node) -> None:
    golden = manifest.golden
    if golden.kind == "none":
        if golden.inputs or golden.answers is not None or golden.tolerance:
            raise node.error("no inputs, answers or tolerance beside kind 'none'")
        return
    if golden.answers is None or not golden.inputs:
        raise node.error("inputs and answers, or kind 'none'")
    _check_listed(manifest, node.key("inputs"), golden.inputs)
    _check_listed(manifest, node.key("answers"), (golden.answers,))
    if set(golden.tolerance) != {entry.variant.id for entry in manifest.variants}:
        raise node.key("tolerance").error("one tolerance for each variant")


def _check_listed(manifest: Manifest, node: Node, paths: tuple[str, ...]) -> None:
    for path in paths:
        if path not in manifest.files:
            raise Node(path, node.where).error("a path that 'files' lists")
