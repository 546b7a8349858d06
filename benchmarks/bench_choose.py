"""Does the ranking of `edgetl choose` agree with what fine-tuning then gives?

Small backbones are pretrained on rendered letters, each for a little and for longer, so that some
transfer better than others. For every seed a few labelled images of another data set are drawn:
on their frozen features each backbone is scored as `edgetl choose` does, without training, and
then it is fine-tuned on the same images and its top-1 taken on test images. Kendall's tau (tau-b)
says how far the two orders agree: 1 is the same order, 0 is chance. The regret is what one loses,
in top-1, by fine-tuning the backbone that a score puts first instead of the best.

    python benchmarks/bench_choose.py --out choose.json
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from outcome import note, parser_of, show, write
from scipy.stats import kendalltau

from edgetl.bench.machine import activity
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import SplitPart
from edgetl.metrics import softmax, top1
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import FinetuneSection, PretrainConfig
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.heads import find_head_layer
from edgetl.reference.network import Reference, build_network
from edgetl.spec import Head, ImageInput
from edgetl.stats import paired_t_bounds
from edgetl.train.backbones import load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.features import features_of
from edgetl.train.loop import finetune
from edgetl.train.transferability import transferability

FASHION = "idx:/usr/share/datasets/fashion-mnist"
# Of 32 × 32 pixels, and quick to learn: the running statistics of a MobileNet's batch norms need
# more steps than these few.
ARCHITECTURES = ("timm:resnet10t", "timm:resnet14t", "regnet_y_400mf", "resnet18")
SCORES = ("logme", "probe_nll", "probe_top1")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How much is done."""

    architectures: tuple[str, ...] = ARCHITECTURES
    pretrain_epochs: tuple[int, ...] = (1, 5)
    letters_per_class: int = 150
    per_class: int = 20
    test: int = 1000
    epochs: int = 12
    seeds: int = 5
    size: int = 32


