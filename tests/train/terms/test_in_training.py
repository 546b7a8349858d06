"""The terms toward a known model inside whole trainings: every recipe, head and phase."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import build_network
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune
from edgetl.train.terms.base import TermMaker
from edgetl.train.terms.distillation import Distillation
from edgetl.train.terms.ewc import Ewc
from edgetl.train.terms.keep_answers import KeepAnswers
from edgetl.train.terms.l2_sp import L2Sp
from tests.train.helpers.started import CLASSES, SPEC

SOURCE_CLASSES = 5


def _part(n: int, seed: int) -> SplitPart:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = (rng.normal(size=(n, 6)) + 2 * np.eye(3, 6)[labels]).astype(np.float32)
    ids = tuple(f"{seed:032x}{index:032x}" for index in range(n))
    return SplitPart(ids=ids, labels=labels, images=images)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = build_network("mlp", SOURCE_CLASSES, SPEC)
    save_file(network.state_dict(), tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def _train(source: Path, out: Path, terms: tuple[TermMaker, ...], **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "architecture": "mlp",
        "weights": str(source),
        "recipe": "two-stage",
        "epochs": 3,
        "head_epochs": 1,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 2e-2,
        "weight_decay": 0.0,
        "device": "cpu",
    }
    config = FinetuneConfig(**{**values, **changes})
    finetune(config, _part(24, 1), _part(12, 2), input=SPEC, classes=CLASSES, out=out, terms=terms)
    return dict(json.loads((out / "history.json").read_text()))


def _l2_sp(source: Path) -> TermMaker:
    return L2Sp(weight=0.5, head_weight=0.1)


def _keep(source: Path) -> TermMaker:
    return KeepAnswers(weight=5.0, source_weights=source)


def _distil(source: Path) -> TermMaker:
    torch.manual_seed(4)
    return Distillation(teacher=nn.Linear(6, 3), teacher_digest="t", weight=1.0)


def _ewc(source: Path) -> TermMaker:
    torch.manual_seed(0)
    network = build_network("mlp", SOURCE_CLASSES, SPEC)
    body = {
        name: value.detach().clone()
        for name, value in network.named_parameters()
        if name.startswith("body")
    }
    ones: dict[str, Tensor] = {name: torch.ones_like(value) for name, value in body.items()}
    return Ewc(weight=1.0, anchors=body, fisher=ones)


def test_all_at_once_they_are_in_the_history_and_the_same_call_gives_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    every = (_l2_sp, _keep, _distil, _ewc)
    histories = [
        _train(source, tmp_path / out, tuple(make(source) for make in every), epochs=2)
        for out in ("one", "two")
    ]
    head, *later = [epoch["terms"] for epoch in histories[0]["epochs"]]
    # Answers through the old head stand still while the body is frozen.
    assert set(head) == {"l2-sp", "distillation", "ewc"} and head["ewc"] == 0
    for terms in later:
        assert set(terms) == {"l2-sp", "keep-answers", "distillation", "ewc"}
        assert all(value > 0 for value in terms.values())
    files = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("one", "two")]
    assert files[0] == files[1]


def test_the_more_it_weighs_the_nearer_the_body_stays(source: Path, tmp_path: Path) -> None:
    before = build_network("mlp", SOURCE_CLASSES, SPEC)
    from safetensors.torch import load_file

    before.load_state_dict(load_file(source))
    x = torch.from_numpy(np.asarray(_part(24, 1).images))

    def moved(out: str, *terms: TermMaker) -> tuple[float, float]:
        _train(source, tmp_path / out, terms, recipe="full", epochs=6)
        after, _ = load_classifier(tmp_path / out)
        apart = sum(
            float((p - q).detach().square().sum())
            for p, q in zip(before.body.parameters(), after.body.parameters(), strict=True)  # type: ignore[union-attr]
        )
        old = copy.deepcopy(after)
        old.head = before.head
        with torch.no_grad():
            p, q = (torch.log_softmax(each(x), 1) for each in (before, old))
            kl = float(nn.functional.kl_div(q, p, reduction="batchmean", log_target=True))
        return apart, kl

    free = moved("free")
    assert moved("l2", L2Sp(weight=1.0))[0] < 0.5 * free[0]
    assert moved("kl", KeepAnswers(weight=20.0, source_weights=source))[1] < 0.5 * free[1]


@pytest.mark.parametrize("head", [{"head_kind": "mlp", "head_width": 4}, {"head_kind": "cosine"}])
def test_they_go_with_heads_of_other_kinds(
    head: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    terms = (_l2_sp(source), _keep(source), _distil(source))
    history = _train(source, tmp_path / "out", terms, epochs=1, **head)
    assert len(history["epochs"][-1]["terms"]) == 3
    network, _ = load_classifier(tmp_path / "out")
    assert type(network.get_submodule("head.linear")) is nn.Linear


@pytest.mark.parametrize("make", [_l2_sp, _ewc], ids=["l2-sp", "ewc"])
def test_with_lora_distances_of_weights_are_refused(
    make: Callable[[Path], TermMaker], source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="leave the term out with recipe = 'lora'"):
        _train(source, tmp_path / "out", (make(source),), recipe="lora")


def test_with_lora_answers_are_compared(source: Path, tmp_path: Path) -> None:
    terms = (_keep(source), _distil(source))
    history = _train(source, tmp_path / "out", terms, recipe="lora", ema=0.9, epochs=2)
    assert all(value > 0 for epoch in history["epochs"] for value in epoch["terms"].values())
