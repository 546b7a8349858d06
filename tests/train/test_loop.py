"""Fine-tuning learns, repeats to the bit, survives a kill, and stops when it diverges."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgetl.data.preprocess import to_batch
from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import Reference, build_network
from edgetl.spec import ClassifierInput, ImageInput, TensorInput
from edgetl.train import run as run_module
from edgetl.train.config import FinetuneConfig
from edgetl.train.evaluate import val_metrics
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.progress import Progress, TrainProgress

CLASSES = ("a", "b", "c")
TENSOR = TensorInput(shape=(64,))
IMAGE = ImageInput(height=32, width=32)


def _mlp(**changes: Any) -> FinetuneConfig:
    values: dict[str, Any] = {
        "architecture": "mlp",
        "weights": "none",
        "recipe": "two-stage",
        "epochs": 3,
        "head_epochs": 2,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "head_learning_rate": 2e-2,
        "threads": 1,
    }
    return FinetuneConfig(**{**values, **changes})


def _resnet(**changes: Any) -> FinetuneConfig:
    return _mlp(**{"architecture": "resnet18", "epochs": 2, "head_epochs": 1, **changes})


def _run(
    config: FinetuneConfig,
    parts: tuple[SplitPart, SplitPart],
    out: Path,
    progress: Progress | None = None,
) -> FinetuneResult:
    spec: ClassifierInput = TENSOR if config.architecture == "mlp" else IMAGE
    return finetune(config, *parts, input=spec, classes=CLASSES, out=out, progress=progress)


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def parts(train_part: SplitPart, val_part: SplitPart) -> tuple[SplitPart, SplitPart]:
    return train_part, val_part


def test_it_learns_and_its_figures_are_the_stored_classifiers(
    parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    result = _run(_mlp(epochs=12, device="cpu"), parts, tmp_path)
    best = result.records[result.best_epoch - 1]
    assert best.top1 == 1.0 and best.nll < 0.5 < result.records[0].nll
    assert best.nll == min(record.nll for record in result.records)
    network, description = load_classifier(tmp_path)
    assert description.head.temperature == 1.0 and description.head.classes == CLASSES
    with torch.inference_mode():
        x = torch.from_numpy(to_batch(parts[1].images, TENSOR))
        raw = Reference(network, TENSOR)(x)[1].numpy()
    figures = dataclasses.asdict(val_metrics(raw, parts[1].labels))
    stored = {name: getattr(best, name) for name in figures}
    assert stored == pytest.approx(figures, abs=1e-6)
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["epochs"] == [record.to_json() for record in result.records]
    assert history["kept"] == result.kept and f"Epoch {result.best_epoch} of 14" in result.kept
    assert history["best_epoch"] == result.best_epoch
    assert history["images"] == {"train": 24, "val": 15}
    assert history["device"] == result.device == "cpu"
    assert history["processes"] == result.processes == 1


def test_progress_tells_every_step_and_every_stored_epoch(
    parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    seen: list[TrainProgress] = []
    result = _run(_mlp(), parts, tmp_path, seen.append)
    steps = [(each.epoch, each.step) for each in seen if each.record is None]
    assert steps == [(epoch, step) for epoch in range(1, 6) for step in range(1, 4)]
    assert tuple(each.record for each in seen if each.record) == result.records
    assert {each.epochs for each in seen} == {5} and {each.steps for each in seen} == {3}
    assert [record.phase for record in result.records] == ["head"] * 2 + ["all"] * 3


@pytest.mark.parametrize("augment", ["none", "light"])
def test_linear_probe_moves_the_head_alone(
    augment: str, parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build_network("mobilenet_v3_small", 3, IMAGE)
    save_file(network.state_dict(), tmp_path / "start.safetensors")
    config = _resnet(
        architecture="mobilenet_v3_small",
        recipe="linear-probe",
        weights=str(tmp_path / "start.safetensors"),
        epochs=2,
        augment=augment,
    )
    result = _run(config, parts, tmp_path / "probe")
    assert result.weights.fresh == () and result.records[-1].phase == "head"
    before, after = network.state_dict(), load_classifier(tmp_path / "probe")[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    # The running statistics of batch normalisation are among those that stay.
    assert "features.0.1.running_mean" in before
    assert moved == {"classifier.3.weight", "classifier.3.bias"}


def test_two_stage_trains_every_parameter_in_a_new_optimiser_at_a_lower_rate(
    parts: tuple[SplitPart, SplitPart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.optim.Optimizer] = []
    networks: list[torch.nn.Module] = []
    build, begin = run_module.build_optimizer, run_module.Run.train_all

    def watch(trained: torch.nn.Module, **options: Any) -> torch.optim.Optimizer:
        made.append(build(trained, **options))
        return made[-1]

    def keep(self: run_module.Run) -> None:
        networks.append(self.parts.network)
        begin(self)

    monkeypatch.setattr(run_module, "build_optimizer", watch)
    monkeypatch.setattr(run_module.Run, "train_all", keep)
    between: dict[str, torch.Tensor] = {}
    end: dict[str, torch.Tensor] = {}
    rates: dict[str, float] = {"head": 0.0, "all": 0.0}

    def snapshot(told: TrainProgress) -> None:
        rates[told.phase] = max(rates[told.phase], told.learning_rate)
        if told.record is not None:
            target = between if told.record.phase == "head" else end
            for name, parameter in networks[0].named_parameters():
                target[name] = parameter.detach().clone()

    _run(_resnet(epochs=1), parts, tmp_path, snapshot)
    head, everything = (
        [p for group in optimizer.param_groups for p in group["params"]] for optimizer in made
    )
    own = dict(networks[0].named_parameters())
    assert {id(p) for p in head} == {id(own["fc.weight"]), id(own["fc.bias"])}
    assert {id(p) for p in everything} == {id(p) for p in own.values()}
    assert rates["all"] < rates["head"]
    assert set(end) == set(own)
    still = [name for name in own if torch.equal(between[name], end[name])]
    assert not still


@pytest.mark.parametrize(
    "config",
    [
        _mlp(),
        _resnet(
            architecture="mobilenet_v3_small",
            epochs=1,
            precision="bf16",
            augment="light-flip",
            label_smoothing=0.1,
        ),
    ],
    ids=["mlp", "mobilenet-bf16"],
)
def test_the_same_call_gives_the_same_bytes_and_another_seed_does_not(
    config: FinetuneConfig, parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    first = _run(config, parts, tmp_path / "one")
    torch.manual_seed(99)
    second = _run(config, parts, tmp_path / "two")
    other = _run(dataclasses.replace(config, seed=1), parts, tmp_path / "three")
    assert _hash(first.folder) == _hash(second.folder) != _hash(other.folder)
    for name in ("history.json", "classifier.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


_KILLED = """
import os, pickle, sys
from pathlib import Path
from edgetl.train.loop import finetune
config, parts, spec, classes, epoch, step = pickle.loads(sys.stdin.buffer.read())

