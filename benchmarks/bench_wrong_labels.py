"""How many wrong labels does `edgetl finetune` find, and how many of those it names are wrong?

Labels of a share of the training images are moved to a random other class, an MLP is trained on
them, and its training images are looked through. Recall is the share of the moved labels that are
named, precision the share of the named that were moved, and "first half" the precision of the
surest, half as many as were moved. Printed is the mean over the seeds, of the first two with the
least and the greatest. Images that the data itself labels wrongly count against the precision.

    python benchmarks/bench_wrong_labels.py --fashion DIR --out wrong-labels.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from outcome import note, parser_of, show, write

from edgetl.bench.machine import activity
from edgetl.data.dataset import Dataset
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.pipeline.suspicious import SUSPICIOUS_FILE, find_suspicious
from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune

VAL = 300


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data, how much of it, how long it is trained on, and which share of the labels is moved."""

    data: str
    images: int
    epochs: int
    moved: float = 0.05


PROBLEMS = (
    Problem(data="digits", images=1000, epochs=12),
    Problem(data="digits", images=1000, epochs=60),
    Problem(data="digits", images=1000, epochs=12, moved=0.1),
    Problem(data="digits", images=300, epochs=20),
    Problem(data="digits", images=100, epochs=40),
    Problem(data="fashion", images=1000, epochs=20),
    Problem(data="fashion", images=10_000, epochs=6),
)


def main() -> None:
    """Measure every problem, print the table, write the file."""
    options = _options()
    before = activity()
    rows = []
    for problem in PROBLEMS[: 1 if options.quick else None]:
        source = "builtin:digits" if problem.data == "digits" else f"idx:{options.fashion}"
        if problem.data == "fashion" and options.fashion is None:
            continue
        note(f"{problem.data}, {problem.images} images, {problem.epochs} epochs")
        dataset = open_dataset(source)
        found = [measure(dataset, problem, seed) for seed in range(options.seeds)]
        rows.append({**asdict(problem), "found": found})
    show(
        "labels that look wrong: mean [least, greatest] over the seeds",
        ("images", "moved", "named", "recall", "precision", "first half"),
        [_row(row) for row in rows],
    )
    write(
        options,
        schema="edgetl.wrong-labels-bench/1",
        before=before,
        body={"seeds": options.seeds, "val": VAL, "rows": rows},
    )


def measure(dataset: Dataset, problem: Problem, seed: int) -> dict[str, Any]:
    """Train on labels some of which are moved, and hold what is named against those."""
    n, classes = problem.images, len(dataset.classes)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(dataset))[: n + VAL]
    labels = dataset.labels[order]
    moved = generator.choice(n, round(problem.moved * n), replace=False)
    labels[moved] = (labels[moved] + generator.integers(1, classes, len(moved))) % classes
    train, val = (
        SplitPart(
            ids=tuple(dataset.ids[at] for at in order[part]),
            labels=labels[part],
            images=dataset.images[order[part]],
        )
        for part in (slice(0, n), slice(n, None))
    )
    config = FinetuneConfig(
        architecture="mlp",
        weights="none",
        recipe="full",
        device="cpu",
        epochs=problem.epochs,
        learning_rate=3e-3,
        seed=seed,
        threads=1,
    )
    spec = TensorInput(shape=dataset.images.shape[1:])  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        finetune(config, train, val, input=spec, classes=dataset.classes, out=out)
        find_suspicious(out, train, out=out)
        document = json.loads((out / SUSPICIOUS_FILE).read_bytes())
    return {"seed": seed, **_figures(document, set(moved.tolist()))}


def _figures(document: dict[str, Any], moved: set[int]) -> dict[str, Any]:
    named = [image["index"] for image in document["images"] if image["looks_wrong"]]
    first = named[: len(moved) // 2]
    hits = len(moved.intersection(named))
    return {
        "moved": len(moved),
        "named": len(named),
        "recall": hits / len(moved),
        "precision": hits / len(named) if named else None,
        "first_half": len(moved.intersection(first)) / (len(moved) // 2),
        "agreement": document["agreement"],
    }


def _row(row: dict[str, Any]) -> Sequence[str]:
    found = row["found"]
    named = np.mean([one["named"] for one in found])
    recall, precision = (_spread([one[name] for one in found]) for name in ("recall", "precision"))
    first = np.mean([one["first_half"] for one in found])
    return (
        f"{row['images']:,} {row['data']}, {row['epochs']} epochs",
        str(found[0]["moved"]),
        f"{named:.0f}",
        recall,
        precision,
        f"{first:.2f}",
    )


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{np.mean(known):.2f} [{min(known):.2f}, {max(known):.2f}]"


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="Fashion-MNIST's IDX files")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if options.quick:
        options.seeds = 1
    return options


if __name__ == "__main__":
    main()
