"""The reference of a classifier that came as an ONNX file: that file, as it is, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.backends.checked import check_threads
from edgetl.backends.ort import OrtBackend, import_onnxruntime
from edgetl.errors import BackendError, DataError, ModelError
from edgetl.reference.onnx_file import OnnxEnding, Output, describe_onnx
from edgetl.reference.onnx_inputs import InputPart, input_parts
from edgetl.reference.onnx_proto import SUBJECT
from edgetl.spec import Array, ClassifierInput, ImageInput, Setting

# The least normal float32: with a larger floor, logits further apart than its logarithm would
# come out nearer to each other than the network has them, which a temperature above 3 shows.
LOWEST_PROBABILITY = float(np.finfo(np.float32).tiny)
_SUMS_TO = 1e-3


class OnnxNetwork:
    """A user's ONNX file as the network of a reference: input batches to raw logits.

    The file is run unchanged in ONNX Runtime on the CPU. Preprocessing is computed here in numpy,
    apart from what the export writes into a graph, so that comparing the two is a real check.

    Args:
        model: The bytes of the file.
        input: What the classifier takes.
        output: What the file answers, where the user says so.
        threads: Of ONNX Runtime; None takes every core.

    Raises:
        ModelError: When the file is refused, does not take `input`, or does not say whether it
            answers logits or probabilities.

    Example:
        >>> import onnx
        >>> from edgetl.spec import TensorInput
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[1, 2] x) => (float[1, 2] y) {y = Add(x, x)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> network = OnnxNetwork(model, input=TensorInput(shape=(2,)), threads=1)
        >>> network.raw_logits({"features": np.array([[1, 2], [3, 4]], np.float32)}).tolist()
        [[2.0, 4.0], [6.0, 8.0]]
        >>> network.close()
    """

    def __init__(
        self,
        model: bytes,
        *,
        input: ClassifierInput,
        output: Output | None = None,
        threads: int | None = None,
    ) -> None:
        self.description = describe_onnx(model, output=output)
        _check_clear(self.description.ending, self.description.note)
        self.parts = input_parts(self.description, input)
        self._said = output
        self._backend = _load(model, check_threads(threads))

    def raw_logits(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """The network's answer, before any temperature.

        Probabilities are turned into logits by their logarithm; those below the least normal
        float32 (1.2e-38) count as that. Logits of a softmax are known only up to a number added
        to a row, which no later softmax sees.

        Args:
            inputs: Each tensor of the classifier's input by its name, uint8 [n, height, width,
                channels] or float32 [n, ...].

        Returns:
            float32 [n, classes].

        Raises:
            SpecError: For an array that is not the input's.
            DataError: For an input that is missing, or numbers of samples that differ.
            BackendError: When ONNX Runtime fails, or the answer is NaN or infinite.
            ModelError: When the answer is not [n, classes], or not what it is said to be.
        """
        converted = {part.target.name: _converted(inputs, part) for part in self.parts}
        counts = {len(array) for array in converted.values()}
        if len(counts) != 1:
            raise _uneven(counts)
        answers = self._run(converted, counts.pop())
        self._check(answers)
        if self.description.ending in (OnnxEnding.LOGITS, OnnxEnding.LOG_SOFTMAX):
            return answers
        logits: NDArray[np.float32] = np.log(np.maximum(answers, np.float32(LOWEST_PROBABILITY)))
        return logits

    def facts(self) -> dict[str, Setting]:
        """What runs: ONNX Runtime's version, the file's ending, opset, batch and layouts."""
        batch = self.parts[0].batch
        return {
            "onnxruntime": str(import_onnxruntime().__version__),
            "ending": str(self.description.ending),
            "opset": self.description.opset,
            "batch": "free" if batch is None else batch,
            "layout": ", ".join(part.layout for part in self.parts),
        }

    def close(self) -> None:
        """Release ONNX Runtime's session. Closing twice is allowed."""
        self._backend.close()

    def _run(self, inputs: Mapping[str, Array], count: int) -> NDArray[np.float32]:
        size = self.parts[0].batch or count
        answers = [self._once(inputs, start, size) for start in range(0, count, size)]
        return np.concatenate(answers)[:count]

    def _once(self, inputs: Mapping[str, Array], start: int, size: int) -> NDArray[np.float32]:
        """One call of the file's own batch size, filled up by repeating the last sample."""
        chosen = np.minimum(np.arange(start, start + size), len(next(iter(inputs.values()))) - 1)
        whole = {name: np.ascontiguousarray(array[chosen]) for name, array in inputs.items()}
        answer: NDArray[np.float32] = self._backend.run(whole)[self.description.answer]
        if answer.ndim != 2 or len(answer) != size or answer.shape[1] < 2:
            raise ModelError(
                f"{SUBJECT}, output '{self.description.answer}'",
                got=f"shape {answer.shape} for {size} inputs",
                expected=f"[{size}, classes], with at least two classes",
                fix="export the network so that it answers one number for each class; a single "
                "sigmoid becomes two classes as the logits [0, x]",
            )
        return answer

    def _check(self, answers: NDArray[np.float32]) -> None:
        """Refuse an answer whose numbers deny what it is taken for."""
        alike = look_like_probabilities(answers)
        taken = self.description.ending
        where = f"{SUBJECT}, output '{self.description.answer}'"
        if taken in (OnnxEnding.PROBABILITIES, OnnxEnding.SOFTMAX) and not alike:
            raise ModelError(
                where,
                got=f"numbers from {answers.min():.4g} to {answers.max():.4g} whose rows sum to "
                f"{answers.sum(axis=1).min():.4g} and more",
                expected="probabilities: none below 0, each row summing to 1",
                fix='write output = "logits" in [model] if they are logits',
            )
        if taken is OnnxEnding.LOGITS and self._said is None and alike:
            raise ModelError(
                where,
                got="numbers from 0 to 1 whose rows sum to 1, and no Softmax that gives them",
                expected="to be told whether they are probabilities",
                fix='write output = "probabilities" (or "logits") in [model]',
            )


