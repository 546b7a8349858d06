"""What surrounds training: devices, threads, seeds, and the digest of a run's beginning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError, UnavailableError
from edgetl.extras import extra
from edgetl.files import canonical_json, sha256_bytes, sha256_file
from edgetl.input_json import input_to_json
from edgetl.reference.ending import OUTPUT
from edgetl.reference.user_code import USER_CODE, source_files_of
from edgetl.spec import ClassifierInput, SeveralInputs, SingleInput, TensorInput
from edgetl.train.backbones import WeightsReport, check_source
from edgetl.train.config import FinetuneConfig, TrainDevice, without_later_defaults
from edgetl.train.feed import SourceData
from edgetl.train.terms.base import TermMaker

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(config: FinetuneConfig) -> Accelerator:
    """The config's device and precision, in as many processes as a launcher started.

    Raises:
        UnavailableError: When the device that was asked for is not here, or fp16 is asked for
            where there is no CUDA.
    """
    used = chosen_device(config.device)
    if config.precision == "fp16" and used == "cpu":
        raise _unavailable("cuda, for precision = 'fp16'", "no CUDA device that PyTorch can use")
    with extra("train"):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    # The library keeps one precision and one device for the life of a process, and a program may
    # train twice: a backbone first, then the classifier. Launched processes stay joined.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    mixed = "no" if config.precision == "fp32" else config.precision
    accelerator = Accelerator(cpu=used == "cpu", mixed_precision=mixed)
    if accelerator.device.type != used:
        raise _unavailable(used, f"the device {accelerator.device}, chosen by the environment")
    return accelerator


def chosen_device(device: TrainDevice) -> Literal["cpu", "cuda"]:
    """What a config's device means on this machine.

    Raises:
        UnavailableError: For ``"cuda"`` where there is none, or where it is switched off.

    Example:
        >>> chosen_device("cpu")
        'cpu'
    """
    with extra("train"):
        from accelerate.utils import parse_flag_from_env
    switched_off = parse_flag_from_env("ACCELERATE_USE_CPU")
    present = torch.cuda.is_available() and not switched_off
    if device == "cuda" and not present:
        off = "ACCELERATE_USE_CPU, which switches CUDA off"
        raise _unavailable("cuda", off if switched_off else "no CUDA device that PyTorch can use")
    return "cuda" if device != "cpu" and present else "cpu"


def _unavailable(device: str, got: str) -> UnavailableError:
    return UnavailableError(
        f"training on {device}",
        got=got,
        expected=f"the device {device}",
        fix="make it available to PyTorch, or set device to 'auto' or to another device",
    )


@contextmanager
def reproducible(config: FinetuneConfig) -> Iterator[None]:
    """Deterministic kernels, the config's threads and seed; the caller's own state afterwards."""
    # cuBLAS is deterministic only with a workspace of fixed size, chosen before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.use_deterministic_algorithms(True)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        seed_torch(config.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def seed_torch(*key: int) -> None:
    """Seed torch from a key, such as (seed, epoch, process), so that each has its own stream."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def check_request(
    config: FinetuneConfig,
    train: SplitPart,
    val: SplitPart,
    input: ClassifierInput,
    classes: tuple[str, ...],
) -> None:
    """Refuse data and settings that cannot be trained together, before anything slow.

    Raises:
        DataError: For a split with too few images, or labels that are no classes.
        ConfigError: For augmentation of a tensor input, or weights that the architecture has not.
    """
    for name, part, least in (("train", train, 2), ("val", val, 1)):
        if len(part.labels) < least:
            raise DataError(
                f"the {name} split",
                got=f"{len(part.labels)} images",
                expected=f"at least {least}",
                fix="make the split larger",
            )
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= len(classes):
            raise DataError(
                f"the {name} split",
                got=f"labels from {low} to {high}",
                expected=f"0 to {len(classes) - 1}, for {len(classes)} classes",
                fix="name every class, in the order of the labels",
            )
    check_source(config.weights, config.architecture)
    if isinstance(input, TensorInput):
        for name, value, off in (
            ("augment", config.augment, "none"),
            ("cutmix", config.cutmix, 0),
        ):
            if value != off:
                raise ConfigError(
                    name,
                    got=repr(value),
                    expected=f"{off!r} for a tensor input",
                    fix="remove it: shifts, flips and cuts are for images",
                )


