"""The one small interface that every runtime is driven through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from edgetl.spec import Array, TensorSpec


@runtime_checkable
class Backend(Protocol):
    """A loaded model that answers.

    `run` may be called from any number of threads. A call after `fork` raises BackendError; a
    call after `close` raises BackendError. An array that is not the spec's raises SpecError.
    Outputs are arrays of the caller's own: a later call does not change them.
    """

    @property
    def input_spec(self) -> Mapping[str, TensorSpec]:
        """The inputs by name."""
        ...

    @property
    def output_spec(self) -> Mapping[str, TensorSpec]:
        """The outputs by name; a classifier has ``probabilities``, float32 [batch, classes]."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answer one batch: all outputs, by name."""
        ...

    def close(self) -> None:
        """Release the model. Closing twice is allowed."""
        ...