def look_like_probabilities(answers: Array) -> bool:
    """Whether no number is below 0 and every row sums to 1 within 0.001.

    Example:
        >>> look_like_probabilities(np.array([[0.25, 0.75], [1, 0]]))
        True
    """
    sums = answers.sum(axis=1, dtype=np.float64)
    return bool((answers >= 0).all() and (np.abs(sums - 1) <= _SUMS_TO).all())


def _check_clear(ending: OnnxEnding, note: str) -> None:
    if ending is OnnxEnding.UNCLEAR:
        raise ModelError(
            SUBJECT,
            got=note,
            expected="an answer that is known to be logits or probabilities",
            fix='write output = "logits" or output = "probabilities" in [model]',
        )


def _load(model: bytes, threads: int) -> OrtBackend:
    try:
        return OrtBackend(model, subject=SUBJECT, threads=threads, provider="CPUExecutionProvider")
    # ONNX Runtime does not ask of names that they are UTF-8, and Python does.
    except (BackendError, UnicodeDecodeError) as error:
        raise ModelError(
            SUBJECT,
            got=error.got if isinstance(error, BackendError) else str(error),
            expected="a model that ONNX Runtime loads on the CPU",
            fix="export it again, with an opset that this ONNX Runtime knows, such as 20",
        ) from error


def _converted(inputs: Mapping[str, Array], part: InputPart) -> Array:
    """One part of the input as the file's own input takes it."""
    if part.name not in inputs:
        raise DataError(
            "inputs of the reference",
            got=", ".join(inputs) or "none",
            expected=f"'{part.name}' among them",
            fix="pass each input by its name",
        )
    batch = inputs[part.name]
    image = part.part
    if not isinstance(image, ImageInput):
        image.tensor.check(batch)
        return batch
    image.tensor.check(batch)
    pixels = batch[..., ::-1] if image.channels == "bgr" else batch
    top = 255.0 if image.pixel_range == "0-1" else 1.0
    normal = (pixels.astype(np.float64) / top - _row(image.mean)) / _row(image.std)
    laid_out = np.moveaxis(normal, 3, 1) if part.layout == "NCHW" else normal
    return np.ascontiguousarray(laid_out, np.float32)


def _row(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)


def _uneven(counts: set[int]) -> DataError:
    return DataError(
        "inputs of the reference",
        got=f"batches of {sorted(counts)} samples",
        expected="as many samples of every input",
        fix="pass one row of each input for every sample",
    )
