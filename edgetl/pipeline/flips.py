"""The test images that a winner answers otherwise than the reference, kept for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.files import parse_json, write_atomic, write_json
from edgetl.gate import Predictions
from edgetl.spec import ClassifierInput, ImageInput

MOST = 24
"""The most flips of one variant that are kept: what a person looks at, not an archive."""

FLIPS = "flips"
"""The folder in the gate's result."""

_LISTING = "flips.json"


@dataclass(frozen=True, kw_only=True)
class KeptFlip:
    """One flip on disk.

    Attributes:
        variant: Whose answer differs from the reference's.
        index: Position in the test split, and in the stored predictions.
        content_id: The image's hash.
        label: The true class, as a position.
        negative: The reference is right and the variant wrong.
        picture: Path of the image as the network takes it, beside the listing; None for tensors.
    """

    variant: str
    index: int
    content_id: str
    label: int
    negative: bool
    picture: str | None


def keep_flips(
    folder: Path,
    test: SplitPart,
    reference: Predictions,
    candidates: Mapping[str, Predictions],
    input: ClassifierInput,
) -> None:
    """Write the listing, and a picture of each flip, into a new folder.

    Negative flips come first, then the others, each by how sure the reference was.

    Args:
        folder: Made; the gate's own, which stays in the run and never travels with a bundle.
        test: The test split, in the order of the predictions.
        reference, candidates: Their answers.
        input: What the classifier takes; only a single image is drawn.
    """
    kept: list[KeptFlip] = []
    folder.mkdir(parents=True)
    expected = np.asarray(reference.probabilities)
    for name, predictions in candidates.items():
        for index in _order(expected, np.asarray(predictions.probabilities), test.labels)[:MOST]:
            picture = None
            if isinstance(input, ImageInput):
                picture = f"{test.ids[index][:32]}.png"
                ((pixels,),) = to_inputs(test.images[index : index + 1], input).values()
                write_atomic(folder / picture, encode_png(pixels))
            right = expected[index].argmax() == test.labels[index]
            kept.append(
                KeptFlip(
                    variant=name,
                    index=int(index),
                    content_id=test.ids[index],
                    label=int(test.labels[index]),
                    negative=bool(right),
                    picture=picture,
                )
            )
    write_json(folder / _LISTING, {"flips": [asdict(flip) for flip in kept]})


def read_flips(folder: Path) -> tuple[KeptFlip, ...]:
    """What `keep_flips` listed; empty when the gate opened no test split."""
    path = folder / _LISTING
    if not path.is_file():
        return ()
    document: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    return tuple(KeptFlip(**entry) for entry in document["flips"])


def _order(
    expected: NDArray[Any], given: NDArray[Any], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    flipped = np.flatnonzero(expected.argmax(axis=1) != given.argmax(axis=1))
    negative = expected[flipped].argmax(axis=1) == labels[flipped]
    sure = expected[flipped].max(axis=1)
    return flipped[np.lexsort((-sure, ~negative))]