def die(told):
    if told.epoch == epoch and (told.record is not None if step is None else told.step == step):
        os._exit(9)

finetune(config, *parts, input=spec, classes=classes, out=Path(sys.argv[1]), progress=die)
"""


@pytest.mark.parametrize(
    ("config", "epoch", "step", "kept"),
    [
        # Between the phases; in the middle of an epoch of the second, with its optimiser.
        (_mlp(), 2, None, 2),
        (_resnet(augment="light", batch_size=12), 3, 2, 2),
    ],
    ids=["mlp-between-phases", "resnet18-within-an-epoch"],
)
def test_killed_and_run_again_it_gives_the_bytes_of_an_undisturbed_run(
    config: FinetuneConfig,
    epoch: int,
    step: int | None,
    kept: int,
    parts: tuple[SplitPart, SplitPart],
    tmp_path: Path,
) -> None:
    spec = TENSOR if config.architecture == "mlp" else IMAGE
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "killed")],
        input=pickle.dumps((config, parts, spec, CLASSES, epoch, step)),
        timeout=300,
    )
    assert killed.returncode == 9 and not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = _run(config, parts, tmp_path / "killed")
    undisturbed = _run(config, parts, tmp_path / "whole")
    assert (resumed.resumed_epochs, undisturbed.resumed_epochs) == (kept, 0)
    for name in ("model.safetensors", "classifier.json", "history.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_leaves_nothing_half_written_and_a_changed_call_starts_anew(
    parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    def interrupt(told: TrainProgress) -> None:
        if (told.epoch, told.step) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(_mlp(), parts, tmp_path, interrupt)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir())
    assert "checkpoints/epoch-0002" in left and not [name for name in left if "/." in name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "logs"]
    other = _run(_mlp(seed=5), parts, tmp_path)
    assert other.resumed_epochs == 0
    assert _run(_mlp(seed=5), parts, tmp_path).resumed_epochs == 5


def test_patience_ends_a_phase_early(parts: tuple[SplitPart, SplitPart], tmp_path: Path) -> None:
    # Labels of val that contradict train: the better the fit, the worse the NLL.
    train, val = parts
    wrong = dataclasses.replace(val, labels=(val.labels + 1) % 3)
    result = _run(_mlp(recipe="full", epochs=20, patience=2), (train, wrong), tmp_path)
    assert len(result.records) < 20
    assert result.records[-1].epoch - result.best_epoch == 2
    again = _run(_mlp(recipe="full", epochs=20, patience=2), (train, wrong), tmp_path)
    assert again.records == result.records


def test_a_diverging_run_stops_at_once_and_says_where(
    parts: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    steps: list[TrainProgress] = []
    config = _mlp(recipe="full", learning_rate=1e25)
    with pytest.raises(CheckpointError, match=r"step \d+ of epoch 1, learning rate 1e\+25"):
        _run(config, parts, tmp_path, steps.append)
    assert len(steps) < 9 and not (tmp_path / "model.safetensors").exists()


def test_steps_are_even_so_that_none_has_a_single_image(
    train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    # 24 images in batches of 23 would leave one, which batch normalisation at 1 x 1 refuses.
    seen: list[TrainProgress] = []
    config = _resnet(recipe="full", epochs=1, batch_size=23)
    _run(config, (train_part, val_part), tmp_path, seen.append)
    assert seen[0].steps == 2 and np.isfinite(seen[-1].loss)


@pytest.mark.slow
def test_the_guides_script_trains_one_classifier_in_two_launched_processes(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "script.py").write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        # Without CUDA: two processes would have to share a single device.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "trained" / "history.json").read_text())
    assert history["processes"] == 2 and history["device"] == "cpu"
    # Told by the first process alone.
    assert len(done.stdout.splitlines()) == len(history["epochs"])
    assert history["epochs"][history["best_epoch"] - 1]["top1"] > 0.85
    load_classifier(tmp_path / "trained")
