"""What a phase trains and validates on: whole images, or the features of a frozen backbone."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.reference.ending import OUTPUT, PLAIN, Answer, Ending, raw_logits
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import ImageInput, SingleInput
from edgetl.train.augment import augment_images
from edgetl.train.config import Augment
from edgetl.train.evaluate import in_batches
from edgetl.train.mix import mix_batch
from edgetl.train.recipes import headless

if TYPE_CHECKING:
    from accelerate import Accelerator

_CHUNK = 64


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
        """A split's images in the size and dtype of the classifier's input.

        Pictures are decoded and resized by all cores: Pillow frees Python's lock meanwhile.
        """
        labels = torch.from_numpy(np.asarray(part.labels, np.int64))
        name, n = input.tensor.name, len(part.labels)
        if not isinstance(input, ImageInput) or n <= _CHUNK:
            return Batches(torch.from_numpy(to_inputs(part.images, input)[name]), labels)
        inputs = np.empty((n, input.height, input.width, input.channel_count), np.uint8)

        def fill(start: int) -> None:
            chunk = slice(start, start + _CHUNK)
            inputs[chunk] = to_inputs(part.images[chunk], input)[name]

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            # The list is for what a chunk raises.
            list(pool.map(fill, range(0, n, _CHUNK)))
        return Batches(torch.from_numpy(inputs), labels)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is done to a training batch before the network sees it.

    Attributes:
        augment: As `edgetl.train.augment.augment_images` takes it.
        mixup, cutmix: As `edgetl.train.mix.mix_batch` takes them.
        classes: How many there are.
    """

    augment: Augment = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    classes: int = 0

    @property
    def any(self) -> bool:
        """Whether an image is another one in each epoch."""
        return self.augment != "none" or self.mixup > 0 or self.cutmix > 0

    @property
    def draw_from_torch(self) -> bool:
        """Whether torch's global generator is used, which another thread may be using too."""
        return (
            self.augment not in ("none", "light", "light-flip")
            or not self.mixup == self.cutmix == 0
        )

    def apply(
        self, images: Tensor, labels: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """The changed images, and soft targets where they were mixed."""
        changed = augment_images(images, self.augment, generator)
        if not (self.mixup or self.cutmix):
            return changed, None
        return mix_batch(
            changed,
            labels,
            classes=self.classes,
            mixup=self.mixup,
            cutmix=self.cutmix,
            generator=generator,
        )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The pieces of a classifier in training.

    Attributes:
        accelerator: Devices, precision and processes.
        network: From prepared batches to its output.
        layer: The last linear layer's dotted name.
        head_name: The whole head's, of which `layer` is the last.
        preprocess: From the graph's input to the network's.
        changes: What is done to training batches.
        answer: How the network's output becomes raw logits.
    """

    accelerator: Accelerator
    network: nn.Module
    layer: str
    head_name: str
    preprocess: Preprocess
    changes: Changes
    answer: Answer = PLAIN

    @property
    def head(self) -> nn.Module:
        """The whole head; an empty module when none is named."""
        return self.head_of(self.network)

    def head_of(self, network: nn.Module) -> nn.Module:
        """The same part of a copy of the network."""
        return nn.Identity() if self.layer == OUTPUT else network.get_submodule(self.head_name)

    @property
    def has_features(self) -> bool:
        """Whether the network is its body and then its head, so that the body can run alone."""
        plain = self.answer.folds and self.answer.ending is Ending.LOGITS
        return plain and self.layer != ""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return cast(torch.device, self.accelerator.device)


@dataclass(frozen=True)
class Drawn:
    """A training batch on the CPU: what the feed takes, int64 labels, soft targets or None."""

    inputs: Tensor
    labels: Tensor
    targets: Tensor | None


class Feed(Protocol):
    """Where a phase's batches come from."""

    def trained(self) -> nn.Module:
        """The module that maps placed batches to raw logits."""
        ...

    def draw(self, indices: Tensor, generator: np.random.Generator) -> Drawn:
        """A training batch, changed from the generator; it may be made in another thread."""
        ...

    def place(self, inputs: Tensor) -> Tensor:
        """What `trained` takes, on the device, of a drawn batch."""
        ...

    def validate(self, network: nn.Module) -> NDArray[np.float32]:
        """Raw logits of the val split in fp32, float32 [n, K], of the network or its average."""
        ...


class ImageFeed:
    """The whole network on whole images."""

    def __init__(self, parts: Parts, train: Batches, val: Batches) -> None:
        self._parts = parts
        self._train = train
        self._val = val

    def trained(self) -> nn.Module:
        """Preprocessing and the network."""
        return Whole(self._parts, self._parts.network)

    def draw(self, indices: Tensor, generator: np.random.Generator) -> Drawn:
        """Images as the graph takes them."""
        labels = self._train.labels[indices]
        images, targets = self._parts.changes.apply(self._train.inputs[indices], labels, generator)
        return Drawn(images, labels, targets)

    def place(self, inputs: Tensor) -> Tensor:
        """The images on the device."""
        return inputs.to(self._parts.device)

    def validate(self, network: nn.Module) -> NDArray[np.float32]:
        """Leaves the network in eval mode."""
        network.eval()
        answer = in_batches(Whole(self._parts, network), self._val.inputs, self._parts.device)
        return cast("NDArray[np.float32]", answer.numpy())


class FeatureFeed:
    """The head on the features of a frozen backbone, which must be in eval mode.

    Where images never change, the features are computed once, for all epochs.
    """

    def __init__(self, parts: Parts, train: Batches, val: Batches) -> None:
        self._parts = parts
        self._train = train
        self._val = self.features(parts, val.inputs)
        self._cached: Tensor | None = None
        if not parts.changes.any:
            with parts.accelerator.autocast():
                self._cached = self.features(parts, train.inputs)

    def trained(self) -> nn.Module:
        """The head."""
        return _HeadAlone(self._parts.head)

    def draw(self, indices: Tensor, generator: np.random.Generator) -> Drawn:
        """Features that are known already, or images."""
        labels = self._train.labels[indices]
        if self._cached is not None:
            return Drawn(self._cached[indices], labels, None)
        images, targets = self._parts.changes.apply(self._train.inputs[indices], labels, generator)
        return Drawn(images, labels, targets)

    def place(self, inputs: Tensor) -> Tensor:
        """Features, float32 [n, d] (or the autocast dtype when they are computed anew)."""
        placed = inputs.to(self._parts.device)
        if self._cached is not None:
            return placed
        with torch.no_grad(), self._parts.accelerator.autocast():
            return _features(self._parts, placed)

    def validate(self, network: nn.Module) -> NDArray[np.float32]:
        """From the features of the fp32 backbone."""
        head = self._parts.head_of(network)
        head.eval()
        answer = in_batches(head, self._val, self._parts.device)
        return cast("NDArray[np.float32]", answer.numpy())

    def training_loss(self, loss: Callable[[Tensor, Tensor, None], Tensor]) -> float:
        """The mean loss of the head as it is on the training images, unchanged."""
        cached = self._cached
        if cached is None:
            cached = self.features(self._parts, self._train.inputs)
        answer = in_batches(self._parts.head, cached, self._parts.device)
        device = self._parts.device
        return float(loss(answer.to(device), self._train.labels.to(device), None))

    @staticmethod
    def features(parts: Parts, inputs: Tensor) -> Tensor:
        """What the head would take of every image, on the CPU."""
        return in_batches(partial(_features, parts), inputs, parts.device)


def _features(parts: Parts, inputs: Tensor) -> Tensor:
    with headless(parts.network, parts.head_name) as body:
        return cast(Tensor, body(parts.preprocess(inputs)))


class Whole(nn.Module):
    """Preprocessing, then a network to its raw logits.

    Apart from the network, so that autocast wraps this and validation stays outside of it.
    """

    def __init__(self, parts: Parts, network: nn.Module) -> None:
        super().__init__()
        self.preprocess = parts.preprocess
        self.network = network
        self.layer, self.answer = parts.layer, parts.answer

    def forward(self, x: Tensor) -> Tensor:
        """A batch as the graph takes it to float [n, classes]."""
        return raw_logits(self.network, self.layer, self.answer, [self.preprocess(x)])


class _HeadAlone(nn.Module):
    """The head in fp32 also under autocast: it is too small to gain anything from bf16."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.head(x.float()))
