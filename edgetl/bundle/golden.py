"""The golden set: a few inputs with the answers that a device should give, as files and back."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import GoldenFiles, GoldenKind, Manifest
from edgetl.errors import BundleError, DataError
from edgetl.metrics.checks import as_probabilities
from edgetl.spec import Array, ImageInput, Precision, SeveralInputs, SingleInput

ANSWERS = "golden/answers.npz"
TENSORS = "golden/inputs.npy"
REFERENCE = "reference"
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_HEADER = 4096

# How far a probability may move between machines that are both right. See docs/bundle-format.md
# for what was measured.
_TOLERANCE = {
    Precision.FP32: 1e-3,
    Precision.FP16: 1e-2,
    Precision.BF16: 2e-2,
    Precision.INT8: 3e-2,
}


def default_tolerance(precision: Precision) -> float:
    """The largest difference of a probability from the golden answers that `selftest` allows.

    Example:
        >>> default_tolerance(Precision.FP32)
        0.001
    """
    return _TOLERANCE[precision]


GoldenInputs = tuple[bytes, ...] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenSet:
    """Golden inputs and answers.

    Attributes:
        kind: ``"real"`` or ``"synthetic"``.
        inputs: Encoded PNG images, or for a tensor input one float32 array [n, *shape]; for
            several inputs each one's, by name.
        reference: The reference's probabilities, float32 [n, K].
        answers: Each variant's own probabilities, float32 [n, K], by variant id.
        tolerance: Largest allowed difference by variant id; the default of the variant's
            precision where it is missing.
    """

    kind: GoldenKind
    inputs: GoldenInputs | Mapping[str, GoldenInputs]
    reference: NDArray[np.float32]
    answers: Mapping[str, NDArray[np.float32]]
    tolerance: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.reference)

    def rows(self) -> list[Any]:
        """One entry an input, as `edgetl.Classifier.predict` takes it."""
        if not isinstance(self.inputs, Mapping):
            return list(self.inputs)
        rows = zip(*self.inputs.values(), strict=True)
        return [dict(zip(self.inputs, row, strict=True)) for row in rows]


def golden_files(
    golden: GoldenSet | None, precisions: Mapping[str, Precision]
) -> tuple[GoldenFiles, dict[str, bytes]]:
    """The golden set as files, and what the manifest says of them.

    Args:
        golden: The set, or None.
        precisions: The precision of each variant, by id.

    Raises:
        BundleError: When a variant has no answers, or answers belong to none.
    """
    if golden is None:
        return GoldenFiles(), {}
    if set(golden.answers) != set(precisions):
        raise _error(
            "golden answers",
            f"answers of {', '.join(sorted(golden.answers)) or 'no variant'}",
            f"answers of {', '.join(sorted(precisions))}",
        )
    files = _input_files(golden.inputs)
    inputs = tuple(files)
    files[ANSWERS] = _npz({REFERENCE: golden.reference, **golden.answers})
    tolerance = {
        name: golden.tolerance.get(name, default_tolerance(precision))
        for name, precision in precisions.items()
    }
    return (
        GoldenFiles(kind=golden.kind, inputs=inputs, answers=ANSWERS, tolerance=tolerance),
        files,
    )


def read_golden(manifest: Manifest, files: Mapping[str, bytes]) -> GoldenSet | None:
    """The golden set of verified files, or None when the bundle has none.

    Raises:
        BundleError: Naming the file, when an input is not a PNG or the right tensor, or when
            answers are missing, of another shape than [inputs, classes], or not probabilities.
    """
    listed = manifest.golden
    if listed.kind == "none" or listed.answers is None:
        return None
    inputs = _read_inputs(manifest, files)
    wanted = [REFERENCE, *(entry.variant.id for entry in manifest.variants)]
    arrays = _read_npz(listed.answers, files[listed.answers])
    if sorted(arrays) != sorted(wanted):
        raise _error(
            listed.answers, f"arrays {sorted(arrays)}", f"one array for each of {sorted(wanted)}"
        )
    first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    shape = (len(first), len(manifest.classes))
    for name, array in arrays.items():
        _check_answers(f"{listed.answers}: {name}", array, shape)
    reference = arrays.pop(REFERENCE)
    return GoldenSet(
        kind=listed.kind,
        inputs=inputs,
        reference=reference,
        answers=arrays,
        tolerance=listed.tolerance,
    )


def _error(subject: str, got: str, expected: str) -> BundleError:
    return BundleError(
        subject, got=got, expected=expected, fix="make the bundle anew with `edgetl release`"
    )


def _input_files(inputs: GoldenInputs | Mapping[str, GoldenInputs]) -> dict[str, bytes]:
    if isinstance(inputs, Mapping):
        return {
            path: data
            for name, part in inputs.items()
            for path, data in _part_files(part, f"{name}/", f"golden/{name}.npy").items()
        }
    return _part_files(inputs, "", TENSORS)


def _part_files(inputs: GoldenInputs, folder: str, tensors: str) -> dict[str, bytes]:
    if isinstance(inputs, np.ndarray):
        return {tensors: _npy(inputs)}
    return {f"golden/{folder}{at:03d}.png": data for at, data in enumerate(inputs)}


def _npy(array: Array) -> bytes:
    stream = io.BytesIO()
    data = np.ascontiguousarray(array, dtype="<f4")
    np.lib.format.write_array(stream, data, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _npz(arrays: Mapping[str, Array]) -> bytes:
    # np.savez takes names as keywords, and a variant may be called like one of its own.
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system = 3  # else the bytes would tell Windows from Linux
            archive.writestr(entry, _npy(arrays[name]))
    return stream.getvalue()


def _read_inputs(
    manifest: Manifest, files: Mapping[str, bytes]
) -> GoldenInputs | dict[str, GoldenInputs]:
    paths, spec = manifest.golden.inputs, manifest.input
    if not isinstance(spec, SeveralInputs):
        return _read_part(paths, files, spec)
    parts: dict[str, GoldenInputs] = {}
    left = set(paths)
    for name, part in spec.parts.items():
        mine = tuple(
            path
            for path in paths
            if path == f"golden/{name}.npy" or path.startswith(f"golden/{name}/")
        )
        if not mine:
            raise _error(
                f"golden inputs of '{name}'", "no file", f"golden/{name}.npy or .png files"
            )
        parts[name] = _read_part(mine, files, part)
        left -= set(mine)
    counts = {name: len(part) for name, part in parts.items()}
    if left or len(set(counts.values())) != 1:
        raise _error("golden inputs", f"{counts}, and {sorted(left)[:3]}", "as many of each input")
    return parts


def _read_part(
    paths: tuple[str, ...], files: Mapping[str, bytes], spec: SingleInput
) -> GoldenInputs:
    if isinstance(spec, ImageInput):
        for path in paths:
            if not files[path].startswith(_PNG):
                raise _error(path, "another kind of file", "a PNG image")
        return tuple(files[path] for path in paths)
    array = _read_npy(paths[0], files[paths[0]])
    if len(paths) != 1 or array.shape[1:] != spec.shape or not len(array):
        raise _error(
            paths[0],
            f"{len(paths)} files, the first of shape {array.shape}",
            f"one file with an array [n, {', '.join(map(str, spec.shape))}]",
        )
    return array


def _check_answers(subject: str, array: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if array.shape != shape:
        raise _error(subject, f"shape {array.shape}", f"{shape}: inputs × classes")
    try:
        as_probabilities(array, subject)
    except DataError as error:
        raise _error(subject, error.got, error.expected) from error


def _read_npz(subject: str, data: bytes) -> dict[str, NDArray[np.float32]]:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                # A stored entry cannot unpack to more than the file itself.
                if entry.compress_type != zipfile.ZIP_STORED or not entry.filename.endswith(".npy"):
                    raise _error(subject, f"the entry {entry.filename!r}", "stored .npy entries")
                name = entry.filename.removesuffix(".npy")
                arrays[name] = _read_npy(f"{subject}: {name}", archive.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise _error(subject, str(error), "an .npz file") from error
    return arrays


def _read_npy(subject: str, data: bytes) -> NDArray[np.float32]:
    # np.load would make room for whatever shape the header claims before it looks at the data.
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version of the format")
        header = np.lib.format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
        shape, fortran, dtype = header
        if fortran or dtype != np.dtype("<f4") or not shape:
            raise ValueError(f"dtype {dtype}, shape {shape}, Fortran order {fortran}")
        return np.frombuffer(data, dtype="<f4", offset=stream.tell()).reshape(shape)
    except ValueError as error:
        raise _error(subject, str(error)[:200], "a float32 array in C order, whole") from error
