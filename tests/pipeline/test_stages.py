from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edgetl.data.store import SplitPart
from edgetl.gate import Policy, Predictions
from edgetl.gate.selection import Candidate, select
from edgetl.metrics import softmax
from edgetl.pipeline.events import Event
from edgetl.pipeline.release import release
from edgetl.pipeline.stages.bench import input_batch
from edgetl.pipeline.stages.calibrate import RAW_LOGITS, reference_on_calib
from edgetl.pipeline.stages.gate import _answers
from edgetl.pipeline.summary import make_rows
from edgetl.spec import TensorInput

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "verdict-1.json"


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_batch_is_as_large_as_it_is_labelled(batch: int) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    context: Any = SimpleNamespace(
        splits=SimpleNamespace(load=lambda name: SimpleNamespace(images=images)),
        input=TensorInput(shape=(2, 2)),
    )
    (values,) = input_batch(context, batch).values()
    assert values.shape == (batch, 2, 2)
    assert np.allclose(values, images[np.arange(batch) % 3] / 255)


@pytest.fixture
def answers() -> Predictions:
    labels = np.arange(2000) % 2
    return Predictions(labels=labels, probabilities=np.eye(2)[labels] * 0.8 + 0.1)


def _cell(name: str, p50_ms: float) -> SimpleNamespace:
    return SimpleNamespace(variant=name, threads=2, size_mb=1.0, p50_ms=p50_ms, p99_ms=2 * p50_ms)


def test_every_candidate_has_a_row_and_the_best_fp32_is_of_all(answers: Predictions) -> None:
    p50 = {"ort-fp32": 4.0, "ort-int8": 3.0, "ov-fp32": 2.0}
    backends = {name: "openvino" if name[:2] == "ov" else "onnxruntime" for name in p50}
    selection = select(
        {
            name: Candidate(backend=backends[name], predictions=answers, p50_ms=ms)
            for name, ms in p50.items()
        },
        answers,
        Policy(),
        required=("onnxruntime",),
    )
    cells = [_cell(name, ms) for name, ms in {"reference": 8.0, **p50}.items()]
    bench: Any = SimpleNamespace(cells=cells)
    rows = {
        row.id: row
        for row in make_rows(bench, selection, {}, answers, threads=2, required=("onnxruntime",))
    }
    assert set(rows) == {"reference", *p50}
    assert (rows["ov-fp32"].verdict, rows["ov-fp32"].split) == ("not required", "val")
    assert rows["ov-fp32"].top1 == 1.0
    assert rows["ort-fp32"].verdict == "not chosen"
    assert rows["ort-int8"].speed_over_fp32 == pytest.approx(2 / 3)


def test_slices_are_stored_and_a_candidate_is_loaded_once_for_all_splits(tmp_path: Path) -> None:
    loaded: list[str] = []
    asked: list[str] = []

    @contextmanager
    def variant(name: str) -> Iterator[str]:
        loaded.append(name)
        yield name

    def predict(_backend: object, part: SplitPart, *, what: str) -> np.ndarray:
        asked.append(what)
        return np.full((len(part), 2), 0.5, np.float32)

    context: Any = SimpleNamespace(
        splits=SimpleNamespace(classes=("a", "b")),
        candidate=lambda name: name,
        variant=variant,
        predict=predict,
    )
    parts = {
        split: SplitPart(
            ids=(f"{split}-0", f"{split}-1"),
            labels=np.array([0, 1]),
            images=np.zeros((2, 4), np.float32),
            slices={"camera": ("front", "rear")},
        )
        for split in ("test", "calib")
    }
    reference: Any = "reference"
    known = np.array([[0.75, 0.25], [0.125, 0.875]])
    answers = _answers(context, reference, parts, ("one",), tmp_path, known={"calib": known})
    assert loaded == ["one"]
    assert asked == [
        "reference on test",
        "one on test",
        "one on calib",
    ]
    np.testing.assert_array_equal(answers["calib"]["reference"].probabilities, known)
    assert set(answers) == {"test", "calib"} and set(answers["calib"]) == {"reference", "one"}
    stored = Predictions.load(tmp_path / "predictions" / "calib-one.npz")
    assert stored.slices["camera"].tolist() == ["front", "rear"]
    assert stored.ids == ("calib-0", "calib-1")


