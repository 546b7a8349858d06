from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgetl.errors import DataError, UnavailableError
from edgetl.pipeline import choose as module
from edgetl.pipeline import choose_config, choose_screen, choose_worker, worker
from edgetl.pipeline.choose import choose
from edgetl.pipeline.choose_backbones import Backbone
from edgetl.pipeline.choose_config import ChooseRequest, comparison_of
from edgetl.pipeline.choose_graph import SHAPE, WORKER, BackboneFolder
from edgetl.pipeline.choose_rank import BackboneFound
from edgetl.pipeline.choose_result import Choice
from edgetl.pipeline.config import load_config
from edgetl.pipeline.events import Event, Reporter, ignore
from edgetl.pipeline.graph import current_key
from edgetl.pipeline.process import error_to_json, run_in_process
from edgetl.pipeline.processes import ALONE
from edgetl.reference.network import Mlp

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "choose-1.json"


class Steps:
    """Runs a step's job in this process, where torch is loaded already."""

    def __init__(self) -> None:
        self.run: list[str] = []

    def put_in(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(module, "run_in_process", self)
        # A call takes microseconds: on a busy machine the interval never gets narrow.
        patch.setattr(choose_config, "_BENCH", {"calls": 5, "rounds": 6, "max_seconds": 8.0})
        patch.setattr(choose_screen, "_SECONDS", 1.0)

    def __call__(
        self, stage: str, key: str, config: Any, folder: Any, listen: Any, **more: Any
    ) -> None:
        self.run.append(f"{Path(folder.root).name.partition('-')[0]} {stage}")
        job = {
            "stage": stage,
            "key": key,
            "config": config.to_table(),
            "root": str(folder.root),
            "launch": ALONE.to_json(),
        }
        run = choose_worker.run_step if more["module"] == WORKER else worker.run_job
        run(json.loads(json.dumps(job)), Reporter(stage, listen))


@dataclass(frozen=True)
class Compared:
    request: ChooseRequest
    choice: Choice
    events: list[Event]
    steps: Steps


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    found = Steps()
    found.put_in(monkeypatch)
    return found


@pytest.fixture(scope="module")
def compared(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    """Three backbones of one shape: many features, two features, and a weight that is NaN."""
    root = tmp_path_factory.mktemp("choose")
    torch.manual_seed(0)
    for name in ("rich", "poor", "nan"):
        state = Mlp(features=64, classes=7).state_dict()
        if name == "poor":
            state["body.3.weight"][2:] = 0
            state["body.3.bias"][2:] = 0
        if name == "nan":
            state["body.1.bias"][3] = torch.nan
        save_file(state, root / f"{name}.safetensors")
    request = ChooseRequest(
        data=str(tiny_config),
        budget_ms=200.0,
        backbones=tuple(f"mlp={root / name}.safetensors" for name in ("poor", "nan", "rich")),
        threads=1,
    )
    events: list[Event] = []
    steps, threads = Steps(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        steps.put_in(patch)
        choice = choose(request, out=root / "run", listen=events.append)
    torch.set_num_threads(threads)
    yield Compared(request, choice, events, steps)


def of(choice: Choice, name: str) -> BackboneFound:
    return next(one for one in choice.found if one.backbone.label == f"mlp={name}.safetensors")


def test_richer_features_are_ranked_before_poorer_ones(compared: Compared) -> None:
    choice = compared.choice
    assert choice.found[0].backbone.label == "mlp=rich.safetensors"
    assert choice.exit_code == 0 and choice.chosen is choice.found[0]
    rich, poor = of(choice, "rich"), of(choice, "poor")
    assert rich.verdict == "ship" and rich.scores is not None and poor.scores is not None
    assert rich.scores["logme"] > poor.scores["logme"]
    assert rich.scores["probe_nll"] < poor.scores["probe_nll"]
    assert rich.scores["probe_top1"] > 0.85
    assert "Fine-tune mlp=rich.safetensors" in choice.sentence


def test_every_candidate_is_measured_and_held_against_fp32(compared: Compared) -> None:
    rich = of(compared.choice, "rich")
    ids = ["ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8"]
    assert [one.id for one in rich.variants] == ids
    for one in rich.variants:
        assert one.p50_interval_ms is not None and one.low <= one.high
        assert {"top1_drop", "nll", "flips"} <= set(one.harms)
        for harm in one.harms.values():
            assert harm["lower"] <= harm["estimate"] <= harm["upper"]  # type: ignore[operator]
    fp32 = rich.variants[0]
    assert fp32.harmless and fp32.harms["flips"]["estimate"] == 0
    assert fp32.harms["nll"]["estimate"] == pytest.approx(0, abs=1e-5)
    int8 = rich.variants[1]
    assert int8.harms["nll"]["estimate"] != 0 and int8.size_mb < fp32.size_mb


def test_the_solved_head_answers_held_out_images_as_well_as_its_folds_said(
    compared: Compared,
) -> None:
    root = compared.choice.folder
    rich = of(compared.choice, "rich")
    answers = np.load(root / "backbones" / rich.backbone.folder / "probe" / "reference.npy")
    labels = np.load(root / "data" / "val.npz")["labels"]
    assert answers.shape == (300, 10)
    top1 = float((answers.argmax(axis=1) == labels).mean())
    assert rich.scores is not None
    assert top1 == pytest.approx(rich.scores["probe_top1"], abs=0.06)


def test_a_backbone_that_fails_says_why_and_ends_nothing(compared: Compared) -> None:
    bad = of(compared.choice, "nan")
    assert bad.verdict == "failed" and bad is compared.choice.found[-1]
    assert bad.error is not None and bad.error["class"] == "CheckpointError"
    assert "body.1.bias" in bad.reason
    assert any("failed" in event.text for event in compared.events)


def test_latency_comes_before_features(compared: Compared) -> None:
    assert compared.steps.run[0].endswith("data")
    assert [step.split()[1] for step in compared.steps.run[1:5]] == [
        "shape",
        "screen",
        "probe",
        "measure",
    ]


def test_the_document_is_what_its_schema_says(compared: Compared) -> None:
    stored = json.loads((compared.choice.folder / "choose.json").read_bytes())
    assert stored == json.loads(json.dumps(compared.choice.to_json(), allow_nan=False))
    schema = json.loads(SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(stored, schema)
    for key in stored:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: stored[name] for name in stored if name != key}, schema)


def test_the_picture_stands_alone_and_names_every_backbone_that_was_measured(
    compared: Compared,
) -> None:
    text = (compared.choice.folder / "choose.svg").read_text()
    drawn = ElementTree.fromstring(text)
    assert drawn.tag.endswith("svg") and "--surface:" in text
    shown = " ".join(drawn.itertext())
    assert "mlp=rich" in shown and "mlp=poor" in shown and "mlp=nan" not in shown
    assert "the budget" in shown


def test_another_budget_measures_nothing_anew(compared: Compared, steps: Steps) -> None:
    before = json.loads((compared.choice.folder / "choose.json").read_bytes())
    request = replace(compared.request, budget_ms=1e-6, backbones=compared.request.backbones[::2])
    choice = choose(request, out=compared.choice.folder)
    assert steps.run == []
    assert choice.exit_code == 1 and choice.chosen is None and choice.next_step == ""
    assert {one.verdict for one in choice.found} == {"over budget"}
    assert choice.sentence.startswith("Nothing fits 1e-06 ms") and "nearest" in choice.sentence
    again = choose(compared.request, out=compared.choice.folder)
    assert steps.run == ["mlp probe"], "only the one that failed is tried again"
    assert json.loads(json.dumps(again.to_json())) == before


def test_what_was_stopped_goes_on_where_it_was(compared: Compared, steps: Steps) -> None:
    root = compared.choice.folder / "backbones" / of(compared.choice, "rich").backbone.folder
    (root / "measure" / "harms.json").unlink()
    request = replace(compared.request, backbones=compared.request.backbones[2:])
    assert choose(request, out=compared.choice.folder).exit_code == 0
    assert steps.run == ["mlp measure"]


def test_measuring_and_ranking_never_import_torch() -> None:
    script = (
        "import sys\n"
        "import edgetl.pipeline.choose, edgetl.pipeline.choose_worker\n"
        "import edgetl.pipeline.choose_screen, edgetl.pipeline.choose_measure\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], env=os.environ).returncode == 0


def test_data_that_is_refused_leaves_no_trace(tmp_path: Path, steps: Steps, monkeypatch) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise DataError("data", got="g", expected="e", fix="f")

    monkeypatch.setattr(module, "run_in_process", refuse)
    request = ChooseRequest(
        data="builtin:digits", budget_ms=1.0, backbones=("resnet18",), threads=1
    )
    with pytest.raises(DataError):
        choose(request, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def failed(error: Exception) -> BackboneFound:
    one = Backbone(label="a", architecture="resnet18", weights="none")
    return BackboneFound(
        backbone=one,
        verdict="failed",
        reason=str(error),
        error=error_to_json(error),  # type: ignore[arg-type]
    )


def test_nothing_compared_is_3_when_all_were_missing_and_2_otherwise(compared: Compared) -> None:
    parts = {"got": "g", "expected": "e", "fix": "f"}
    absent, bad = failed(UnavailableError("a", **parts)), failed(DataError("b", **parts))
    for found, code in (((absent,), 3), ((absent, bad), 2), ((bad,), 2)):
        choice = replace(compared.choice, found=found)
        assert choice.exit_code == code and choice.next_step == ""
        assert "No backbone" in choice.sentence


def test_the_config_of_a_source_loads_and_trains_the_chosen_backbone(
    compared: Compared, tmp_path: Path
) -> None:
    comparison = comparison_of(
        ChooseRequest(data="builtin:digits", budget_ms=1.0, threads=1, batch=4)
    )
    one = Backbone(label="resnet18", architecture="resnet18", weights="letters")
    target = tmp_path / "chosen.toml"
    target.write_text(module.chosen_config(comparison.of(one), comparison))
    config = load_config(target)
    assert config.name == "digits" and config.finetune is not None and config.threads == 1
    assert (config.finetune.architecture, config.finetune.weights) == ("resnet18", "letters")
    assert config.data.train is None and config.data.test == comparison.sizes["test"]
    assert config.gate.policy.objective.batch == 4
    choice = replace(compared.choice, comparison=comparison)
    assert choice.next_step == f"edgetl release {choice.folder / 'chosen.toml'}"
    assert "set architecture" in compared.choice.next_step


def test_a_step_runs_in_a_process_of_its_own(compared: Compared, tmp_path: Path) -> None:
    root = tmp_path / "run" / "backbones" / "one"
    root.mkdir(parents=True)
    (tmp_path / "run" / "data").symlink_to(compared.choice.folder / "data")
    folder, rich = BackboneFolder.of(root), of(compared.choice, "rich")
    config = comparison_of(compared.request).of(rich.backbone)
    key = current_key(SHAPE, config, folder)
    run_in_process("shape", key, config, folder, ignore, module=WORKER)
    assert folder.is_current("shape", key)
    names = {path.name for path in (folder.stage("shape") / "models").iterdir()}
    assert {"ort-fp32.onnx", "ov-int8.xml", "ov-int8.bin"} <= names
