from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgetl.data.letters import render_letters
from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import save_splits
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.pipeline.config import ReleaseConfig, load_config, training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter, ignore
from edgetl.pipeline.negative_transfer import check_finetuned
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.sections import (
    DistillationSection,
    FinetuneSection,
    KeepAnswersSection,
    L2SpSection,
    PreviousSection,
    SourceSection,
)
from edgetl.pipeline.stages import data as data_stage
from edgetl.pipeline.transfer_files import term_files
from edgetl.pipeline.transfer_terms import Transfer, transfer_terms
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import build_network
from edgetl.spec import ImageInput
from edgetl.train.feed import SourceData
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.terms.keep_answers import KeepAnswers

CONFIG = """
schema = "edgetl.config/1"
name = "digits"
version = "1"
threads = 1
[data]
source = "builtin:digits"
train = 60
val = 100
calib = 50
test = 50
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp:16"
weights = "none"
recipe = "full"
epochs = 2
batch_size = 20
device = "cpu"
"""

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "transfer-check-1.json"

MakeContext = Callable[..., StageContext]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its data stage, and letters of the digits' size."""
    root = tmp_path_factory.mktemp("run")
    (root / "digits.toml").write_text(CONFIG)
    context = _context(load_config(root / "digits.toml"), root)
    data_stage.run(context, root / "data")
    letters = render_letters(4, seed=0, size=8)
    np.savez(root / "letters.npz", images=letters.images, labels=letters.labels)
    return root


def _context(config: ReleaseConfig, root: Path) -> StageContext:
    return StageContext(
        config=config,
        folder=RunFolder(root),
        reporter=Reporter("finetune", ignore),
        scratch=root / "scratch",
    )


@pytest.fixture
def make(root: Path) -> MakeContext:
    def made(**tables: object) -> StageContext:
        config = load_config(root / "digits.toml")
        assert config.finetune is not None
        section: FinetuneSection = replace(config.finetune, **tables)  # type: ignore[arg-type]
        return _context(replace(config, finetune=section), root)

    return made


def source(root: Path, **changes: object) -> SourceSection:
    return SourceSection(data=f"npz:{root / 'letters.npz'}", **changes)  # type: ignore[arg-type]


def trained(
    context: StageContext, transfer: Transfer, out: Path, weights: str = "none"
) -> FinetuneResult:
    return finetune(
        training_config(context.config, weights=weights),
        context.splits.load("train"),
        context.splits.load("val"),
        input=context.input,
        classes=context.splits.classes,
        out=out,
        terms=transfer.terms,
        sources=transfer.sources,
    )


def test_a_config_without_tables_adds_nothing(make: MakeContext) -> None:
    assert transfer_terms(make(), "none") == Transfer()


@pytest.mark.parametrize(
    ("section", "digests"),
    [
        (
            {"method": "joint", "weight": 0.3, "schedule": "linear-down"},
            [{"term": "joint", "weight": 0.3, "schedule": "linear-down"}],
        ),
        (
            {"method": "dann", "weight": 0.3},
            [
                {"term": "joint", "weight": 1.0, "schedule": "constant"},
                {"term": "dann", "weight": 0.3, "hidden": 256},
            ],
        ),
        (
            {"method": "coral", "weight": 0.3, "schedule": "ramp"},
            [
                {"term": "joint", "weight": 1.0, "schedule": "ramp"},
                {"term": "coral", "weight": 0.3},
            ],
        ),
    ],
)
def test_a_source_gives_its_terms_and_its_data(
    make: MakeContext, root: Path, section: dict[str, object], digests: list[dict[str, object]]
) -> None:
    transfer = transfer_terms(make(source=source(root, batch_size=8, **section)), "none")

    assert [dict(term.digest) for term in transfer.terms] == digests
    (given,) = transfer.sources
    assert (len(given.part), len(given.classes), given.batch_size) == (104, 26, 8)


@pytest.mark.parametrize("method", ["joint", "dann", "coral"])
def test_a_joint_run_trains_two_heads_and_the_checkpoint_has_one(
    make: MakeContext, root: Path, tmp_path: Path, method: str
) -> None:
    context = make(source=source(root, method=method))

    result = trained(context, transfer_terms(context, "none"), tmp_path)

    assert {name: tuple(value.shape) for name, value in tensors(tmp_path).items()} == {
        "body.1.weight": (16, 64),
        "body.1.bias": (16,),
        "head.weight": (10, 16),
        "head.bias": (10,),
    }
    network, description = load_classifier(tmp_path)
    assert description.head.classes == tuple("0123456789")
    assert network(torch.zeros(1, 8, 8)).shape == (1, 10)
    names = {"joint": {"joint"}, "dann": {"joint", "dann"}, "coral": {"joint", "coral"}}
    for record in result.records:
        assert record.terms is not None and set(record.terms) == names[method]
        # Two heads: a source's cross-entropy begins near the logarithm of its 26 classes.
        assert record.terms["joint"] == pytest.approx(np.log(26), abs=0.4)