def test_what_the_reference_answered_on_calib_is_kept_with_its_temperature(tmp_path: Path) -> None:
    raw = np.array([[3.0, 1.0], [0.0, 2.0]], np.float32)
    np.save(tmp_path / RAW_LOGITS, raw)
    context: Any = SimpleNamespace(
        folder=SimpleNamespace(stage=lambda name: tmp_path),
        json=lambda stage, name: {"temperature": 2.0},
    )
    np.testing.assert_allclose(reference_on_calib(context), softmax(raw / 2.0))


def test_the_evidence_of_a_verdict_lies_beside_it(tiny_release) -> None:
    gate = tiny_release.folder / "gate"
    data = json.loads((gate / "verdict.json").read_bytes())["data"]
    assert data["bench"] == "bench.json"
    files = [*data["predictions"].values(), *data["samples"].values(), data["bench"]]
    assert all((gate / file).is_file() for file in files)
    calib = {path.name for path in (gate / "predictions").glob("calib-*.npz")}
    assert calib == {file.removeprefix("predictions/").replace("test-", "calib-")
                     for file in data["predictions"].values()}  # fmt: skip


@pytest.fixture
def rerun(tiny_release, tmp_path: Path) -> Callable[..., tuple[Path, list[Event]]]:
    """The gate again, over the same measurements, with something else in the config."""

    def again(before: str, after: str) -> tuple[Path, list[Event]]:
        run = tmp_path / "run"
        shutil.copytree(tiny_release.folder, run)
        config = tmp_path / "changed.toml"
        text = tiny_release.config.read_text()
        assert before in text
        config.write_text(text.replace(before, after))
        events: list[Event] = []
        release(config, out=run, until="gate", listen=events.append)
        assert {event.stage for event in events if event.kind == "start"} == {"gate"}
        return run, events

    return again


def test_a_failure_without_a_gate_says_why(rerun) -> None:
    run, _ = rerun("max_p50_ratio = 5.0", "max_p50_ratio = 0.0001")
    verdict = json.loads((run / "gate" / "verdict.json").read_bytes())
    jsonschema.validate(verdict, json.loads(SCHEMA.read_text()))
    assert (verdict["verdict"], verdict["variants"]) == ("FAIL", [])
    assert all("0.0001" in entry["reason"] for entry in verdict["selection"])
    splits = json.loads((run / "data" / "splits.json").read_bytes())["splits"]
    data = verdict["data"]
    assert (data["split"], data["n"], data["hash"]) == ("val", 300, splits["val"]["hash"])
    assert all((run / "gate" / file).is_file() for file in data["predictions"].values())
    markdown = (run / "gate" / "verdict.md").read_text()
    assert "Candidates on val" in markdown and "the limit 0.0001" in markdown
    failed = ElementTree.parse(run / "gate" / "verdict.xml").findall(".//testcase/failure")
    assert len(failed) == 2


def test_the_same_winners_under_another_policy_open_the_test_split_again(
    rerun, tiny_release
) -> None:
    run, events = rerun("max_p50_ratio = 5.0", "alpha = 0.04\nmax_p50_ratio = 5.0")
    openings = json.loads((run / "test-openings.json").read_bytes())["openings"]
    assert len(openings) == 2
    assert openings[0]["winners"] == openings[1]["winners"]
    assert openings[0]["reference"] == openings[1]["reference"]
    assert openings[0]["policy"] != openings[1]["policy"]
    assert all(len(digest) == 64 for digest in openings[0]["winners"].values())
    assert any("other models or another policy" in event.text for event in events)
