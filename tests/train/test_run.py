"""Every recipe trains what it says, and every setting of a run has its effect and resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError
from edgetl.reference.checkpoint import load_classifier
from edgetl.spec import ImageInput, TensorInput
from edgetl.train import run as run_module
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import SourceData
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.progress import TrainProgress
from edgetl.train.terms.base import Start, Step, Term

CLASSES = ("a", "b", "c")
TENSOR = TensorInput(shape=(64,))
Parts = tuple[SplitPart, SplitPart]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pull:
    """A term with a parameter of its own, which the source's features enter."""

    weight: float
    fail_at: float = 2.0
    name: str = "pull"

    @property
    def digest(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def build(self, start: Start) -> Term:
        return _Pulling(self, sum(start.sources))


class _Pulling(Term):
    needs_features = True

    def __init__(self, maker: _Pull, classes: int) -> None:
        super().__init__()
        self.name = maker.name
        self.maker = maker
        self.own = nn.Linear(128, max(classes, 2))

    def forward(self, step: Step) -> Tensor:
        if step.fraction >= self.maker.fail_at:
            return step.raw_logits.sum() * float("nan")
        losses = [nn.functional.cross_entropy(self.own(s.features), s.labels) for s in step.sources]
        return self.maker.weight * torch.stack(losses).sum()


def _config(**changes: Any) -> FinetuneConfig:
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
        "device": "cpu",
    }
    return FinetuneConfig(**{**values, **changes})


def _run(config: FinetuneConfig, parts: Parts, out: Path, **more: Any) -> FinetuneResult:
    return finetune(config, *parts, input=TENSOR, classes=CLASSES, out=out, **more)


def _source(part: SplitPart) -> SourceData:
    return SourceData(part, ("x", "y", "z"), 6)


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], nn.Module]:
    """The network of the next run, once it has begun."""
    found: list[nn.Module] = []
    begin = run_module.Run.train_all

    def keep(self: run_module.Run) -> None:
        found.append(self.parts.network)
        begin(self)

    monkeypatch.setattr(run_module.Run, "train_all", keep)
    return lambda: found[-1]


@pytest.fixture
def parts(train_part: SplitPart, val_part: SplitPart) -> Parts:
    return train_part, val_part


