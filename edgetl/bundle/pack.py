"""Writes bundles: a folder that appears whole or not at all, and its zip."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from edgetl.bundle.archive import write_archive
from edgetl.bundle.golden import GoldenSet, golden_files, read_golden
from edgetl.bundle.manifest import (
    FileEntry,
    GoldenFiles,
    Manifest,
    ManifestVariant,
    encode_manifest,
)
from edgetl.bundle.manifest_reader import parse_manifest
from edgetl.bundle.problem import DIGEST, MANIFEST, error_from
from edgetl.bundle.read import VERDICT, onnx_problem, open_bundle
from edgetl.errors import BundleError
from edgetl.files import atomic_folder, sha256_bytes, write_atomic
from edgetl.spec import ClassifierInput, Setting
from edgetl.version import __version__

_MODELS = "models/"


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """What goes into a bundle.

    Attributes:
        name, version: They name the folder. The version is one to four numbers with dots.
        classes: The labels, in the order of the probabilities.
        input: What the graph takes.
        variants: At least one; their files are keys of `models`.
        models: Every model file by its path in the bundle (below ``models/``): its bytes, or the
            file that holds them.
        golden: The golden set, or None.
        verdict: The bytes of ``verdict.json``, or None for a bundle that no gate has seen.
        reference: Figures of the reference, such as ``{"top1": 0.98}``.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    input: ClassifierInput
    variants: tuple[ManifestVariant, ...]
    models: Mapping[str, bytes | Path]
    golden: GoldenSet | None = None
    verdict: bytes | None = None
    reference: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))


def write_bundle(parent: Path, content: BundleContent) -> Path:
    """Write a bundle as the folder ``NAME-VERSION.edgetl`` below `parent`.

    The same content always gives the same bytes: nothing of the time or the machine is written
    that `content` does not hold. A folder of that name is replaced.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: When the parts do not fit together; nothing is written then.

    Example:
        >>> import tempfile
        >>> from edgetl.bundle import describe_bundle, verify_bundle
        >>> from edgetl.spec import Precision, TensorInput, Variant
        >>> files = ("models/net.xml", "models/net.bin")
        >>> net = Variant(id="net", backend="openvino", precision=Precision.FP32, files=files)
        >>> content = BundleContent(
        ...     name="coins", version="1.0", classes=("heads", "tails"),
        ...     input=TensorInput(shape=(4,)), variants=(ManifestVariant(variant=net),),
        ...     models={"models/net.xml": b"<net/>", "models/net.bin": bytes(8)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_bundle(Path(folder), content)
        ...     print(path.name, verify_bundle(path))
        ...     describe_bundle(open_bundle(path))["size_bytes"]
        coins-1.0.edgetl []
        14
    """
    _check_models(content)
    golden, small = golden_files(
        content.golden,
        {entry.variant.id: entry.variant.precision for entry in content.variants},
    )
    if content.verdict is not None:
        small[VERDICT] = content.verdict
    files = {path: _entry(data) for path, data in small.items()}
    for path, source in content.models.items():
        data = _bytes_of(source)
        _refuse_external(path, data)
        files[path] = _entry(data)
    manifest = _manifest(content, golden, files)
    encoded = encode_manifest(manifest)
    # Read back before anything is written: what the reader refuses is never made.
    read_golden(parse_manifest(encoded), small)
    target = parent / manifest.folder_name
    with atomic_folder(target) as folder:
        for path, source in {**small, **content.models}.items():
            _write(folder / path, _bytes_of(source))
        _write(folder / MANIFEST, encoded)
        _write(folder / DIGEST, f"{sha256_bytes(encoded)}\n".encode())
    return target


def pack_zip(folder: Path, file: Path) -> Path:
    """Pack a bundle's folder as a plain stored zip, verified first and written atomically.

    The same bundle always gives the same zip. `open_bundle` takes either.

    Returns:
        `file`.

    Raises:
        BundleError: When the folder is not a right bundle, or the zip would reach 4 GiB.
    """
    manifest = open_bundle(folder, keep=lambda _: ()).manifest
    stream = io.BytesIO()
    paths = [*manifest.files, MANIFEST, DIGEST]
    write_archive(stream, paths, {path: folder / path for path in paths})
    write_atomic(file, stream.getvalue())
    return file


def _check_models(content: BundleContent) -> None:
    used = {path for entry in content.variants for path in entry.variant.files}
    if used != set(content.models):
        raise _error(
            "models",
            f"the files {sorted(content.models)}",
            f"exactly the variants' files: {sorted(used)}",
        )
    outside = [path for path in used if not path.startswith(_MODELS)]
    if outside:
        raise _error(outside[0], "a model outside models/", "a path below models/")


def _refuse_external(path: str, data: bytes) -> None:
    problem = onnx_problem(path, data) if path.endswith(".onnx") else None
    if problem:
        raise error_from("models", [problem])


def _manifest(
    content: BundleContent, golden: GoldenFiles, files: Mapping[str, FileEntry]
) -> Manifest:
    return Manifest(
        name=content.name,
        version=content.version,
        classes=content.classes,
        input=content.input,
        variants=content.variants,
        reference=content.reference,
        golden=golden,
        files=files,
        created_by=f"edgetl {__version__}",
    )


def _entry(data: bytes) -> FileEntry:
    return FileEntry(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _bytes_of(source: bytes | Path) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _error(subject: str, got: str, expected: str) -> BundleError:
    return BundleError(
        subject, got=got, expected=expected, fix="give write_bundle parts of one release"
    )