def test_several_sources_are_several_tasks_with_a_head_each(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    context = make()
    transfer = transfer_terms(make(source=source(root, batch_size=8)), "none")
    (letters,) = transfer.sources
    halves = replace(letters.part, labels=letters.part.labels % 2)
    parity = SourceData(part=halves, classes=("even", "odd"), batch_size=4)
    both = replace(transfer, sources=(letters, parity))

    record = trained(context, both, tmp_path).records[0]

    assert record.terms["joint"] == pytest.approx(np.log(26) + np.log(2), abs=0.5)
    assert set(tensors(tmp_path)) == {"body.1.weight", "body.1.bias", "head.weight", "head.bias"}


def test_the_sources_head_is_not_untrained_when_the_body_thaws(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    table = source(root, method="dann")
    context = make(source=table, recipe="two-stage", head_epochs=1, epochs=1)

    records = trained(context, transfer_terms(context, "none"), tmp_path).records

    assert [(record.phase, set(record.terms)) for record in records] == [
        ("head", {"joint"}),
        ("all", {"joint", "dann"}),
    ]


def test_the_source_moves_the_body_and_a_weight_of_zero_does_not(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    """Plain training, and joint training with weights 0 and 1."""
    bodies = []
    for at, table in enumerate((None, source(root, weight=0.0), source(root))):
        context = make(source=table)
        trained(context, transfer_terms(context, "none"), tmp_path / str(at))
        bodies.append(tensors(tmp_path / str(at))["body.1.weight"])

    assert torch.equal(bodies[0], bodies[1])
    assert not torch.allclose(bodies[0], bodies[2], atol=1e-4)


def test_more_of_a_source_teaches_its_own_head_more(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    context = make(source=source(root), epochs=25, learning_rate=1e-2, patience=25)

    records = trained(context, transfer_terms(context, "none"), tmp_path).records

    assert records[-1].terms["joint"] < records[0].terms["joint"] - 0.3


def test_an_interrupted_joint_run_ends_with_the_same_weights(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    """The sources' heads are part of the stored state, or the second half would begin anew."""
    context = make(source=source(root), epochs=3)
    transfer = transfer_terms(context, "none")
    trained(context, transfer, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(progress: object) -> None:
        if getattr(progress, "record", None) is not None and progress.epoch == 2:  # type: ignore[attr-defined]
            raise Stopped

    arguments = {
        "input": context.input,
        "classes": context.splits.classes,
        "out": tmp_path / "cut",
        "terms": transfer.terms,
        "sources": transfer.sources,
    }
    parts = [context.splits.load(name) for name in ("train", "val")]
    config = training_config(context.config, weights="none")
    with pytest.raises(Stopped):
        finetune(config, *parts, progress=stop, **arguments)  # type: ignore[arg-type]
    resumed = finetune(config, *parts, **arguments)  # type: ignore[arg-type]

    assert resumed.resumed_epochs == 2
    whole, cut = tensors(tmp_path / "whole"), tensors(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("source", SourceSection(data="builtin:letters")),
        ("keep_answers", KeepAnswersSection()),
        ("l2_sp", L2SpSection(weight=0.1)),
    ],
)
def test_a_body_that_never_trains_is_refused(make: MakeContext, name: str, table: object) -> None:
    with pytest.raises(ConfigError, match=rf"finetune\.{name}\].*linear-probe"):
        transfer_terms(make(**{name: table}, recipe="linear-probe"), "none")
    if name == "l2_sp":
        head = L2SpSection(weight=0.0, head_weight=0.1)
        assert transfer_terms(make(l2_sp=head, recipe="linear-probe"), "none").terms


def test_a_negative_lambda_is_refused_in_the_config(root: Path) -> None:
    path = root / "negative.toml"
    table = '[finetune.source]\ndata = "builtin:letters"\nweight = -0.5\n'
    path.write_text(CONFIG + table)

    with pytest.raises(ConfigError, match=r"source\.weight"):
        load_config(path)


def test_terms_toward_the_start_are_made(make: MakeContext, root: Path, tmp_path: Path) -> None:
    context = make(l2_sp=L2SpSection(weight=0.1, head_weight=0.2))
    plain = trained(context, Transfer(), tmp_path)
    weights = str(plain.folder / "model.safetensors")
    context = make(
        l2_sp=L2SpSection(weight=0.1, head_weight=0.2),
        keep_answers=KeepAnswersSection(weight=0.5, temperature=3.0),
        distillation=DistillationSection(teacher=str(plain.folder), weight=0.7, temperature=4.0),
    )

    digests = [dict(term.digest) for term in transfer_terms(context, weights).terms]

    assert digests[0] == {"term": "l2-sp", "weight": 0.1, "head_weight": 0.2}
    assert (digests[1]["term"], digests[1]["weight"]) == ("keep-answers", 0.5)
    assert digests[1]["source"] is not None
    assert (digests[2]["term"], digests[2]["temperature"]) == ("distillation", 4.0)


@pytest.mark.parametrize("weights", ["none", "factory"])
def test_answers_of_weights_that_nobody_published_cannot_be_kept(
    make: MakeContext, weights: str
) -> None:
    architecture = "python:mine:make" if weights == "factory" else "mlp:16"
    context = make(keep_answers=KeepAnswersSection(), architecture=architecture)

    with pytest.raises(ConfigError, match=f"keep_answers.*{weights}.*'imagenet'"):
        transfer_terms(context, weights)


def test_the_answers_of_published_weights_are_kept(
    make: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a download: the head of a thousand classes is in them."""
    torch.manual_seed(0)
    spec = ImageInput(height=32, width=32)
    state = build_network("resnet18", 1000, spec).state_dict()
    monkeypatch.setattr("edgetl.train.terms.keep_answers.imagenet_state", lambda _: state)
    context = make(keep_answers=KeepAnswersSection(weight=0.5), architecture="resnet18")

    (term,) = transfer_terms(context, "imagenet").terms

    assert isinstance(term, KeepAnswers) and term.source_weights is state
    assert term.digest["source"] is not None


def test_a_teacher_that_is_none_is_refused(make: MakeContext, tmp_path: Path) -> None:
    context = make(distillation=DistillationSection(teacher=str(tmp_path / "none")))

    with pytest.raises(CheckpointError, match="no such folder"):
        transfer_terms(context, "none")


def test_a_teacher_may_be_named_by_its_runs_folder(make: MakeContext, tmp_path: Path) -> None:
    plain = trained(make(), Transfer(), tmp_path / "run" / "finetune")
    digests = []
    for folder in (tmp_path / "run", plain.folder):
        context = make(distillation=DistillationSection(teacher=str(folder)))
        assert context.config.finetune is not None
        (term,) = transfer_terms(context, "none").terms
        files = set(term_files(context.config.finetune, tmp_path).values())
        digests.append((term.digest["teacher"], files))
    assert digests[0] == digests[1] and len(digests[0][1]) == 2


def test_a_previous_classifier_is_what_training_starts_from(
    make: MakeContext, tmp_path: Path
) -> None:
    plain = trained(make(), Transfer(), tmp_path)
    context = make(previous=PreviousSection(classifier=str(plain.folder), lwf=0.5))

    transfer = transfer_terms(context, "none")

    assert transfer.weights is not None
    before, after = tensors(tmp_path), load_file(transfer.weights)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [term.digest["term"] for term in transfer.terms] == ["keep-answers"]


def test_a_previous_classifier_that_learnt_what_is_judged_on_is_refused(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    digits = open_dataset("builtin:digits")
    other = make_splits(digits, train=300, val=50, calib=50, test=50, seed=7)
    save_splits(tmp_path / "data", digits, other)
    trained(make(), Transfer(), tmp_path / "finetune")

    for section in (
        PreviousSection(classifier=str(tmp_path), lwf=0.5),
        PreviousSection(classifier=str(tmp_path / "finetune"), run=str(tmp_path), ewc=1.0),
    ):
        with pytest.raises(DataError, match="training images in the val split"):
            transfer_terms(make(previous=section), "none")


def test_a_finished_training_is_checked_with_its_source_and_its_start(
    make: MakeContext, root: Path, tmp_path: Path
) -> None:
    """The document, for a classifier that went on from a previous one beside a source."""
    before = trained(make(), Transfer(), tmp_path / "before")
    previous = PreviousSection(classifier=str(before.folder), lwf=0.5)
    context = make(previous=previous, source=source(root), epochs=1)
    transfer = transfer_terms(context, "imagenet")
    trained(context, transfer, tmp_path / "after", weights=str(transfer.weights))

    found = check_finetuned(context, "imagenet", trained=tmp_path / "after", out=tmp_path)

    document = json.loads((tmp_path / "transfer.json").read_text())
    assert document == json.loads(json.dumps(found.to_json()))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["missing"] == {}
    assert document["from_scratch"]["epochs"] == 1
    assert document["source_model"]["weight_decay"] > 0
    assert document["gap"]["source_images"] == 104
    assert document["gap"]["target_images"] == 60
