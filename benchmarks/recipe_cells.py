"""One cell of `bench_recipes.py`: a recipe, trained on a seed's images and scored on its test."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from recipe_list import BATCH, EPOCH_IMAGES, Recipe, Surroundings
from recipe_problems import Part, Sizes, source_of, target_of, tiled
from small_networks import SIDE

from edgetl import metrics
from edgetl.data.store import SplitPart
from edgetl.files import atomic_folder, canonical_json, sha256_bytes
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import WEIGHTS_FILE
from edgetl.reference.network import Reference
from edgetl.spec import ImageInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.evaluate import in_batches
from edgetl.train.feed import Batches, SourceData
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.recipes import phases

CODE = Path(__file__).parent
INPUT = ImageInput(height=SIDE, width=SIDE)
# A transformer learns the source more slowly, and a source that was not learnt transfers nothing.
_SOURCE_EPOCHS = {"residual": 10, "vit": 20}
_SOURCE_RATE = 2e-3


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and on what cells are trained.

    Attributes:
        work: Keeps source networks and teachers between runs.
        sizes: How many images are drawn.
        fashion: The source string of Fashion-MNIST.
        epochs: Divides every recipe's epochs, for a try.
    """

    work: Path
    sizes: Sizes
    fashion: str
    hurry: int = 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Which problem, how many images of each class, which draw of everything, which recipe."""

    problem: str
    shots: int
    seed: int
    recipe: Recipe
    chosen: Mapping[str, float]

    def digest(self, place: Place) -> str:
        """Of everything that was asked for: a stored result of another question is not taken."""
        recipe = {name: value for name, value in asdict(self.recipe).items() if name != "terms"}
        asked = {
            "cell": [self.problem, self.shots, self.seed, dict(self.chosen)],
            "recipe": recipe | {"shots": None, "tried": None},
            "scheme": [BATCH, EPOCH_IMAGES, *_source_scheme(self, place)],
            "sizes": asdict(place.sizes),
        }
        return sha256_bytes(canonical_json(asked))[:16]


def run_cell(cell: Cell, place: Place, *, teacher: Cell | None = None) -> dict[str, Any]:
    """Train and score.

    Args:
        cell: What to train.
        place: Where.
        teacher: The cell whose network a distilling recipe learns from.

    Returns:
        ``top1``, ``nll`` (nats), ``ece`` on test before any temperature; ``val_nll``; ``steps``
        of gradient descent that were made; ``cpu_seconds`` of the training.
    """
    target = _target(cell, place)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        source = _source_network(cell, place)
        config = _config(cell, place, source)
        began = time.process_time()
        result = _train(cell, config, place, target, out, source, teacher)
        seconds = time.process_time() - began
        assert target.test is not None
        figures = _score(out, target.test)
        if cell.recipe.name == "full":
            _keep(out, _kept_folder(cell, place))
    # A solved head takes an epoch of the history and no step.
    epochs = sum(phase.epochs for phase in phases(config) if not phase.solved)
    steps = epochs * (EPOCH_IMAGES // place.hurry // BATCH)
    best = result.records[result.best_epoch - 1]
    return figures | {"val_nll": best.nll, "steps": steps, "cpu_seconds": round(seconds, 2)}


def _config(cell: Cell, place: Place, source: Path) -> FinetuneConfig:
    settings = dict(cell.recipe.settings) | dict(cell.chosen)
    settings.pop("weight", None)
    for name in ("epochs", "head_epochs"):
        if name in settings:
            settings[name] = max(1, int(settings[name]) // place.hurry)
    return FinetuneConfig(
        architecture=f"python:small_networks:{cell.recipe.network}",
        weights=str(source) if cell.recipe.start == "source" else "none",
        batch_size=BATCH,
        augment="light",
        device="cpu",
        threads=1,
        seed=cell.seed,
        **settings,
    )


def _train(
    cell: Cell,
    config: FinetuneConfig,
    place: Place,
    target: Part,
    out: Path,
    source: Path,
    teacher: Cell | None,
) -> FinetuneResult:
    around = Surroundings(
        source_weights=source,
        teacher=lambda: _teacher(teacher, place),
        input=INPUT,
        classes=target.classes,
        code=CODE,
    )
    make, weight = cell.recipe.terms, cell.chosen.get("weight", 0.0)
    sources = []
    if cell.recipe.sources:
        first = _source(cell.problem, cell.seed, place)
        sources = [SourceData(part=first.train, classes=first.classes, batch_size=BATCH)]
    return finetune(
        config,
        tiled(target.train, EPOCH_IMAGES // place.hurry),
        target.val,
        input=INPUT,
        classes=target.classes,
        out=out,
        code=CODE,
        terms=() if make is None else make(weight, around),
        sources=sources,
    )


def _score(folder: Path, test: SplitPart) -> dict[str, float]:
    network, description = load_classifier(folder, code=CODE)
    reference = Reference.of(network, INPUT, description.head).eval()
    images = Batches.of(test, INPUT).inputs
    found = in_batches(lambda batch: reference(batch)[0], images, torch.device("cpu")).numpy()
    return {
        "top1": metrics.top1(found, test.labels),
        "nll": metrics.nll(found, test.labels),
        "ece": metrics.ece(found, test.labels),
    }


def _teacher(cell: Cell | None, place: Place) -> Path:
    """The folder of a trained cell; trained now when an earlier run left none."""
    assert cell is not None
    folder = _kept_folder(cell, place)
    if not folder.is_dir():
        run_cell(cell, place)
    return folder


def _kept_folder(cell: Cell, place: Place) -> Path:
    return place.work / f"teacher-{cell.digest(place)}"


def _keep(out: Path, folder: Path) -> None:
    with atomic_folder(folder) as kept:
        for name in (WEIGHTS_FILE, "classifier.json"):
            shutil.copyfile(out / name, kept / name)


def _source_scheme(cell: Cell, place: Place) -> list[float]:
    return [_SOURCE_EPOCHS[cell.recipe.network], _SOURCE_RATE, place.hurry]


def _source_network(cell: Cell, place: Place) -> Path:
    """The weights of the network that learnt the source with this seed; made once."""
    scheme = [*_source_scheme(cell, place), asdict(place.sizes)]
    key = sha256_bytes(canonical_json({"scheme": scheme}))[:8]
    name = f"source-{cell.problem}-{cell.recipe.network}-{cell.seed}-{key}"
    folder = place.work / name
    if not folder.is_dir():
        source = _source(cell.problem, cell.seed, place)
        config = FinetuneConfig(
            architecture=f"python:small_networks:{cell.recipe.network}",
            weights="none",
            recipe="full",
            epochs=max(1, _SOURCE_EPOCHS[cell.recipe.network] // place.hurry),
            batch_size=64,
            learning_rate=_SOURCE_RATE,
            device="cpu",
            threads=1,
            seed=cell.seed,
        )
        with tempfile.TemporaryDirectory() as out:
            finetune(
                config, source.train, source.val, input=INPUT, classes=source.classes,
                out=Path(out), code=CODE,
            )  # fmt: skip
            _keep(Path(out), folder)
    return folder / WEIGHTS_FILE


def _target(cell: Cell, place: Place) -> Part:
    return _target_once(cell.problem, cell.seed, cell.shots, place.sizes, place.fashion)


def _source(problem: str, seed: int, place: Place) -> Part:
    return _source_once(problem, seed, place.sizes, place.fashion)


_target_once = lru_cache(maxsize=2)(target_of)
_source_once = lru_cache(maxsize=2)(source_of)
