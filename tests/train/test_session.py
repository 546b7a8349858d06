"""What surrounds a run is put back afterwards, and a run's digest knows what it depends on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError, UnavailableError
from edgetl.spec import ClassifierInput, ImageInput, TensorInput
from edgetl.train.backbones import WeightsReport
from edgetl.train.config import FinetuneConfig
from edgetl.train.session import (
    check_recipe,
    check_request,
    chosen_device,
    make_accelerator,
    reproducible,
    run_digest,
)

CONFIG = FinetuneConfig(architecture="mlp", weights="none", recipe="full", threads=1)
INPUT: ClassifierInput = TensorInput(shape=(64,))
CLASSES = ("a", "b", "c")


def test_threads_seed_and_determinism_are_put_back() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(9)
    want = torch.rand(2)
    torch.manual_seed(9)
    with pytest.raises(RuntimeError), reproducible(CONFIG):
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1
        torch.rand(5)
        raise RuntimeError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.rand(2), want)


def test_one_process_can_train_in_two_precisions() -> None:
    for precision, autocast in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        accelerator = make_accelerator(dataclasses.replace(CONFIG, precision=precision))
        with accelerator.autocast():
            answer = torch.nn.Linear(2, 2).to(accelerator.device)(
                torch.ones(1, 2, device=accelerator.device)
            )
        assert answer.dtype == autocast


def test_the_device_is_what_was_asked_for_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == chosen_device("cpu") == "cpu"
    with pytest.raises(UnavailableError, match="no CUDA device") as caught:
        make_accelerator(dataclasses.replace(CONFIG, device="cuda"))
    assert caught.value.exit_code == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [chosen_device(device) for device in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    assert make_accelerator(dataclasses.replace(CONFIG, device="cpu")).device.type == "cpu"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert chosen_device("auto") == "cpu"
    with pytest.raises(UnavailableError, match="ACCELERATE_USE_CPU"):
        chosen_device("cuda")


def test_fp16_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnavailableError, match="fp16") as caught:
        make_accelerator(dataclasses.replace(CONFIG, precision="fp16"))
    assert caught.value.exit_code == 3


def test_a_head_that_is_started_from_features_needs_them() -> None:
    for changes in ({"recipe": "lp-ft"}, {"head_kind": "prototype"}):
        config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
        check_recipe(config, "fc", has_features=True, terms=0)
        with pytest.raises(ConfigError, match="more after its head 'fc'"):
            check_recipe(config, "fc", has_features=False, terms=0)
    check_recipe(CONFIG, "output", has_features=False, terms=0)
    with pytest.raises(ConfigError, match="no terms"):
        check_recipe(CONFIG, "output", has_features=False, terms=1)


def test_an_environment_that_names_another_device_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    with pytest.raises(UnavailableError, match="meta"):
        make_accelerator(dataclasses.replace(CONFIG, device="cpu"))
    monkeypatch.undo()
    assert make_accelerator(dataclasses.replace(CONFIG, device="cpu")).device.type == "cpu"


def _digest(*args: Any, device: str = "cpu", processes: int = 1) -> str:
    return run_digest(*args, device=device, processes=processes)


def test_the_digest_changes_with_whatever_the_result_depends_on(
    train_part: SplitPart, val_part: SplitPart
) -> None:
    report = WeightsReport(source="none", sha256=None, loaded=0, fresh=())
    reordered = dataclasses.replace(train_part, ids=train_part.ids[::-1])
    relabelled = dataclasses.replace(train_part, labels=(train_part.labels + 1) % 3)
    made = [
        _digest(CONFIG, report, train_part, val_part, INPUT, CLASSES),
        _digest(dataclasses.replace(CONFIG, seed=1), report, train_part, val_part, INPUT, CLASSES),
        _digest(
            CONFIG,
            dataclasses.replace(report, sha256="0" * 64),
            train_part,
            val_part,
            INPUT,
            CLASSES,
        ),
        _digest(CONFIG, report, reordered, val_part, INPUT, CLASSES),
        _digest(CONFIG, report, relabelled, val_part, INPUT, CLASSES),
        _digest(CONFIG, report, val_part, train_part, INPUT, CLASSES),
        _digest(CONFIG, report, train_part, val_part, TensorInput(shape=(8, 8)), CLASSES),
        _digest(CONFIG, report, train_part, val_part, INPUT, ("a", "b", "d")),
        _digest(CONFIG, report, train_part, val_part, INPUT, CLASSES, device="cuda"),
        _digest(CONFIG, report, train_part, val_part, INPUT, CLASSES, processes=2),
    ]
    assert len(set(made)) == len(made)
    assert made[0] == _digest(CONFIG, report, train_part, val_part, INPUT, CLASSES)


def test_requests_that_cannot_be_trained_are_refused(
    train_part: SplitPart, val_part: SplitPart
) -> None:
    check_request(CONFIG, train_part, val_part, INPUT, CLASSES)
    one = SplitPart(
        ids=train_part.ids[:1], labels=train_part.labels[:1], images=train_part.images[:1]
    )
    none = SplitPart(ids=(), labels=np.zeros(0, np.int64), images=train_part.images[:0])
    for train, val, classes in (
        (one, val_part, CLASSES),
        (train_part, none, CLASSES),
        (train_part, val_part, ("a", "b")),
    ):
        with pytest.raises(DataError):
            check_request(CONFIG, train, val, INPUT, classes)
    light = dataclasses.replace(CONFIG, augment="light")
    with pytest.raises(ConfigError, match="augment"):
        check_request(light, train_part, val_part, INPUT, CLASSES)
    check_request(light, train_part, val_part, ImageInput(height=8, width=8), CLASSES)
    cut = dataclasses.replace(CONFIG, cutmix=1.0)
    with pytest.raises(ConfigError, match="cutmix"):
        check_request(cut, train_part, val_part, INPUT, CLASSES)
