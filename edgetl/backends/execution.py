"""What a loaded model really executes: the device, the settings, each layer's precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edgetl.spec import Setting


@dataclass(frozen=True, kw_only=True)
class LayerExecution:
    """One layer of the optimised graph.

    Attributes:
        name: The layer's name in the optimised graph.
        type: The kind of kernel, in the runtime's own words, such as ``QLinearConv``.
        precision: The element type that its kernel reads: f32, bf16, f16, u8, i8, i32 or i64.
    """

    name: str
    type: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a backend executes a model, read back from the runtime rather than repeated from a wish.

    Attributes:
        backend: The backend's name in the registry.
        version: The runtime's version.
        device: The provider or device that executes.
        threads: The threads that one call may use.
        settings: What was set, as the runtime reports it.
        layers: The optimised graph's layers, constants left out, in execution order.

    Example:
        >>> layer = LayerExecution(name="stem", type="Convolution", precision="bf16")
        >>> Execution(backend="x", version="1", device="CPU", threads=1, settings={},
        ...           layers=(layer, layer)).histogram()
        {'Convolution bf16': 2}
    """

    backend: str
    version: str
    device: str
    threads: int
    settings: Mapping[str, Setting]
    layers: tuple[LayerExecution, ...]

    def histogram(self) -> dict[str, int]:
        """How many layers there are of each type and precision, sorted by name."""
        kinds = Counter(f"{layer.type} {layer.precision}" for layer in self.layers)
        return dict(sorted(kinds.items()))


@runtime_checkable
class Describable(Protocol):
    """A backend that can tell how it executes its model."""

    def execution(self) -> Execution:
        """Read the facts back from the runtime; may load the model a second time."""
        ...
