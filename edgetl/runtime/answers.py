"""From whatever a caller has to checked probabilities: the one path of predict and selftest."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.backends.base import Backend
from edgetl.data.decode import decode_image
from edgetl.data.preprocess import to_batch
from edgetl.errors import BackendError, BundleError, DataError
from edgetl.metrics.checks import as_probabilities
from edgetl.spec import (
    Array,
    ClassifierInput,
    SeveralInputs,
    SingleInput,
    TensorInput,
    TensorSpec,
    named_parts,
)

# Large enough to keep a backend busy, small enough that a long list needs little memory.
BATCH = 32

Single = bytes | str | os.PathLike[str] | Image.Image | Array
Source = Single | Mapping[str, Single]


def answers(
    backend: Backend, inputs: Sequence[Source], spec: ClassifierInput, *, classes: int
) -> NDArray[np.float32]:
    """A backend's probabilities for inputs of any kind, in order.

    Args:
        backend: A loaded model.
        inputs: Paths, encoded images, Pillow images, or uint8 arrays [height, width] or
            [height, width, 3]; for a tensor classifier also float32 arrays of its shape; for one
            of several inputs, mappings of these by name.
        spec: The classifier's input.
        classes: How many probabilities each answer must have.

    Returns:
        float32 [n, classes], finite, in 0..1, each row with the sum 1 within 1e-3.

    Raises:
        DataError: When an input cannot be decoded, or there is none.
        SpecError: When an array is not what the classifier takes.
        BackendError: When the backend fails, or answers something other than probabilities.

    Example:
        >>> from edgetl.backends.fake import FakeBackend
        >>> from edgetl.spec import ImageInput, TensorSpec
        >>> spec = ImageInput(height=2, width=2)
        >>> backend = FakeBackend(
        ...     lambda inputs: {"probabilities": np.array([[0.75, 0.25]], np.float32)},
        ...     input_spec={"image": spec.tensor},
        ...     output_spec={"probabilities": TensorSpec(
        ...         name="probabilities", dtype="float32", shape=(None, 2))},
        ... )
        >>> answers(backend, [np.zeros((5, 5), np.uint8)], spec, classes=2)
        array([[0.75, 0.25]], dtype=float32)
    """
    parts = [_run(backend, batch, classes) for batch in _batches(inputs, spec)]
    if not parts:
        raise DataError("inputs", got="none", expected="at least one", fix="pass an input")
    return np.concatenate(parts)


def check_fit(backend: Backend, spec: ClassifierInput, classes: int, subject: str) -> None:
    """Refuse a model that does not take the manifest's input or answer its classes.

    Raises:
        BundleError: When the tensors of the model are not those of the manifest.
    """
    got_input = dict(backend.input_spec)
    got_output = backend.output_spec.get("probabilities")
    # A graph may leave sizes open that the manifest fixes: each call is checked anyway.
    wanted = {tensor.name: tensor for tensor in spec.tensors}
    fits = got_input.keys() == wanted.keys() and all(
        _same(got_input[name], tensor) for name, tensor in wanted.items()
    )
    if not fits:
        raise _misfit(subject, f"the inputs {_names(got_input)}", _names(wanted))
    if got_output is None:
        raise _misfit(subject, f"the outputs {_names(backend.output_spec)}", "'probabilities'")
    if got_output.dtype != "float32" or got_output.shape[1:] not in ((classes,), (None,)):
        raise _misfit(subject, str(got_output), f"float32 [batch, {classes}]: one per label")


def _same(tensor: TensorSpec, want: TensorSpec) -> bool:
    return (
        tensor.dtype == want.dtype
        and len(tensor.shape) == len(want.shape)
        and all(got in (None, size) for got, size in zip(tensor.shape, want.shape, strict=True))
    )


def _names(specs: Any) -> str:
    return ", ".join(str(spec) for spec in specs.values()) or "none"


def _misfit(subject: str, got: str, expected: str) -> BundleError:
    return BundleError(
        subject, got=got, expected=expected, fix="make the bundle anew with `edgetl release`"
    )


def _batches(inputs: Sequence[Source], spec: ClassifierInput) -> Iterator[dict[str, Array]]:
    parts = named_parts(spec)
    for begin in range(0, len(inputs), BATCH):
        some = inputs[begin : begin + BATCH]
        rows = [_by_name(one, spec) for one in some]
        yield {
            name: to_batch([_decoded(row[name], part) for row in rows], part)
            for name, part in parts.items()
        }


def _by_name(source: Source, spec: ClassifierInput) -> Mapping[str, Single]:
    if not isinstance(spec, SeveralInputs):
        if isinstance(source, Mapping):
            raise _not_the_inputs(f"a mapping of {', '.join(map(str, source))}", "one input")
        return {spec.tensor.name: source}
    if not isinstance(source, Mapping) or source.keys() != spec.parts.keys():
        got = ", ".join(map(str, source)) if isinstance(source, Mapping) else type(source).__name__
        raise _not_the_inputs(got, f"a mapping of {', '.join(spec.parts)}")
    return source


def _not_the_inputs(got: str, expected: str) -> DataError:
    return DataError("input", got=got, expected=expected, fix="pass {name: value} for each input")


def _decoded(source: Single, spec: SingleInput) -> Array:
    if not isinstance(spec, TensorInput):
        return decode_image(source)
    if isinstance(source, np.ndarray):
        return source
    pixels = decode_image(source)
    # A grey picture is decoded to three equal channels; a tensor of its size means one of them.
    grey = bool((pixels == pixels[..., :1]).all())
    if grey and pixels.size != math.prod(spec.shape):
        return pixels[..., 0]
    return pixels


def _run(backend: Backend, inputs: Mapping[str, Array], classes: int) -> NDArray[np.float32]:
    outputs = backend.run(inputs)
    probabilities = outputs.get("probabilities")
    shape = (len(next(iter(inputs.values()))), classes)
    if probabilities is None or probabilities.shape != shape or probabilities.dtype != np.float32:
        got = "no output" if probabilities is None else probabilities
        raise _bad_output(
            got if isinstance(got, str) else f"{got.dtype} {got.shape}", f"float32 {shape}"
        )
    try:
        as_probabilities(probabilities)
    except DataError as error:
        raise _bad_output(error.got, error.expected) from error
    return probabilities


def _bad_output(got: str, expected: str) -> BackendError:
    return BackendError(
        "output 'probabilities'",
        got=got,
        expected=expected,
        fix="run `edgetl selftest` on the bundle: this model does not work on this device",
    )
