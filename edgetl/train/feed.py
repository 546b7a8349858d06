"""What a phase trains and validates on: whole images, or the features of a frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.reference.ending import OUTPUT, PLAIN, Answer, Ending, raw_logits
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import SingleInput
from edgetl.train.augment import augment_images
from edgetl.train.config import Augment
from edgetl.train.evaluate import in_batches
from edgetl.train.recipes import headless

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class SourceData:
    """Labelled data of another task, of which every step sees a batch beside the target's.

    Attributes:
        part: Its samples, which fit the classifier's input.
        classes: Its own labels, in the order of `part.labels`.
        batch_size: Samples a step, over all processes; as many as the target's when None.
    """

    part: SplitPart
    classes: tuple[str, ...]
    batch_size: int | None = None


@dataclass(frozen=True)
class Batches:
    """A split in memory: the input tensor, on the CPU, and int64 labels."""

    inputs: Tensor
    labels: Tensor

    @staticmethod
    def of(part: SplitPart, input: SingleInput) -> Batches:
        """A split's images in the size and dtype of the classifier's input."""
        return Batches(
            torch.from_numpy(to_inputs(part.images, input)[input.tensor.name]),
            torch.from_numpy(np.asarray(part.labels, np.int64)),
        )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The pieces of a classifier in training."""

    accelerator: Accelerator
    network: nn.Module
    layer: str
    preprocess: Preprocess
    augment: Augment
    answer: Answer = PLAIN

    @property
    def head(self) -> nn.Module:
        """The last linear layer; an empty module when none is named."""
        return nn.Identity() if self.layer == OUTPUT else self.network.get_submodule(self.layer)

    @property
    def has_features(self) -> bool:
        """Whether the network is its body and then its head, so that the body can run alone."""
        plain = self.answer.folds and self.answer.ending is Ending.LOGITS
        return plain and self.layer != ""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return cast(torch.device, self.accelerator.device)


class Feed(Protocol):
    """Where a phase's batches come from."""

    def trained(self) -> nn.Module:
        """The module that maps `take`'s batches to raw logits."""
        ...

    def take(self, indices: Tensor, generator: np.random.Generator) -> Tensor:
        """A training batch, on the device, augmented from the generator."""
        ...

    def validate(self) -> NDArray[np.float32]:
        """Raw logits of the val split in fp32, float32 [n, K]."""
        ...


class ImageFeed:
    """The whole network on whole images."""

    def __init__(self, parts: Parts, train: Batches, val: Batches) -> None:
        self._parts = parts
        self._train = train
        self._val = val

    def trained(self) -> nn.Module:
        """Preprocessing and the network."""
        return _Whole(self._parts)

    def take(self, indices: Tensor, generator: np.random.Generator) -> Tensor:
        """Images as the graph takes them."""
        images = augment_images(self._train.inputs[indices], self._parts.augment, generator)
        return images.to(self._parts.device)

    def validate(self) -> NDArray[np.float32]:
        """Leaves the network in eval mode."""
        self._parts.network.eval()
        answer = in_batches(_Whole(self._parts), self._val.inputs, self._parts.device)
        return cast("NDArray[np.float32]", answer.numpy())


class FeatureFeed:
    """The head on the features of a frozen backbone, which must be in eval mode.

    Without augmentation the features are computed once, for all epochs.
    """

    def __init__(self, parts: Parts, train: Batches, val: Batches) -> None:
        self._parts = parts
        self._train = train
        self._val = in_batches(self._features, val.inputs, parts.device)
        self._cached: Tensor | None = None
        if parts.augment == "none":
            with parts.accelerator.autocast():
                self._cached = in_batches(self._features, train.inputs, parts.device)

    def trained(self) -> nn.Module:
        """The head."""
        return _HeadAlone(self._parts.head)

    def take(self, indices: Tensor, generator: np.random.Generator) -> Tensor:
        """Features, float32 [n, d] (or the autocast dtype when they are computed anew)."""
        if self._cached is not None:
            return self._cached[indices].to(self._parts.device)
        images = augment_images(self._train.inputs[indices], self._parts.augment, generator)
        with torch.no_grad(), self._parts.accelerator.autocast():
            return self._features(images.to(self._parts.device))

    def validate(self) -> NDArray[np.float32]:
        """From the features of the fp32 backbone."""
        answer = in_batches(self._parts.head, self._val, self._parts.device)
        return cast("NDArray[np.float32]", answer.numpy())

    def _features(self, inputs: Tensor) -> Tensor:
        with headless(self._parts.network, self._parts.layer) as body:
            return cast(Tensor, body(self._parts.preprocess(inputs)))


class _Whole(nn.Module):
    """Apart from the network, so that autocast wraps this and validation stays outside of it."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.preprocess = parts.preprocess
        self.network = parts.network
        self.layer, self.answer = parts.layer, parts.answer

    def forward(self, x: Tensor) -> Tensor:
        return raw_logits(self.network, self.layer, self.answer, [self.preprocess(x)])


class _HeadAlone(nn.Module):
    """The head in fp32 also under autocast: it is too small to gain anything from bf16."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.head(x.float()))
