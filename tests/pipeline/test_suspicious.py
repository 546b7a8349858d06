"""Labels moved on purpose come first in suspicious.json, by the names of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgetl.data.decode import encode_png
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.pipeline.suspicious import (
    SUSPICIOUS_FILE,
    file_names,
    find_suspicious,
    suspicious_sentence,
)
from edgetl.reference.architectures import HeadKind
from edgetl.reference.checkpoint import ClassifierDescription, save_classifier
from edgetl.reference.ending import OUTPUT
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.spec import Head, TensorInput

DIGITS = tuple("0123456789")
INPUT = TensorInput(shape=(8, 8))
N, MOVED = 600, 30


@pytest.fixture(scope="module")
def noisy() -> tuple[SplitPart, set[int]]:
    """Digits of which 5 % have another label, and which these are."""
    digits = open_dataset("builtin:digits")
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(digits))[:N]
    moved = generator.choice(N, MOVED, replace=False)
    labels = digits.labels[chosen].copy()
    labels[moved] = (labels[moved] + generator.integers(1, 10, MOVED)) % 10
    ids = tuple(digits.ids[at] for at in chosen)
    return SplitPart(ids=ids, labels=labels, images=digits.images[chosen]), set(moved.tolist())


@pytest.fixture(scope="module")
def network(noisy: tuple[SplitPart, set[int]]) -> nn.Module:
    """An MLP that was trained on them, wrong labels and all, in 25 whole-batch steps."""
    part, _ = noisy
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_network("mlp", 10, INPUT)
        optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
        images = torch.from_numpy(part.images).float() / 255
        for _ in range(25):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(made(images), torch.from_numpy(part.labels))
            loss.backward()
            optimizer.step()
    return made.eval()


def look(
    network: nn.Module, part: SplitPart, folder: Path, *, layer: str = "head", **more: Any
) -> tuple[str, dict[str, Any]]:
    description = ClassifierDescription(
        architecture="mlp", input=INPUT, head=Head(layer=layer, classes=DIGITS)
    )
    save_classifier(folder, network, description)
    sentence = find_suspicious(folder, part, out=folder, **more)
    return sentence, json.loads((folder / SUSPICIOUS_FILE).read_text())


def test_most_moved_labels_are_found_and_most_named_were_moved(
    noisy: tuple[SplitPart, set[int]], network: nn.Module, tmp_path: Path
) -> None:
    part, moved = noisy
    sentence, found = look(network, part, tmp_path)
    named = {image["index"] for image in found["images"] if image["looks_wrong"]}
    assert len(named) == found["look_wrong"]
    assert len(named & moved) >= 0.8 * MOVED
    assert len(named & moved) >= 0.8 * len(named)
    first = [image["index"] for image in found["images"][: MOVED // 2]]
    assert len(set(first) & moved) >= 0.9 * len(first)
    assert sentence.startswith(f"{len(named)} labels of {N} images look wrong: image ")
    # Listed beyond those: whatever is answered otherwise, which nearly every moved label is.
    listed = {image["index"] for image in found["images"]}
    assert len(listed & moved) >= 0.95 * MOVED and len(listed) == found["answered_otherwise"]


def test_the_document(
    noisy: tuple[SplitPart, set[int]], network: nn.Module, tmp_path: Path
) -> None:
    part, _ = noisy
    _, found = look(network, part, tmp_path)
    assert found["schema"] == "edgetl.suspicious/1"
    assert found["n"] == found["judged"] == N and 0.7 < found["agreement"] < 1
    for image in found["images"]:
        at = image["index"]
        assert image["id"] == part.ids[at] and image["label"] == DIGITS[part.labels[at]]
        assert image["predicted"] != image["label"] or image["confident_learning"]
        assert image["loss"] == pytest.approx(-np.log(image["probability_of_label"]), abs=0.01)
    order = [(not one["looks_wrong"], one["probability_of_label"]) for one in found["images"]]
    assert order == sorted(order)
    first = (tmp_path / SUSPICIOUS_FILE).read_bytes()
    look(network, part, tmp_path)
    assert (tmp_path / SUSPICIOUS_FILE).read_bytes() == first


def test_a_network_without_a_named_head_is_judged_by_its_logits(
    noisy: tuple[SplitPart, set[int]], network: nn.Module, tmp_path: Path
) -> None:
    part, moved = noisy
    _, found = look(network, part, tmp_path, layer=OUTPUT)
    named = {image["index"] for image in found["images"] if image["looks_wrong"]}
    assert len(named & moved) >= 0.6 * MOVED and len(named & moved) >= 0.6 * len(named)


@pytest.mark.parametrize("kind", ["mlp", "cosine"])
def test_a_head_of_several_layers_is_looked_through_to_its_last(
    kind: HeadKind, noisy: tuple[SplitPart, set[int]], tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_network("mlp", 10, INPUT, head_kind=kind, head_width=16)
    layer = head_of(made, "mlp", input=INPUT, classes=DIGITS, head_kind=kind)
    head = Head(layer=layer, classes=DIGITS)
    description = ClassifierDescription(
        architecture="mlp", input=INPUT, head=head, head_kind=kind, head_width=16
    )
    save_classifier(tmp_path, made, description)
    part, moved = noisy
    find_suspicious(tmp_path, part, out=tmp_path)
    found = json.loads((tmp_path / SUSPICIOUS_FILE).read_bytes())
    # Random features of pixels: enough to tell most digits, for most of the list to be right.
    first = [image["index"] for image in found["images"][:10]]
    assert found["agreement"] > 0.6 and len(moved.intersection(first)) >= 5


def test_answers_that_are_mostly_wrong_themselves_accuse_nobody(
    noisy: tuple[SplitPart, set[int]], network: nn.Module, tmp_path: Path
) -> None:
    part, _ = noisy
    chance = np.random.default_rng(0).integers(0, 10, N)
    sentence, found = look(
        network, SplitPart(ids=part.ids, labels=chance, images=part.images), tmp_path
    )
    assert found["look_wrong"] is None and found["agreement"] < 0.5
    assert not any(image["looks_wrong"] for image in found["images"])
    assert sentence.startswith("labels not checked: answers from other images repeat only")


@pytest.mark.parametrize("labels", [[3] * 12, [0, 1] * 3])
def test_too_little_to_compare_is_said(
    labels: list[int], noisy: tuple[SplitPart, set[int]], network: nn.Module, tmp_path: Path
) -> None:
    part = noisy[0].first(len(labels))
    own = SplitPart(ids=part.ids, labels=np.array(labels, np.int64), images=part.images)
    sentence, found = look(network, own, tmp_path)
    assert sentence == "labels not checked: no two classes have 5 images each"
    assert found["judged"] == 0 and found["agreement"] is None and found["images"] == []


def test_files_are_named_by_their_content(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat/a.png", "cat/b.png", "dog/c.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)))
    source = f"folder:{tmp_path / 'pets'}"
    dataset = open_dataset(source)
    part = SplitPart(ids=dataset.ids, labels=dataset.labels, images=dataset.images)
    assert file_names(part, source) == {0: "cat/a.png", 1: "cat/b.png", 2: "dog/c.png"}


def test_the_sentence_names_files_and_says_that_there_are_more() -> None:
    images = [
        {"file": f"cat/{name}.png", "index": at, "label": "cat", "predicted": "dog"}
        for at, name in enumerate("abcd")
    ]
    said = suspicious_sentence({"judged": 40, "look_wrong": 4, "images": images})
    assert said.startswith("4 labels of 40 images look wrong: cat/a.png (labelled cat, looks like ")
    assert said.endswith("; ...") and "cat/d.png" not in said
    one = suspicious_sentence({"judged": 40, "look_wrong": 1, "images": images})
    assert one == "1 label of 40 images looks wrong: cat/a.png (labelled cat, looks like dog)"
