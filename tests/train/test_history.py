"""The history says which epoch was kept and why, and what trained at which rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgetl.train.backbones import WeightsReport
from edgetl.train.config import FinetuneConfig
from edgetl.train.depth import Depth
from edgetl.train.history import history_of, kept_sentence
from edgetl.train.state import EpochRecord

REPORT = WeightsReport(source="none", sha256=None, loaded=0, fresh=())


def _config(**changes: Any) -> FinetuneConfig:
    values = {"architecture": "mlp", "weights": "none", "recipe": "full", "epochs": 3}
    return FinetuneConfig(**{**values, **changes})


def _records(*nll: float) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=epoch,
            phase="all",
            loss=1.0,
            learning_rate=0.1,
            top1=0.5,
            nll=value,
            ece=0.1,
            entropy=0.2,
        )
        for epoch, value in enumerate(nll, start=1)
    ]


def test_the_sentence_says_what_was_kept_and_why_training_ended() -> None:
    assert kept_sentence(_config(), _records(0.5, 0.3, 0.4)) == (
        "Epoch 2 of 3 was kept: its NLL on val, 0.3000, is the lowest; the last epoch's is 0.4000."
    )
    early = kept_sentence(_config(patience=1, ema=0.9), _records(0.3, 0.4))
    assert "its weights are the moving average. At most 3 were planned: a phase ends after an" in (
        early
    )


def _history(config: FinetuneConfig, depth: Depth | None = None) -> dict[str, Any]:
    return history_of(
        config,
        _records(0.5),
        device="cpu",
        processes=1,
        weights=REPORT,
        images={"train": 4, "val": 2},
        counts=np.array([3, 1]),
        classes=("a", "b"),
        depth=depth,
        start=None,
        terms=(),
        per_class=[{"name": "a", "recall": 0.5}, {"name": "b", "recall": None}],
    )


def test_class_weights_and_rates_of_blocks_are_told_where_there_are_any() -> None:
    plain = _history(_config())
    assert "class_weights" not in plain and "blocks" not in plain["recipe"]
    assert plain["class_balance"]["imbalance"] == 3.0
    assert [figures["recall"] for figures in plain["per_class"]] == [0.5, None]
    depth = Depth(order={"": 0}, blocks=(("a", 0), ("b", 2), ("head", 4)))
    weighed = _history(_config(class_weights="balanced", layer_decay=0.5), depth)
    assert weighed["class_weights"] == {"a": 4 / 6, "b": 2.0}
    rates = {block["name"]: block["rate"] for block in weighed["recipe"]["blocks"]}
    assert rates == {"a": 0.25, "b": 0.5, "head": 1.0}
