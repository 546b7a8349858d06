"""A backend made of a Python function, for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgetl.backends.checked import CheckedBackend
from edgetl.backends.execution import Execution
from edgetl.spec import Array, TensorSpec
from edgetl.version import __version__

Handler = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class FakeBackend(CheckedBackend):
    """Answers with what `handler` returns, under the same checks as every backend.

    Args:
        handler: Called with the checked inputs by name; returns the outputs by name.
        input_spec: The inputs by name.
        output_spec: The outputs by name.

    Example:
        >>> import numpy as np
        >>> image = TensorSpec(name="image", dtype="uint8", shape=(None, 2, 2, 3))
        >>> answer = TensorSpec(name="probabilities", dtype="float32", shape=(None, 2))
        >>> def handler(inputs):
        ...     return {"probabilities": np.full((len(inputs["image"]), 2), 0.5, np.float32)}
        >>> backend = FakeBackend(
        ...     handler, input_spec={"image": image}, output_spec={"probabilities": answer})
        >>> backend.run({"image": np.zeros((1, 2, 2, 3), np.uint8)})
        {'probabilities': array([[0.5, 0.5]], dtype=float32)}
    """

    def __init__(
        self,
        handler: Handler,
        *,
        input_spec: Mapping[str, TensorSpec],
        output_spec: Mapping[str, TensorSpec],
    ) -> None:
        super().__init__("fake backend", input_spec=input_spec, output_spec=output_spec)
        self._handler = handler

    def execution(self) -> Execution:
        """A function of Python: one thread, no layers."""
        self._check_alive()
        return Execution(
            backend="fake", version=__version__, device="python", threads=1, settings={}, layers=()
        )

    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # The handler may keep its arrays; the caller's must not change with them.
        return {name: array.copy() for name, array in self._handler(inputs).items()}

    def _release(self) -> None:
        """Nothing is held."""