def test_gradual_thaws_one_block_more_each_epoch_from_the_head_down(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _watched(monkeypatch)
    last: dict[str, Tensor] = {}
    moved: list[set[str]] = []

    def look(told: TrainProgress) -> None:
        now = {name: value.detach().clone() for name, value in network().named_parameters()}
        if told.record is None and (told.epoch, told.step) == (1, 1):
            last.update(now)
        if told.record is not None:
            names = {name for name in now if not torch.equal(now[name], last[name])}
            moved.append({name.rpartition(".")[0] for name in names})
            last.update(now)

    _run(_config(recipe="gradual", epochs=4, head_epochs=1), parts, tmp_path, progress=look)
    everything = {"body.1", "body.3", "head"}
    assert moved == [{"head"}, {"body.3", "head"}, everything, everything, everything]


def test_train_from_leaves_what_lies_before_as_it_was(parts: Parts, tmp_path: Path) -> None:
    spec = ImageInput(height=32, width=32)
    config = _config(architecture="resnet18", recipe="full", epochs=1, train_from="layer4")
    run = {"input": spec, "classes": CLASSES}
    torch.manual_seed(0)
    from safetensors.torch import save_file

    from edgetl.reference.network import build_network

    start = build_network("resnet18", 3, spec).state_dict()
    save_file(start, tmp_path / "start.safetensors")
    config = dataclasses.replace(config, weights=str(tmp_path / "start.safetensors"))
    finetune(config, *parts, out=tmp_path / "out", **run)  # type: ignore[arg-type]
    after = load_classifier(tmp_path / "out")[0].state_dict()
    moved = {name for name in start if not torch.equal(start[name], after[name])}
    assert moved == {name for name in start if name.startswith(("layer4", "fc"))}
    with pytest.raises(ConfigError, match=r"layer4\.1"):
        wrong = dataclasses.replace(config, train_from="layer5")
        finetune(wrong, *parts, out=tmp_path / "out", **run)  # type: ignore[arg-type]


def test_layer_decay_scales_each_blocks_step(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Plain SGD without weight decay moves a weight by its rate times its gradient.
    monkeypatch.setattr("edgetl.train.recipes._MOMENTUM", 0.0)
    config = _config(
        recipe="full", optimizer="sgd", weight_decay=0.0, epochs=1, batch_size=24, learning_rate=1.0
    )
    starts: list[dict[str, Tensor]] = []
    begin = run_module.Run.train_all

    def keep(self: run_module.Run) -> None:
        starts.append({k: v.clone() for k, v in self.parts.network.state_dict().items()})
        begin(self)

    monkeypatch.setattr(run_module.Run, "train_all", keep)
    steps = []
    for name, decay in (("flat", 1.0), ("steep", 0.5)):
        changed = dataclasses.replace(config, layer_decay=decay)
        _run(changed, parts, tmp_path / name)
        end = load_classifier(tmp_path / name)[0].state_dict()
        steps.append({key: end[key] - starts[-1][key] for key in end})
    for name, scale in (("head.weight", 1.0), ("body.3.weight", 0.5), ("body.1.bias", 0.25)):
        torch.testing.assert_close(steps[1][name], scale * steps[0][name], rtol=1e-3, atol=1e-6)
    history = json.loads((tmp_path / "steep" / "history.json").read_text())
    assert [block["rate"] for block in history["recipe"]["blocks"]] == [0.25, 0.5, 1.0]


def test_accumulated_batches_make_the_steps_of_one_larger_batch(
    parts: Parts, tmp_path: Path
) -> None:
    config = _config(optimizer="sgd", recipe="full")
    whole = _run(dataclasses.replace(config, batch_size=12), parts, tmp_path / "whole")
    # 24 images in 5 batches of 5 or 4, three together, then two.
    parted = dataclasses.replace(config, batch_size=4, accumulate=3)
    again = _run(parted, parts, tmp_path / "parts")
    for one, other in zip(whole.records, again.records, strict=True):
        assert (one.nll, one.learning_rate) == pytest.approx((other.nll, other.learning_rate))


def test_the_average_is_what_is_judged_and_stored(parts: Parts, tmp_path: Path) -> None:
    config = _config(recipe="full", ema=0.97)
    result = _run(config, parts, tmp_path / "average")
    plain = _run(dataclasses.replace(config, ema=None), parts, tmp_path / "plain")
    # The same steps were taken: only what is looked at differs.
    assert [r.loss for r in result.records] == [r.loss for r in plain.records]
    assert all(a.nll != b.nll for a, b in zip(result.records, plain.records, strict=True))
    assert "moving average" in result.kept
    best = tmp_path / "average" / "checkpoints" / f"epoch-{result.best_epoch:04d}"
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "average" / "model.safetensors")
    average, weights = (load_file(best / f"{n}.safetensors") for n in ("average", "weights"))
    assert all(torch.equal(stored[name], average[name]) for name in stored)
    assert not torch.equal(stored["head.weight"], weights["head.weight"])


def test_lp_ft_starts_from_a_solved_head_which_is_an_epoch_of_its_own(
    parts: Parts, tmp_path: Path
) -> None:
    result = _run(_config(recipe="lp-ft"), parts, tmp_path)
    first = result.records[0]
    assert (first.phase, first.learning_rate) == ("head", 0.0) and len(result.records) == 4
    # Solved, the head alone is better than what two epochs of steps reach.
    assert first.nll < _run(_config(), parts, tmp_path / "steps").records[1].nll
    history = json.loads((tmp_path / "history.json").read_text())
    assert "solved to convergence" in history["recipe"]["head_start"]


def test_lora_is_merged_into_the_plain_network(parts: Parts, tmp_path: Path) -> None:
    result = _run(_config(recipe="lora", learning_rate=2e-2), parts, tmp_path)
    assert {record.phase for record in result.records} == {"lora"}
    network, _ = load_classifier(tmp_path)
    assert sorted(network.state_dict()) == sorted(
        f"{layer}.{kind}" for layer in ("body.1", "body.3", "head") for kind in ("weight", "bias")
    )
    assert result.records[-1].nll < result.records[0].nll


_RESUMED = {
    "gradual, layer decay": {"recipe": "gradual", "layer_decay": 0.7},
    "lp-ft, average": {"recipe": "lp-ft", "ema": 0.9},
    "lora, sgd": {"recipe": "lora", "optimizer": "sgd"},
    "cosines, accumulated": {"head_kind": "cosine", "accumulate": 2, "schedule": "linear"},
    "prototypes, balanced, mixed": {
        "head_kind": "prototype",
        "sampler": "balanced",
        "mixup": 0.4,
    },
    "a term with parameters": {"term": True, "optimizer": "adam", "ema": 0.5},
}


@pytest.mark.parametrize("changes", _RESUMED.values(), ids=_RESUMED)
def test_interrupted_and_run_again_it_gives_the_bytes_of_an_undisturbed_run(
    changes: dict[str, Any], parts: Parts, tmp_path: Path
) -> None:
    more: dict[str, Any] = {}
    if "term" in changes:
        more = {"terms": (_Pull(weight=0.5),), "sources": (_source(parts[1]),)}
    config = _config(**{key: value for key, value in changes.items() if key != "term"})
    whole = _run(config, parts, tmp_path / "whole", **more)
    for at in (1, len(whole.records) - 1):

        def interrupt(told: TrainProgress, at: int = at) -> None:
            if told.epoch == at + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            _run(config, parts, tmp_path / "cut", progress=interrupt, **more)
    resumed = _run(config, parts, tmp_path / "cut", **more)
    assert resumed.resumed_epochs == len(whole.records) - 1
    for name in ("model.safetensors", "classifier.json", "history.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = dataclasses.replace(config, seed=1)
    assert _hash(_run(again, parts, tmp_path / "other", **more).folder) != _hash(whole.folder)


def test_terms_are_told_trained_and_part_of_what_a_run_is(parts: Parts, tmp_path: Path) -> None:
    more: dict[str, Any] = {"terms": (_Pull(weight=0.5),), "sources": (_source(parts[1]),)}
    result = _run(_config(epochs=6), parts, tmp_path, **more)
    head, everything = result.records[:2], result.records[2:]
    assert all(not record.terms for record in head)
    assert everything[-1].terms["pull"] < everything[0].terms["pull"]
    assert all(record.loss > record.terms["pull"] for record in everything)
    assert "terms" not in head[0].to_json()
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["images"] == {"train": 24, "val": 15, "source 1": 15}
    assert history["recipe"]["terms"][0]["weight"] == 0.5
    assert history["epochs"][-1]["terms"] == dict(everything[-1].terms)
    assert not any("own" in name for name in load_classifier(tmp_path)[0].state_dict())
    for other in (
        {**more, "terms": (_Pull(weight=0.4),)},
        {**more, "sources": (dataclasses.replace(_source(parts[1]), batch_size=5),)},
    ):
        assert _run(_config(epochs=6), parts, tmp_path, **other).resumed_epochs == 0


def test_terms_of_one_name_and_terms_without_a_head_are_refused(
    parts: Parts, tmp_path: Path
) -> None:
    twice = (_Pull(weight=0.5), _Pull(weight=0.4))
    with pytest.raises(ConfigError, match="pull, pull"):
        _run(_config(), parts, tmp_path, terms=twice, sources=(_source(parts[1]),))
    headless = _config(recipe="full", head="output")
    with pytest.raises(ConfigError, match="no terms"):
        _run(headless, parts, tmp_path, terms=twice[:1])


@pytest.mark.parametrize(
    "changes", [{"recipe": "full"}, {"recipe": "lora"}, {"recipe": "full", "head_kind": "cosine"}]
)
def test_a_loss_that_is_not_finite_names_the_term_and_leaves_the_last_good_classifier(
    changes: dict[str, Any], parts: Parts, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"sources": (_source(parts[1]),)}
    config = _config(**changes)
    with pytest.raises(
        CheckpointError, match="from the term 'pull' at step 1 of epoch 3"
    ) as caught:
        _run(config, parts, tmp_path, terms=(_Pull(weight=0.5, fail_at=0.6),), **more)
    good = tmp_path / "last-good" / "model.safetensors"
    assert f'weights = "{good}" goes on from epoch 2' in caught.value.fix
    load_classifier(good.parent)
    assert not (tmp_path / "model.safetensors").exists()
    onward = dataclasses.replace(config, weights=str(good), learning_rate=1e-4)
    assert not _run(onward, parts, tmp_path).weights.fresh


def test_memory_that_runs_out_leaves_the_epochs_before_it(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(told: TrainProgress) -> None:
        if told.epoch == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(ConfigError, match="batch_size = 4 and accumulate = 2"):
        _run(_config(), parts, tmp_path, progress=fill)
    assert _run(_config(), parts, tmp_path).resumed_epochs == 2


def test_batches_made_ahead_are_the_same_batches(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(recipe="full")
    plain = _run(config, parts, tmp_path / "plain")
    made = run_module.Stepper
    monkeypatch.setattr(run_module, "Stepper", lambda **values: made(**{**values, "ahead": True}))
    assert _hash(_run(config, parts, tmp_path / "ahead").folder) == _hash(plain.folder)


def test_progress_knows_what_is_left(parts: Parts, tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    _run(_config(), parts, tmp_path, progress=seen.append)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))
    assert all(told.eta_seconds is not None and told.eta_seconds >= 0 for told in seen)
    assert seen[-1].eta_seconds == 0


def test_logs_are_beside_the_result_and_written_once(parts: Parts, tmp_path: Path) -> None:
    _run(_config(), parts, tmp_path / "out", logs=tmp_path / "logs")
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert not (tmp_path / "out" / "logs").exists()
    # Nothing left to train: nothing to tell.
    _run(_config(), parts, tmp_path / "out", logs=tmp_path / "logs")
    assert len(list((tmp_path / "logs").iterdir())) == 1
