"""Opens a bundle: every byte is verified first, and the verified bytes are what is handed out."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from edgetl.bundle.archive import ArchiveSource
from edgetl.bundle.external_data import external_tensor
from edgetl.bundle.folder import FolderSource
from edgetl.bundle.golden import GoldenSet, read_golden
from edgetl.bundle.manifest import FileEntry, Manifest, manifest_to_json
from edgetl.bundle.manifest_reader import MAX_MANIFEST_BYTES, parse_manifest
from edgetl.bundle.problem import DIGEST, MANIFEST, Problem, error_from
from edgetl.errors import BundleError, UsageError
from edgetl.files import sha256_bytes
from edgetl.spec import Variant

VERDICT = "verdict.json"
_DIGEST_LINE = re.compile(rb"[0-9a-f]{64}\n")

Keep = Callable[[Manifest], Collection[str]]


class _Source(Protocol):
    faults: list[Problem]

    def check_listing(self, expected: Collection[str]) -> list[Problem]: ...

    def read(self, path: str, size: int) -> bytes | Problem: ...

    def close(self) -> None: ...


class Bundle:
    """A verified bundle: its manifest and the bytes that were verified.

    `open_bundle` makes it; nothing is read from the disk again afterwards.
    """

    def __init__(
        self,
        location: str,
        manifest: Manifest,
        files: Mapping[str, bytes],
        golden: GoldenSet | None,
    ) -> None:
        self._location = location
        self._manifest = manifest
        self._files = files
        self._golden = golden

    @property
    def location(self) -> str:
        """Where the bundle was read from, for messages."""
        return self._location

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._manifest

    @property
    def golden(self) -> GoldenSet | None:
        """The golden set, or None when the bundle has none."""
        return self._golden

    def read(self, path: str) -> bytes:
        """The verified content of a listed file.

        Raises:
            BundleError: When no such file is listed, or it was not kept by `open_bundle`.
        """
        try:
            return self._files[path]
        except KeyError:
            raise BundleError(
                f"{self._location}: {path}",
                got="no verified content",
                expected=f"one of {', '.join(sorted(self._files)) or 'no file'}",
                fix="ask for a file that the manifest lists and open_bundle kept",
            ) from None

    def variant_files(self, variant: Variant) -> dict[str, bytes]:
        """The verified files of a variant by path, as a backend loads them."""
        return {path: self.read(path) for path in variant.files}


def open_bundle(path: Path | str, *, keep: Keep | None = None) -> Bundle:
    """Verify a bundle, folder or zip, and hold its content.

    Every file is read once. The bundle is accepted when the digest, the exact listing and every
    size and SHA-256 are right, no file is linked, the golden set fits the classes, and no ONNX
    file points outside itself.

    Args:
        path: The bundle's folder or zip.
        keep: Given the manifest, the paths whose bytes to hold; the rest are verified and
            dropped, which spares a device the memory of variants that it does not run. All
            files are held by default.

    Raises:
        BundleError: Naming the first bad file, and the others.
        UsageError: When there is nothing at `path`.
    """
    bundle, problems = _examine(Path(path), keep)
    if bundle is None:
        raise error_from(Path(path).name, problems)
    return bundle


def verify_bundle(path: Path | str) -> list[Problem]:
    """Everything that is wrong with a bundle; empty when it is right. No model is loaded.

    When the manifest and its digest disagree nothing else can be told, and they are the only
    problem in the list.

    Raises:
        UsageError: When there is nothing at `path`.
    """
    return _examine(Path(path), lambda _: ())[1]


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """What `edgetl inspect` shows, as plain data.

    Returns:
        The manifest's keys, ``folder`` (the folder's proper name) and ``size_bytes`` (of all
        listed files together). See `write_bundle` for an example.
    """
    manifest = manifest_to_json(bundle.manifest)
    size = sum(entry.size for entry in bundle.manifest.files.values())
    return {**manifest, "folder": bundle.manifest.folder_name, "size_bytes": size}


def _examine(path: Path, keep: Keep | None) -> tuple[Bundle | None, list[Problem]]:
    if not os.path.lexists(path):
        raise UsageError(
            str(path),
            got="nothing at this path",
            expected="a bundle: a folder NAME-VERSION.edgetl or a zip of it",
            fix="check the path",
        )
    source: _Source = FolderSource(path) if path.is_dir() else ArchiveSource(path)
    try:
        return _examine_source(source, path, keep)
    except OSError as error:
        got = error.strerror or str(error)
        return None, [Problem(file=path.name, got=got, expected="a folder that can be read")]
    finally:
        source.close()


def _examine_source(
    source: _Source, path: Path, keep: Keep | None
) -> tuple[Bundle | None, list[Problem]]:
    manifest = _read_manifest(source)
    if isinstance(manifest, Problem):
        return None, [manifest]
    held = set(manifest.files if keep is None else keep(manifest))
    golden_paths = {*manifest.golden.inputs, manifest.golden.answers}
    problems = source.check_listing([*manifest.files, MANIFEST, DIGEST])
    bad = {problem.file for problem in problems}
    files: dict[str, bytes] = {}
    for name, entry in sorted(manifest.files.items()):
        if name in bad:
            continue
        data = _read_listed(source, name, entry)
        if isinstance(data, Problem):
            problems.append(data)
        elif name in held or name in golden_paths:
            files[name] = data
    if problems:
        return None, problems
    try:
        golden = read_golden(manifest, files)
    except BundleError as error:
        return None, [_problem_from(error)]
    kept = {name: data for name, data in files.items() if name in held}
    return Bundle(path.name, manifest, kept, golden), []


def _read_manifest(source: _Source) -> Manifest | Problem:
    if source.faults:
        return source.faults[0]
    line = source.read(DIGEST, 65)
    if isinstance(line, Problem):
        return line
    if not _DIGEST_LINE.fullmatch(line):
        return Problem(
            file=DIGEST,
            got=ascii(line[:65]),
            expected="64 lower-case hexadecimal digits and a newline",
        )
    data = source.read(MANIFEST, MAX_MANIFEST_BYTES)
    if isinstance(data, Problem):
        return data
    got, said = sha256_bytes(data), line[:64].decode()
    if not hmac.compare_digest(got, said):
        return Problem(
            file=MANIFEST, got=f"sha256 {got}", expected=f"sha256 {said}, as {DIGEST} says"
        )
    try:
        return parse_manifest(data)
    except BundleError as error:
        return _problem_from(error)


def _read_listed(source: _Source, name: str, entry: FileEntry) -> bytes | Problem:
    data = source.read(name, entry.size)
    if isinstance(data, Problem):
        return data
    if len(data) != entry.size:
        return Problem(file=name, got=f"{len(data)} bytes", expected=f"{entry.size} bytes")
    got = sha256_bytes(data)
    if got != entry.sha256:
        return Problem(file=name, got=f"sha256 {got}", expected=f"sha256 {entry.sha256}")
    if name.endswith(".onnx"):
        return onnx_problem(name, data) or data
    return data


def onnx_problem(name: str, data: bytes) -> Problem | None:
    """Why a bundle may not hold this ONNX file, or None."""
    fix = "export the model as a single file, with its weights inside"
    try:
        tensor = external_tensor(data)
    except ValueError as error:
        return Problem(file=name, got=str(error), expected="an ONNX model", fix=fix)
    if tensor is None:
        return None
    return Problem(
        file=name, got=f"external data for {tensor!a}", expected="weights inside", fix=fix
    )


def _problem_from(error: BundleError) -> Problem:
    file, _, place = error.subject.partition(": ")
    got = f"{place}: {error.got}" if place else error.got
    return Problem(file=file, got=got, expected=error.expected, fix=error.fix)
