"""What answers inside the reference's process: a network of PyTorch, or an ONNX file."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgetl.extras import extra
from edgetl.reference.description import (
    ONNX_ARCHITECTURE,
    ClassifierDescription,
    read_description,
)
from edgetl.reference.onnx_checkpoint import load_onnx_classifier
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.spec import Array, Setting

if TYPE_CHECKING:
    import torch

    from edgetl.reference.network import Reference

_LAYOUT_CALLS = 7
_LAYOUT_WARMUP = 3
_LAYOUT_IMAGES = 2
_LAYOUT_TOLERANCE = 1e-4


class Answering(Protocol):
    """A loaded reference. `answer` is deterministic: it always computes in one way."""

    @property
    def description(self) -> ClassifierDescription:
        """Its input, head and classes."""
        ...

    def facts(self) -> dict[str, Setting]:
        """What runs: ``backend``, ``version``, ``device``, ``threads`` and more."""
        ...

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """A batch of each input to ``probabilities`` and ``logits`` (raw), float32 [n, classes]."""
        ...

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> Array:
        """Seconds of each of `calls` calls on the same inputs, float64 [calls]."""
        ...


def load_answering(folder: Path, *, threads: int, code: Path | None = None) -> Answering:
    """The reference of a checkpoint folder.

    Args:
        folder: What `save_classifier` or `save_onnx_classifier` wrote.
        threads: What it may use.
        code: The folder of the user's module, for an architecture ``python:…``.

    Raises:
        CheckpointError: When the folder is not a checkpoint.
        MissingExtraError: When torch is not installed.
    """
    description, _ = read_description(folder)
    if description.architecture == ONNX_ARCHITECTURE:
        return OnnxAnswering(folder, threads=threads)
    return TorchAnswering(folder, threads=threads, code=code)


class TorchAnswering:
    """A network of PyTorch, eager, on the CPU."""

    def __init__(self, folder: Path, *, threads: int, code: Path | None = None) -> None:
        with extra("train"):
            import torch

            from edgetl.reference.checkpoint import load_classifier
            from edgetl.reference.network import Reference
        torch.set_num_threads(threads)
        network, self._description = load_classifier(folder, code=code)
        self._torch = torch
        self._model = Reference.of(network, self._description.input, self._description.head).eval()
        self._answering: Reference | None = None
        self._timed: Reference | None = None
        self._facts: dict[str, Setting] = {
            "backend": "pytorch",
            "version": str(torch.__version__),
            "architecture": self._description.architecture,
            "device": "cpu",
            "layout": "contiguous",
            "threads": torch.get_num_threads(),
        }

    @property
    def description(self) -> ClassifierDescription:
        """Its input, head and classes."""
        return self._description

    def facts(self) -> dict[str, Setting]:
        """What runs, on how many threads, and in which memory layout it is timed."""
        return dict(self._facts)

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Channels-last where the network takes it, which no clock decides: so always alike."""
        batches = self._tensors(inputs)
        with self._torch.inference_mode():
            if self._answering is None:
                self._answering = self._layout_of_answers(batches)
            probabilities, raw_logits = self._answering(*batches)
        return {"probabilities": probabilities.numpy(), "logits": raw_logits.numpy()}

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> Array:
        """In the faster layout, which the first call measures."""
        batches = self._tensors(inputs)
        with self._torch.inference_mode():
            if self._timed is None:
                self._timed = self._faster_layout(batches)
            timed = self._timed
            return np.array([_seconds(lambda: timed(*batches)) for _ in range(calls)])

    def _tensors(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        """In the order in which the network takes them, whatever the order they came in."""
        names = [tensor.name for tensor in self._description.input.tensors]
        # Copies: the arrays are the caller's, whatever a network does to its input.
        return [self._torch.tensor(inputs[name]) for name in names]

    def _layout_of_answers(self, batches: list[torch.Tensor]) -> Reference:
        """Convolutions take up to 60 % less time in channels-last, and nothing takes more.

        A network that reads its memory by hand answers otherwise there, and keeps its own layout.
        """

        def few() -> list[torch.Tensor]:
            # Copies: a network may write into its input.
            return [batch[:_LAYOUT_IMAGES].clone() for batch in batches]

        plain, _ = self._model(*few())
        for name, model in self._channels_last(few()).items():
            # A NaN is not within the tolerance either.
            if (model(*few())[0] - plain).abs().max().item() <= _LAYOUT_TOLERANCE:
                self._facts["layout"] = name
                return model
        return self._model

    def _faster_layout(self, batches: list[torch.Tensor]) -> Reference:
        """The reference as a user would run it at its best; measured once."""
        candidates = {"contiguous": self._model} | self._channels_last(batches)
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for turn in range(_LAYOUT_WARMUP + _LAYOUT_CALLS):
            for name, model in candidates.items():
                took = _seconds(lambda model=model: model(*batches))  # type: ignore[misc]
                if turn >= _LAYOUT_WARMUP:
                    seconds[name].append(took)
        best = min(candidates, key=lambda name: statistics.median(seconds[name]))
        self._facts["timed_layout"] = best
        return candidates[best]

    def _channels_last(self, batches: list[torch.Tensor]) -> dict[str, Reference]:
        import copy

        from edgetl.reference.preprocess import Preprocesses

        try:
            model = copy.deepcopy(self._model).to(memory_format=self._torch.channels_last)
            model.preprocess = Preprocesses(self._description.input, contiguous=False)
            model(*batches)
        except Exception:
            # A network that calls `view`, convolves volumes or cannot be copied takes no other
            # layout than its own; what else is wrong with it, its own layout says too.
            return {}
        return {"channels_last": model}


class OnnxAnswering:
    """A user's ONNX file as it came, in ONNX Runtime, its temperature outside."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        model, self._description = load_onnx_classifier(folder)
        self._network = OnnxNetwork(
            model,
            input=self._description.input,
            output=self._description.output,
            threads=threads,
        )
        facts = self._network.facts()
        self._facts: dict[str, Setting] = {
            "backend": "onnxruntime",
            "version": str(facts.pop("onnxruntime")),
            "architecture": self._description.architecture,
            "device": "cpu",
            "threads": threads,
            **facts,
        }

    @property
    def description(self) -> ClassifierDescription:
        """Its input, head and classes."""
        return self._description

    def facts(self) -> dict[str, Setting]:
        """What runs, and how the file ends."""
        return dict(self._facts)

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The softmax is computed in float64."""
        raw = self._network.raw_logits(inputs)
        scaled = raw.astype(np.float64) / self._description.head.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        return {"probabilities": probabilities.astype(np.float32), "logits": raw}

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> Array:
        """The whole of `answer`."""
        return np.array([_seconds(lambda: self.answer(inputs)) for _ in range(calls)])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-9