QUICK = Setting(
    architectures=ARCHITECTURES[:2],
    pretrain_epochs=(1,),
    letters_per_class=2,
    per_class=2,
    test=20,
    epochs=1,
    seeds=2,
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backbone with the weights that it starts from."""

    architecture: str
    epochs: int
    weights: Path

    @property
    def name(self) -> str:
        """Such as ``resnet18, 6 epochs``."""
        return f"{self.architecture}, {self.epochs} epoch{'s' if self.epochs > 1 else ''}"


def main() -> None:
    """Score and fine-tune every candidate for every seed; write the figures."""
    options = _options()
    setting = QUICK if options.quick else Setting(seeds=options.seeds, per_class=options.per_class)
    before = activity()
    torch.set_num_threads(options.threads)
    dataset = open_dataset(options.data)
    input = ImageInput(height=setting.size, width=setting.size)
    candidates = _candidates(setting, input, options.threads)
    rows = []
    for seed in range(setting.seeds):
        for one in candidates:
            rows.append(_row(one, dataset, setting, input, seed, options.threads))
            note(f"seed {seed}, {one.name}: {_told(rows[-1])}")
    agreement = {score: _agreement(rows, score, setting.seeds) for score in SCORES}
    _print(rows, agreement, setting)
    body = {
        "setting": asdict(setting) | {"data": options.data, "threads": options.threads},
        "rows": rows,
        "agreement": agreement,
        "regret_of_chance": _chance(rows, setting.seeds),
    }
    write(options, schema="edgetl.choose-agreement/1", before=before, body=body)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--data", default=FASHION)
    parser.add_argument("--seeds", type=int, default=Setting.seeds)
    parser.add_argument("--per-class", type=int, default=Setting.per_class)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _candidates(setting: Setting, input: ImageInput, threads: int) -> list[Candidate]:
    found = []
    for architecture in setting.architectures:
        for epochs in setting.pretrain_epochs:
            section = FinetuneSection(
                architecture=architecture,
                pretrain=PretrainConfig(per_class=setting.letters_per_class, epochs=epochs),
                device="cpu",
            )
            weights = letters_weights(
                section, input, threads=threads, reporter=Reporter(architecture, _say)
            )
            found.append(Candidate(architecture=architecture, epochs=epochs, weights=weights))
    return found


def _say(event: Event) -> None:
    if event.kind == "note":
        note(f"{event.stage}: {event.text}")


def _row(
    one: Candidate, dataset: Dataset, setting: Setting, input: ImageInput, seed: int, threads: int
) -> dict[str, object]:
    classes = dataset.classes
    splits = make_splits(
        dataset,
        train=setting.per_class * len(classes),
        val=max(1, setting.per_class // 2) * len(classes),
        calib=0,
        test=setting.test,
        seed=seed,
    )
    train, val, test = (_part(dataset, at) for at in (splits.train, splits.val, splits.test))
    network = build_network(one.architecture, len(classes), input)
    layer = find_head_layer(network, input, classes)
    load_weights(
        network,
        str(one.weights),
        one.architecture,
        head=Head(layer=layer, classes=classes),
        input=input,
    )
    scores = transferability(
        features_of(network, layer, input, train), train.labels, classes, seed=seed
    )
    config = FinetuneConfig(
        architecture=one.architecture,
        weights=str(one.weights),
        recipe="two-stage",
        device="cpu",
        epochs=setting.epochs,
        batch_size=32,
        seed=seed,
        threads=threads,
    )
    with tempfile.TemporaryDirectory() as folder:
        finetune(config, train, val, input=input, classes=classes, out=Path(folder))
        found = _top1(Path(folder), test, input)
    return {
        "candidate": one.name,
        "seed": seed,
        "logme": scores.logme,
        "probe_nll": scores.probe_nll,
        "probe_top1": scores.probe_top1,
        "finetuned_top1": found,
    }


def _part(dataset: Dataset, indices: np.ndarray) -> SplitPart:
    chosen = dataset.subset(indices)
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)


def _top1(folder: Path, test: SplitPart, input: ImageInput) -> float:
    network, _ = load_classifier(folder)
    reference = Reference(network, input).eval()
    with torch.inference_mode():
        raw = [
            reference(torch.from_numpy(to_inputs(test.images[at : at + 64], input)["image"]))[1]
            for at in range(0, len(test), 64)
        ]
    return top1(softmax(torch.cat(raw).numpy()), test.labels)


def _figures(rows: list[dict[str, object]], name: str, seed: int) -> np.ndarray:
    return np.array([float(row[name]) for row in rows if row["seed"] == seed])  # type: ignore[arg-type]


def _agreement(rows: list[dict[str, object]], score: str, seeds: int) -> dict[str, object]:
    """Kendall's tau and the regret of each seed, their means and t intervals (95 %)."""
    taus, regrets = [], []
    for seed in range(seeds):
        told, true = _figures(rows, score, seed), _figures(rows, "finetuned_top1", seed)
        better = -told if score == "probe_nll" else told
        taus.append(float(np.nan_to_num(kendalltau(better, true).statistic)))
        regrets.append(float(true.max() - true[int(np.argmax(better))]))
    return {"tau": _summary(taus), "regret": _summary(regrets)}


def _chance(rows: list[dict[str, object]], seeds: int) -> dict[str, object]:
    """What one loses by fine-tuning one of them at random."""
    figures = [_figures(rows, "finetuned_top1", seed) for seed in range(seeds)]
    return _summary([float(true.max() - true.mean()) for true in figures])


def _summary(values: list[float]) -> dict[str, object]:
    low, high = paired_t_bounds(np.array(values), confidence=0.95)
    return {"each": values, "mean": float(np.mean(values)), "interval_95": [low, high]}


def _told(row: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {row[name]:.4f}" for name in (*SCORES, "finetuned_top1"))


def _print(
    rows: list[dict[str, object]],
    agreement: Mapping[str, dict[str, object]],
    setting: Setting,
) -> None:
    names = list(dict.fromkeys(str(row["candidate"]) for row in rows))
    means = {
        name: [
            float(np.mean([float(row[key]) for row in rows if row["candidate"] == name]))  # type: ignore[arg-type]
            for key in (*SCORES, "finetuned_top1")
        ]
        for name in names
    }
    show(
        f"{setting.per_class} images a class, means over {setting.seeds} seeds",
        ("backbone, letters", "LogME", "probe NLL", "probe top-1", "fine-tuned top-1"),
        (
            (name, *(f"{value:.3f}" for value in means[name]))
            for name in sorted(names, key=lambda name: -means[name][-1])
        ),
    )
    show(
        "agreement with the fine-tuned order, and top-1 lost by trusting the first of each order",
        ("score", "Kendall's tau [95 %]", "regret, points [95 %]"),
        (
            (score, _interval(found["tau"], 1, 2), _interval(found["regret"], 100, 1))
            for score, found in agreement.items()
        ),
    )


def _interval(found: object, factor: float, digits: int) -> str:
    assert isinstance(found, dict)
    low, high = found["interval_95"]
    return (
        f"{factor * found['mean']:.{digits}f} "
        f"[{factor * low:.{digits}f}, {factor * high:.{digits}f}]"
    )


if __name__ == "__main__":
    main()