def check_trainable(input: ClassifierInput) -> SingleInput:
    """The input, when it is one that edgetl trains on.

    Raises:
        ConfigError: For several inputs.
    """
    if isinstance(input, SeveralInputs):
        raise ConfigError(
            "input",
            got=f"the inputs {', '.join(input.parts)}",
            expected="one input: edgetl trains networks of one",
            fix="train it with your own code, and name its weights in [model]",
        )
    return input


def check_recipe(config: FinetuneConfig, layer: str, *, has_features: bool, terms: int) -> None:
    """Refuse a recipe that the network's head does not allow.

    Args:
        config: The run's.
        layer: The head's dotted name.
        has_features: Whether the network is its body and then its head.
        terms: How many terms and sources the loss has.

    Raises:
        ConfigError: For a recipe with a head phase, or terms, where no head is named; for a start
            from features where there are none.
    """
    if layer == OUTPUT and (config.recipe != "full" or terms):
        what = f"'{config.recipe}'" + (f" and {terms} terms or sources" if terms else "")
        raise ConfigError(
            "recipe",
            got=f"{what} with head = '{OUTPUT}', which names no layer",
            expected="'full', with no terms",
            fix="write head = the name of the last linear layer, or recipe = 'full'",
        )
    if not has_features and starts_from_features(config):
        raise ConfigError(
            "recipe",
            got=f"'{config.recipe}' with a network that does more after its head '{layer}'",
            expected="a network that ends in its head, to start that from features",
            fix="let the network return raw logits, or write recipe = 'two-stage' with "
            "head_kind = 'linear'",
        )


def starts_from_features(config: FinetuneConfig) -> bool:
    """Whether the head is solved, set or tuned on the training images' features first.

    Example:
        >>> starts_from_features(FinetuneConfig(architecture="mlp", weights="none", recipe="full"))
        False
    """
    set_first = config.recipe == "lp-ft" or config.head_kind == "prototype"
    return set_first or config.choose_weight_decay


def run_digest(
    config: FinetuneConfig,
    report: WeightsReport,
    train: SplitPart,
    val: SplitPart,
    input: ClassifierInput,
    classes: tuple[str, ...],
    *,
    device: str,
    processes: int,
    code: Path | None = None,
    terms: Sequence[TermMaker] = (),
    sources: Sequence[SourceData] = (),
) -> str:
    """SHA-256 of everything that a run's result depends on, so that no other run is resumed."""
    return sha256_bytes(
        canonical_json(
            {
                "config": described_config(config),
                "weights": asdict(report),
                "train": _part_digest(train),
                "val": _part_digest(val),
                "input": input_to_json(input),
                "classes": list(classes),
                "device": device,
                "processes": processes,
                "torch": str(torch.__version__),
                **_code_digests(config.architecture, code),
                **({"terms": [dict(term.digest) for term in terms]} if terms else {}),
                **({"sources": [_source_digest(one) for one in sources]} if sources else {}),
            }
        )
    )


def _code_digests(architecture: str, code: Path | None) -> dict[str, dict[str, str]]:
    """The user's files that the network is made by, so that a run goes on with the same code."""
    if code is None or not architecture.startswith(USER_CODE):
        return {}
    files = source_files_of(architecture, code)
    return {"code": {str(file.relative_to(code)): sha256_file(file) for file in files}}


def described_config(config: FinetuneConfig) -> dict[str, Any]:
    """The config as plain data, without the path of a weights file: its hash says what it is."""
    values = without_later_defaults(asdict(config))
    if values["weights"] not in ("none", "imagenet", "pretrained", "factory"):
        values["weights"] = "file"
    return values


def _source_digest(source: SourceData) -> list[Any]:
    return [_part_digest(source.part), list(source.classes), source.batch_size]


def _part_digest(part: SplitPart) -> str:
    # In their order, which training depends on.
    digest = hashlib.sha256("\n".join(part.ids).encode())
    digest.update(np.ascontiguousarray(part.labels, np.int64).data)
    return digest.hexdigest()
