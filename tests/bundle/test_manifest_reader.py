from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from edgetl.bundle.manifest import encode_manifest
from edgetl.bundle.manifest_reader import parse_manifest
from edgetl.errors import BundleError


@pytest.fixture
def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_bytes())


def _parse(document: object) -> object:
    return parse_manifest(json.dumps(document).encode())


def _set(document: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    *parents, last = place.split("/")
    node: Any = changed
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node[key]
    node[int(last) if isinstance(node, list) else last] = value
    return changed


def test_encoding_and_reading_are_inverse(folder: Path) -> None:
    data = (folder / "manifest.json").read_bytes()
    assert encode_manifest(parse_manifest(data)) == data


def test_unknown_keys_are_ignored_everywhere(document: dict[str, Any]) -> None:
    plain = _parse(document)
    for place in ("new", "variants/0/new", "golden/new", "files/verdict.json/new"):
        document = _set(document, place, {"any": ["thing", 1, None]})
    assert _parse(document) == plain


def test_an_unknown_key_of_the_input_is_refused_because_it_could_change_pixels(
    document: dict[str, Any],
) -> None:
    with pytest.raises(BundleError, match="new"):
        _parse(_set(document, "input/new", 1))


def test_a_minor_version_is_read_and_a_higher_major_refused(document: dict[str, Any]) -> None:
    assert _parse(_set(document, "schema", "edgetl.bundle/1.7")) == _parse(document)
    with pytest.raises(BundleError, match="newer edgetl"):
        _parse(_set(document, "schema", "edgetl.bundle/2"))


WRONG: list[tuple[str, object]] = [
    ("schema", "edgetl.bundle/0"),
    ("schema", "edgetl.bundle/1/../2"),
    ("schema", "another/1"),
    ("schema", 1),
    ("name", ""),
    ("name", "a/b"),
    ("name", ".hidden"),
    ("name", "a" * 65),
    ("version", "1..0"),
    ("version", "1.0.0.0.0"),
    ("version", 1),
    ("created_by", None),
    ("classes", "abc"),
    ("classes", ["one"]),
    ("classes", ["a", "b", "a"]),
    ("classes", ["a", "b", ""]),
    ("classes", ["a", "b", 3]),
    ("classes", ["a", "b", "c\n"]),
    ("classes", ["a", "b", "c\x7f"]),
    ("classes", ["a", "b", "\u202eabc"]),
    ("classes", ["a", "b", "\u2028"]),
    ("classes", ["a", "b", "\ud800"]),
    ("input", []),
    ("input/kind", "sound"),
    ("input/height", 8.0),
    ("input/height", True),
    ("input/height", 0),
    ("input/mean", ["0.5", 0.5, 0.5]),
    ("input/mean", [0.5, 0.5]),
    ("reference/top1", [1]),
    ("variants", []),
    ("variants", {}),
    ("variants/0/id", "reference"),
    ("variants/0/id", "ort-int8"),
    ("variants/0/id", "a\u001bb"),
    ("variants/0/backend", "../x"),
    ("variants/0/precision", "fp8"),
    ("variants/0/files", []),
    ("variants/0/files", ["models/none.onnx"]),
    ("variants/0/files", "models/net.xml"),
    ("variants/0/settings/hint", ["f32"]),
    ("variants/0/settings/hint", None),
    ("variants/0/verdict", "pass"),
    ("variants/0/temperature", 0),
    ("variants/0/temperature", "1"),
    ("variants/0/temperature", True),
    ("variants/0/p50_ms", -1),
    ("variants/0/execution", []),
    ("variants/0/execution/threads", 1 << 60),
    ("variants/0/execution/\u0007", 1),
    ("golden/kind", "fake"),
    ("golden/kind", "none"),
    ("golden/inputs", []),
    ("golden/inputs", ["golden/999.png"]),
    ("golden/answers", None),
    ("golden/answers", "golden/none.npz"),
    ("golden/tolerance", {}),
    ("golden/tolerance/ort-int8", 0.5),
    ("golden/tolerance/ort-int8", 0),
    ("files/verdict.json/size", -1),
    ("files/verdict.json/size", 1.5),
    ("files/verdict.json/sha256", "A" * 64),
    ("files/verdict.json/sha256", "a" * 63),
    ("files/..", {"size": 1, "sha256": "a" * 64}),
]
WRONG += [
    (f"files/{path}", {"size": 1, "sha256": "a" * 64})
    for path in (
        *("manifest.json", "manifest.sha256", "signature.json", "MODELS", "Verdict.json"),
        *("a\\b", "C:x", ".git", "a ", "é", "x." * 101),
    )
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_value_is_refused_at_its_place(
    document: dict[str, Any], place: str, value: object
) -> None:
    with pytest.raises(BundleError) as caught:
        _parse(_set(document, place, value))
    assert caught.value.subject.startswith("manifest.json: ")
    assert place.split("/")[0] in caught.value.subject
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "path", ["../up", "/root", "a/../b", "a//b", "", "a/", "./a", "a/b/" * 60 + "c"]
)
def test_a_path_that_could_leave_the_folder_is_refused(document: dict[str, Any], path: str) -> None:
    document["files"][path] = {"size": 1, "sha256": "a" * 64}
    with pytest.raises(BundleError, match="relative path"):
        _parse(document)


@pytest.mark.parametrize(
    "key",
    [
        "schema",
        "name",
        "version",
        "created_by",
        "classes",
        "input",
        "reference",
        "variants",
        "golden",
        "files",
    ],
)
def test_a_missing_key_is_named(document: dict[str, Any], key: str) -> None:
    del document[key]
    with pytest.raises(BundleError, match=rf"manifest\.json: {key}"):
        _parse(document)


def test_numbers_that_no_json_has_are_refused(document: dict[str, Any]) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = json.dumps(_set(document, "variants/0/temperature", "HERE"))
        with pytest.raises(BundleError):
            parse_manifest(text.replace('"HERE"', number).encode())


def test_a_duplicate_key_is_refused(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace('"name"', '"name": "other", "name"', 1)
    with pytest.raises(BundleError, match="twice"):
        parse_manifest(text.encode())


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[]", b"null", b'"x"', b"{", b"[" * 100_000, b"1" * 5000]
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        parse_manifest(data)


def test_deep_nesting_in_a_free_part_is_refused(document: dict[str, Any]) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BundleError, match="nesting"):
        _parse(_set(document, "variants/0/execution/deep", deep))
