"""Digits 0 to 4, then 5 to 9: plain fine-tuning forgets, LwF and EWC forget less."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.pipeline.continual import (
    LearnedClasses,
    Previous,
    learn_classes,
    previous_terms,
    read_previous,
)
from edgetl.reference.checkpoint import load_classifier
from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune
from edgetl.train.terms.ewc import Ewc, fisher_of
from edgetl.train.terms.keep_answers import KeepAnswers
from edgetl.train.terms.own_softmax import OwnSoftmax

OLD, NEW = tuple("01234"), tuple("56789")
CONFIG = FinetuneConfig(
    architecture="mlp",
    weights="none",
    recipe="full",
    epochs=10,
    batch_size=32,
    learning_rate=3e-3,
    device="cpu",
    threads=1,
)


def _digits(low: int, first: int, last: int) -> SplitPart:
    """Images of five digits from `low`, labelled from 0."""
    digits = open_dataset("builtin:digits")
    of_these = np.flatnonzero((digits.labels >= low) & (digits.labels < low + 5))
    chosen = digits.subset(np.random.default_rng(0).permutation(of_these)[first:last])
    return SplitPart(ids=chosen.ids, labels=chosen.labels - low, images=chosen.images)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Previous:
    """A classifier of the digits 0 to 4."""
    out = tmp_path_factory.mktemp("old")
    spec = TensorInput(shape=(8, 8))
    finetune(CONFIG, _digits(0, 0, 300), _digits(0, 300, 400), input=spec, classes=OLD, out=out)
    return replace(read_previous(out), train=_digits(0, 0, 300), held_out=_digits(0, 400, 700))


def _learn(previous: Previous, out: Path, *, ewc: float, lwf: float) -> LearnedClasses:
    train, val = _digits(5, 0, 300), _digits(5, 300, 500)
    return learn_classes(CONFIG, previous, train, val, classes=NEW, out=out, ewc=ewc, lwf=lwf)


def test_plain_fine_tuning_forgets_most(previous: Previous, tmp_path: Path) -> None:
    plain = _learn(previous, tmp_path / "plain", ewc=0.0, lwf=0.0).forgetting
    lwf = _learn(previous, tmp_path / "lwf", ewc=0.0, lwf=1.0)
    ewc = _learn(previous, tmp_path / "ewc", ewc=1000.0, lwf=0.0).forgetting
    assert plain.before > 0.95 and plain.old_images == 300
    assert plain.forgetting > 0.8 and plain.low > 0.75
    for held in (lwf.forgetting, ewc):
        # Less by far more than the intervals, and the new classes are still learnt.
        assert held.high < plain.low - 0.2
        assert held.forgetting_old_classes < plain.forgetting_old_classes
        assert held.new_top1 is not None and held.new_top1 > 0.75
    _, description = load_classifier(tmp_path / "lwf")
    assert description.head.classes == lwf.classes == OLD + NEW
    assert json.loads((tmp_path / "lwf" / "forgetting.json").read_text()) == json.loads(
        json.dumps(lwf.forgetting.to_json())
    )
    history = json.loads((tmp_path / "lwf" / "history.json").read_text())
    assert {"keep-answers", "own-softmax"} == set(history["epochs"][0]["terms"])


def test_the_terms_are_those_that_have_a_weight(previous: Previous) -> None:
    every = OLD + NEW

    def kinds(classes: tuple[str, ...] = every, **weights: float) -> list[type]:
        return [type(each) for each in previous_terms(previous, CONFIG, classes, **weights)]

    assert kinds() == []
    assert kinds(ewc=1.0, lwf=1.0) == [KeepAnswers, Ewc]
    assert kinds(own_softmax=True, lwf=1.0) == [KeepAnswers, OwnSoftmax]
    assert kinds(OLD, own_softmax=True, lwf=1.0) == [KeepAnswers]
    assert kinds(own_softmax=True) == []
    (term,) = previous_terms(previous, CONFIG, every, ewc=1.0, images=20)
    (again,) = previous_terms(previous, CONFIG, every, ewc=1.0, images=20)
    (other,) = previous_terms(previous, CONFIG, every, ewc=1.0, images=30)
    assert term.digest == again.digest != other.digest


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_weights_that_mean_nothing_are_refused(previous: Previous, value: float) -> None:
    for name in ("ewc", "lwf"):
        with pytest.raises(ConfigError, match=rf"previous\.{name}: got .*from 0"):
            previous_terms(previous, CONFIG, OLD + NEW, **{name: value})  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_before_training(previous: Previous, tmp_path: Path) -> None:
    train = _digits(5, 0, 40)

    def refused(
        error: type[Exception],
        words: str,
        *,
        config: FinetuneConfig = CONFIG,
        start: Previous = previous,
        part: SplitPart = train,
    ) -> None:
        with pytest.raises(error, match=words):
            learn_classes(config, start, part, part, classes=NEW, out=tmp_path, ewc=1.0, lwf=1.0)
        assert not list(tmp_path.iterdir())

    refused(
        ConfigError,
        r"architecture: got 'mlp:7'; expected 'mlp', as the previous",
        config=replace(CONFIG, architecture="mlp:7"),
    )
    refused(ConfigError, "no images of the old task", start=replace(previous, train=None))
    refused(ConfigError, "no held-out images", start=replace(previous, held_out=None))
    refused(
        ConfigError,
        r"label_smoothing: got 0\.1, with learning without forgetting",
        config=replace(CONFIG, label_smoothing=0.1),
    )
    refused(DataError, "the label 9; expected 0 to 4", part=replace(train, labels=train.labels + 5))


def test_a_previous_folder_of_another_architecture_says_which_keys(
    previous: Previous, tmp_path: Path
) -> None:
    from edgetl.reference.checkpoint import save_classifier

    save_classifier(tmp_path, previous.network, previous.description)
    path = tmp_path / "classifier.json"
    path.write_text(path.read_text().replace('"mlp"', '"mlp:64,32,16"'))
    with pytest.raises(CheckpointError, match=r"missing: body\.5\.weight"):
        read_previous(tmp_path)


def test_with_images_of_old_classes_all_classes_compete(previous: Previous, tmp_path: Path) -> None:
    new, old = _digits(5, 0, 60), _digits(0, 0, 60)
    part = SplitPart(
        ids=new.ids + old.ids,
        labels=np.concatenate([new.labels, old.labels + 5]),
        images=np.concatenate([np.asarray(new.images), np.asarray(old.images)]),
    )
    config = replace(CONFIG, epochs=1)
    learned = learn_classes(config, previous, part, part, classes=NEW + OLD, out=tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    assert set(history["epochs"][0]["terms"]) == {"keep-answers"}
    # The old ones keep their index, whatever the order in which the data names them.
    assert learned.classes == OLD + NEW and learned.forgetting.new_images == 60


def test_a_start_that_would_lose_the_old_rows_is_refused(
    previous: Previous, tmp_path: Path
) -> None:
    part = _digits(5, 0, 40)
    config = replace(CONFIG, recipe="lp-ft")
    with pytest.raises(ConfigError, match="recipe: got 'lp-ft', which starts the head anew"):
        learn_classes(config, previous, part, part, classes=NEW, out=tmp_path)


def test_the_fisher_information_is_found_as_training_computes(
    previous: Previous, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is part of what a run is known by: on a GPU it would be another one each time."""
    seen = []

    def fisher(*_: object, **options: object) -> dict[str, torch.Tensor]:
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()))
        return fisher_of(*_, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("edgetl.pipeline.continual.fisher_of", fisher)
    config = replace(CONFIG, threads=2)
    digests = [
        previous_terms(previous, config, OLD + NEW, ewc=1.0, images=5)[0].digest for _ in range(2)
    ]
    assert seen == [(True, 2)] * 2 and digests[0] == digests[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_old_weights_that_mattered_are_held_in_a_head_of_cosines_too(tmp_path: Path) -> None:
    """Which trains as directions and a length, and is stored as the weight that they make."""
    config = replace(CONFIG, head_kind="cosine", epochs=2)
    spec, train = TensorInput(shape=(8, 8)), _digits(0, 0, 60)
    finetune(config, train, _digits(0, 300, 340), input=spec, classes=OLD, out=tmp_path / "old")
    first = replace(read_previous(tmp_path / "old"), train=train, held_out=_digits(0, 400, 450))

    def moved(name: str, ewc: float) -> float:
        fit = (config, first, _digits(5, 0, 60), _digits(5, 300, 340))
        learn_classes(*fit, classes=NEW, out=tmp_path / name, ewc=ewc, lwf=0.0)
        rows = load_file(tmp_path / name / "model.safetensors")["head.linear.weight"][: len(OLD)]
        return float((rows - first.network.head.linear.weight.detach()).norm())  # type: ignore[union-attr, operator]

    assert moved("held", 1e5) < 0.7 * moved("free", 0.0)
