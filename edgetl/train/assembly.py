"""The pieces of a run before it: the network and its head's start, terms, depth, LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgetl.errors import ConfigError
from edgetl.reference.ending import find_answer
from edgetl.reference.head_kinds import block_name
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.reference.preprocess import Preprocess
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head, ImageInput
from edgetl.train.backbones import WeightsReport, load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.depth import Depth, depth_of
from edgetl.train.feed import Batches, Changes, FeatureFeed, Parts
from edgetl.train.lora import LoraNetwork, with_lora
from edgetl.train.recipes import phases
from edgetl.train.session import check_trainable, starts_from_features
from edgetl.train.source_feed import SourceFeed
from edgetl.train.starting_head import HeadStart, start_head
from edgetl.train.terms.base import Start, Term, TermMaker

if TYPE_CHECKING:
    from accelerate import Accelerator


def network_parts(
    config: FinetuneConfig,
    *,
    input: ClassifierInput,
    classes: tuple[str, ...],
    accelerator: Accelerator,
    code: Path | None,
) -> tuple[Parts, WeightsReport]:
    """The network on its device with its starting weights, and what surrounds it.

    Args:
        config: The run's.
        input: What the classifier takes, one tensor.
        classes: The labels.
        accelerator: Whose device is used.
        code: The folder of the user's module, for an architecture ``python:…``.

    Raises:
        EdgetlError: As `edgetl.train.loop.finetune`.
    """
    single, kind = check_trainable(input), config.head_kind
    network = build_network(
        config.architecture,
        len(classes),
        input,
        code=code,
        head_kind=kind,
        head_width=config.head_width,
        head=config.head,
    )
    layer = head_of(
        network,
        config.architecture,
        input=input,
        classes=classes,
        head=config.head,
        head_kind=kind,
    )
    head = Head(layer=layer, classes=classes)
    report = load_weights(
        network, config.weights, config.architecture, head=head, input=input, head_kind=kind
    )
    answer = find_answer(network, input=input, head=head)
    network.to(accelerator.device)
    # The layout in which convolutions are faster, on CPU and CUDA alike; a user's own network
    # may call `view`, which takes no other layout than the plain one.
    reordered = isinstance(input, ImageInput) and not config.architecture.startswith(USER_CODE)
    if reordered:
        network.to(memory_format=torch.channels_last)
    parts = Parts(
        accelerator=accelerator,
        network=network,
        layer=layer,
        head_name=block_name(layer, kind),
        preprocess=Preprocess(single, contiguous=not reordered).to(accelerator.device),
        changes=Changes(
            augment=config.augment,
            mixup=config.mixup,
            cutmix=config.cutmix,
            classes=len(classes),
        ),
        answer=answer,
    )
    return parts, report


def started_head(
    config: FinetuneConfig, parts: Parts, train: Batches, classes: tuple[str, ...]
) -> HeadStart | None:
    """Put into the head what it starts from, where the recipe says so."""
    if not starts_from_features(config):
        return None
    parts.network.eval()
    features = FeatureFeed.features(parts, train.inputs)
    phase = phases(config)[0]
    return start_head(
        parts.head,
        features.numpy(),
        train.labels.numpy(),
        classes,
        config=config,
        epochs=phase.epochs,
        choose=config.choose_weight_decay,
    )


def built_terms(
    terms: Sequence[TermMaker],
    parts: Parts,
    classes: tuple[str, ...],
    sources: tuple[SourceFeed, ...],
) -> tuple[Term, ...]:
    """The terms for a network that has its starting weights.

    Raises:
        ConfigError: For two terms of one name.
    """
    start = Start(
        network=parts.network,
        layer=parts.layer,
        answer=parts.answer,
        preprocess=parts.preprocess,
        classes=classes,
        sources=tuple(source.classes for source in sources),
        device=parts.device,
    )
    built = tuple(maker.build(start).to(parts.device) for maker in terms)
    names = [term.name for term in built]
    if len(set(names)) != len(names):
        raise ConfigError(
            "terms",
            got=f"the terms {', '.join(names)}",
            expected="each of another name",
            fix="add their weights up in one term",
        )
    return built


def depth_needed(config: FinetuneConfig, parts: Parts, input: ClassifierInput) -> Depth | None:
    """The order of the network's modules, where something depends on it."""
    if config.recipe != "gradual" and config.train_from is None and config.layer_decay == 1:
        return None
    depth = depth_of(parts.network, input, parts.head_name)
    if config.train_from is not None:
        depth.of_module(config.train_from)
    return depth


def lora_added(config: FinetuneConfig, parts: Parts, input: ClassifierInput) -> LoraNetwork | None:
    """The low-rank additions of the recipe "lora", in place; None for another."""
    if config.recipe != "lora":
        return None
    return with_lora(
        parts.network,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        layers=config.lora_layers,
        head=parts.layer,
        input=input,
    )
