"""The training images whose labels look wrong, as a list for a person to go through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.data.content import stored_ids
from edgetl.data.sources import source_files
from edgetl.data.store import SplitPart
from edgetl.files import write_json
from edgetl.metrics.probability import PROBABILITY_FLOOR
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.ending import OUTPUT, Answer, Ending, find_answer, raw_logits
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import Head, SingleInput
from edgetl.train.evaluate import in_batches
from edgetl.train.features import features_of
from edgetl.train.feed import Batches
from edgetl.train.session import check_trainable
from edgetl.train.wrong_labels import FOLDS, Evidence, look_for_wrong_labels

SCHEMA = "edgetl.suspicious/1"
SUSPICIOUS_FILE = "suspicious.json"
LEAST_AGREEMENT = 0.7
"""Where the answers repeat a smaller share of the labels, it is mostly they that are wrong."""

_MOST_LISTED = 1000
_NAMED = 3


def find_suspicious(
    folder: Path,
    part: SplitPart,
    *,
    out: Path,
    source: str | None = None,
    code: Path | None = None,
    device: str = "cpu",
) -> str:
    """List the images of a training split whose labels look wrong, after training on it.

    The trained network gives features; each image is then classified by a logistic regression on
    the features of the other images (`edgetl.train.wrong_labels`). The network itself has seen the
    label, so that one trained until it knew every image by heart hides some wrong labels: of the
    epochs the best on val is kept, which is before that, and what is listed is wrong all the more
    surely. It costs one pass over the images and five regressions, no training.

    The file `suspicious.json` in `out` holds ``schema``, ``n``, ``judged`` (images of classes with
    at least five), ``agreement`` (the share of labels that the regressions repeat), ``look_wrong``
    (how many; None where too few labels are repeated to tell) and in ``images``, the most
    suspicious first and 1,000 at most, each image that looks wrong or is answered otherwise:
    ``id``, ``index`` in the split, ``file`` where the source has one, ``label``, ``predicted``,
    ``probability_of_label`` and ``loss`` (its negative logarithm in nats), all three out of sample,
    ``answer`` (the trained classifier's), ``confident_learning`` and ``looks_wrong``.

    Args:
        folder: The trained classifier's.
        part: The images that it was trained on.
        out: Where the file goes.
        source: The dataset's source string, for the names of files.
        code: The folder of the user's module, for an architecture ``python:…``.
        device: Where the network is asked.

    Returns:
        A line for a person.

    Raises:
        CheckpointError: When the classifier cannot be read.
        DataError: When its features are not finite.
    """
    network, description = load_classifier(folder, code=code)
    features, answers = _looked_at(
        network, description.head, check_trainable(description.input), part, device
    )
    evidence = look_for_wrong_labels(features, part.labels, answers)
    files = {} if source is None else file_names(part, source)
    document = suspicious_document(part, evidence, answers, description.head.classes, files)
    write_json(out / SUSPICIOUS_FILE, document)
    return suspicious_sentence(document)


def suspicious_document(
    part: SplitPart,
    evidence: Evidence,
    answers: NDArray[np.int64],
    classes: Sequence[str],
    files: dict[int, str],
) -> dict[str, Any]:
    """What `find_suspicious` writes.

    Args:
        part: The images.
        evidence: Of each of their labels.
        answers: int64 [n], the trained classifier's.
        classes: The labels' names.
        files: Position -> the file's name, for the images that have one.
    """
    tells = evidence.agreement >= LEAST_AGREEMENT
    wrong = evidence.wrong & tells
    listed = np.flatnonzero(
        evidence.judged & (evidence.wrong | (evidence.predicted != part.labels))
    )
    # As they are written, so that a last bit that differs does not change the order.
    probability = evidence.label_probability.round(6)
    order = sorted(listed.tolist(), key=lambda at: (not wrong[at], probability[at], at))
    return {
        "schema": SCHEMA,
        "n": len(part),
        "judged": int(evidence.judged.sum()),
        "agreement": round(evidence.agreement, 6) if evidence.judged.any() else None,
        "look_wrong": int(wrong.sum()) if tells else None,
        "answered_otherwise": len(listed),
        "images": [
            {
                "id": part.ids[at],
                "index": at,
                **({"file": files[at]} if at in files else {}),
                "label": classes[part.labels[at]],
                "predicted": classes[evidence.predicted[at]],
                "probability_of_label": float(probability[at]),
                "loss": round(float(-np.log(max(probability[at], PROBABILITY_FLOOR))), 6),
                "answer": classes[answers[at]],
                "confident_learning": bool(evidence.confident[at]),
                "looks_wrong": bool(wrong[at]),
            }
            for at in order[:_MOST_LISTED]
        ],
    }


def suspicious_sentence(document: dict[str, Any]) -> str:
    """A document in a line.

    Example:
        >>> suspicious_sentence({"n": 9, "judged": 9, "look_wrong": 0, "images": []})
        'no label of 9 images looks wrong'
    """
    if not document["judged"]:
        return f"labels not checked: no two classes have {FOLDS} images each"
    if document["look_wrong"] is None:
        return (
            f"labels not checked: answers from other images repeat only "
            f"{document['agreement']:.0%} of them, too few to say which are wrong"
        )
    count = document["look_wrong"]
    if not count:
        return f"no label of {document['judged']} images looks wrong"
    named = "; ".join(
        f"{image.get('file', 'image ' + str(image['index']))} "
        f"(labelled {image['label']}, looks like {image['predicted']})"
        for image in document["images"][: min(_NAMED, count)]
    )
    more = "; ..." if count > _NAMED else ""
    noun, verb = ("label", "looks") if count == 1 else ("labels", "look")
    return f"{count} {noun} of {document['judged']} images {verb} wrong: {named}{more}"


def file_names(part: SplitPart, source: str) -> dict[int, str]:
    """The files of a split's pictures, found by their content.

    Args:
        part: The images.
        source: The source string that they came from.

    Returns:
        Position in the split -> path relative to the source, the first of equal files; nothing for
        sources whose images lie in no files of their own.

    Example:
        >>> pixels = np.zeros((1, 2, 2), np.uint8)
        >>> file_names(SplitPart(ids=("a",), labels=np.array([0]), images=pixels), "builtin:digits")
        {}
    """
    names: dict[str, str] = {}
    for name, digest in source_files(source).items():
        names.setdefault(digest, name)
    if not names:
        return {}
    found = ((at, names.get(digest)) for at, digest in enumerate(stored_ids(part.images)))
    return {at: name for at, name in found if name is not None}


def _looked_at(
    network: nn.Module, head: Head, input: SingleInput, part: SplitPart, device: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features float32 [n, d] and the network's answers int64 [n]."""
    answer = find_answer(network, input=input, head=head)
    if head.layer != OUTPUT and answer.folds and answer.ending is Ending.LOGITS:
        features = features_of(network, head.layer, input, part, device=device)
        last = network.get_submodule(head.layer).to("cpu")
        given = in_batches(last, torch.from_numpy(features), torch.device("cpu"))
    else:
        # A network that is no body and then a head: its raw logits are all that is known of it.
        given = _all_raw_logits(network, head.layer, answer, input, part, device)
        features = given.numpy()
    return features, given.argmax(dim=1).numpy()


def _all_raw_logits(
    network: nn.Module,
    layer: str,
    answer: Answer,
    input: SingleInput,
    part: SplitPart,
    device: str,
) -> Tensor:
    place = torch.device(device)
    preprocess = Preprocess(input).to(place)
    network.to(place).eval()

    def ask(inputs: Tensor) -> Tensor:
        return raw_logits(network, layer, answer, [preprocess(inputs)])

    return in_batches(ask, Batches.of(part, input).inputs, place)
