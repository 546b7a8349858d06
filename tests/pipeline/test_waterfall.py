"""Each step against what the gate stored, and files damaged on purpose at each place."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.errors import UsageError
from edgetl.gate import Predictions
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.export import MODEL
from edgetl.pipeline.waterfall import (
    FP32_MODEL,
    Waterfall,
    waterfall,
    waterfall_to_json,
    waterfalls,
)
from edgetl.pipeline.waterfall_run import default_variants, finished_run

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "waterfall-1.json"
STEPS = ("decode", "resize", "export", "precision", "backend", "device")
ALL = ("ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8")
N = 64


@contextmanager
def opened(tiny_release, root: Path | None = None) -> Iterator[StageContext]:
    with finished_run(tiny_release.config, out=root or tiny_release.folder) as context:
        yield context


@pytest.fixture(scope="module")
def sound(tiny_release) -> dict[str, Waterfall]:
    with opened(tiny_release) as context:
        found = waterfalls(context, ALL, images=N)
    return {one.variant: one for one in found}


@pytest.fixture
def copy(tiny_release, tmp_path: Path) -> Path:
    shutil.copytree(tiny_release.folder, tmp_path / "run")
    return tmp_path / "run"


def steps(one: Waterfall) -> dict:
    return {step.name: step for step in one.steps}


def by_harm(one: Waterfall) -> list[str]:
    return [step.name for step in sorted(one.steps, key=lambda step: -step.mean_kl)]


def rescaled(model: bytes, name: str, factor: float) -> bytes:
    proto = onnx.load_from_string(model)
    (tensor,) = (one for one in proto.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))
    return proto.SerializeToString()


def weight_scales(model: bytes) -> dict[str, str]:
    """Each quantized layer -> the name of its weights' scale."""
    graph = onnx.load_from_string(model).graph
    dequantizers = {
        node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"
    }
    constants = {tensor.name for tensor in graph.initializer}
    return {
        node.name: maker.input[1]
        for node in graph.node
        if node.op_type == "Gemm"
        and (maker := dequantizers.get(node.input[1])) is not None
        and maker.input[0] in constants
    }


def test_what_is_skipped_says_so_and_moves_nothing(sound) -> None:
    measured = {
        "ort-fp32": {"export", "backend"},
        "ov-fp32": {"export", "backend"},
        "ov-bf16": {"export", "backend"},
        "ort-int8": {"export", "precision", "backend"},
        "ov-int8": {"export", "precision", "backend"},
    }
    for name, one in sound.items():
        assert tuple(step.name for step in one.steps) == STEPS
        assert {step.name for step in one.steps if not step.skipped} == measured[name]
        for step in one.steps:
            if step.skipped:
                assert step.note and step.before == step.after
                assert (step.flips, step.mean_kl, step.max_difference) == (0, 0.0, 0.0)
        assert [a.after for a in one.steps[:-1]] == [b.before for b in one.steps[1:]]
    assert "precision and backend in one" in steps(sound["ov-bf16"])["backend"].note
    assert "temperature fitted again" in steps(sound["ov-bf16"])["backend"].note


def test_the_total_is_what_the_gate_saw_of_the_same_inputs(tiny_release, sound) -> None:
    folder = tiny_release.folder / "gate" / "predictions"
    reference = Predictions.load(folder / "val-reference.npz").probabilities[:N].astype(float)
    for name, one in sound.items():
        given = Predictions.load(folder / f"val-{name}.npz").probabilities[:N].astype(float)
        assert one.n == N
        assert one.total.flips == int((reference.argmax(1) != given.argmax(1)).sum())
        assert one.total.flip_rate == one.total.flips / N
        expected = np.abs(reference - given).max()
        assert one.total.max_difference == pytest.approx(expected, abs=1e-6)
        assert (one.total.before, one.total.after) == ("PyTorch", one.steps[-1].after)


def test_sound_candidates_lose_at_their_precision_only(sound) -> None:
    assert by_harm(sound["ort-int8"])[0] == by_harm(sound["ov-int8"])[0] == "precision"
    for one in sound.values():
        assert steps(one)["export"].max_difference < 1e-4
        assert one.total.mean_kl < 0.01
    assert sound["ort-fp32"].total.max_difference < 1e-4


def test_only_int8_has_layers(sound) -> None:
    for name, one in sound.items():
        assert bool(one.layers) == name.endswith("int8")
        assert one.layer_n == (32 if one.layers else 0)
        assert all(layer.sqnr_db > 20 for layer in one.layers)


def test_it_is_written_as_its_schema_says(sound) -> None:
    schema = json.loads(SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in sound.values():
        document = json.loads(json.dumps(waterfall_to_json(one), allow_nan=False))
        jsonschema.validate(document, schema)
        assert document["steps"][2]["from"] == "PyTorch"
    document["steps"].reverse()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_a_layer_damaged_on_purpose_is_the_one_that_is_named(
    tiny_release, copy: Path, sound
) -> None:
    made = copy / "quantize" / "ort-int8.onnx"
    # The first: what the second gives is wrong too, and it is not to blame.
    layer, scale = next(iter(weight_scales(made.read_bytes()).items()))
    damaged = rescaled(made.read_bytes(), scale, 0.1)
    made.write_bytes(damaged)
    (copy / "compile" / "models" / "ort-int8.onnx").write_bytes(damaged)
    with opened(tiny_release, copy) as context:
        found = waterfall(context, "ort-int8", images=N)
    assert by_harm(found)[0] == "precision"
    assert steps(found)["precision"].mean_kl > 100 * steps(sound["ort-int8"])["precision"].mean_kl
    assert found.layers[0].name == layer and found.layers[0].operator == "Gemm"
    assert found.layers[0].sqnr_db < found.layers[1].sqnr_db - 20
    healthy = {one.name: one.sqnr_db for one in sound["ort-int8"].layers}
    for other in found.layers[1:]:
        assert other.sqnr_db == pytest.approx(healthy[other.name], abs=1e-6)


def test_a_file_damaged_after_quantization_is_seen_at_the_backend(
    tiny_release, copy: Path, sound
) -> None:
    model = (copy / "quantize" / "ov-int8.onnx").read_bytes()
    scale = next(iter(weight_scales(model).values()))
    for name, content in zip(
        (".xml", ".bin"), openvino_from_onnx(rescaled(model, scale, 0.1)), strict=True
    ):
        (copy / "compile" / "models" / f"ov-int8{name}").write_bytes(content)
    with opened(tiny_release, copy) as context:
        found = waterfall(context, "ov-int8", images=N)
    assert by_harm(found)[0] == "backend"
    assert steps(found)["precision"] == steps(sound["ov-int8"])["precision"]
    assert found.layers == sound["ov-int8"].layers


def test_an_export_that_differs_is_seen_there_and_may_come_back(tiny_release, copy: Path) -> None:
    made = copy / "export" / FP32_MODEL
    proto = onnx.load_from_string(made.read_bytes())
    weights = max(proto.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    made.write_bytes(rescaled(made.read_bytes(), weights.name, 0.2))
    with opened(tiny_release, copy) as context:
        found = waterfall(context, "ort-fp32", images=N)
    # The candidate was made of the sound file: the way goes off and comes back.
    assert set(by_harm(found)[:2]) == {"export", "backend"}
    assert steps(found)["export"].mean_kl > 0.01
    assert found.total.mean_kl < 1e-8 < steps(found)["export"].mean_kl
    assert sum(step.flips for step in found.steps) > found.total.flips == 0


def test_another_device_is_a_step_of_its_own(tiny_release) -> None:
    with opened(tiny_release) as context:
        compiled = replace(context.config.compile, openvino_device="AUTO:CPU")
        there = replace(context, config=replace(context.config, compile=compiled))
        ours, theirs = waterfalls(there, ("ov-fp32", "ort-fp32"), images=N)
    device = steps(ours)["device"]
    assert not device.skipped
    assert (device.before, device.after) == ("openvino, fp32, CPU", "openvino, fp32, AUTO:CPU")
    assert device.max_difference < 1e-4
    assert steps(theirs)["device"].skipped


def test_all_of_val_is_taken_when_more_is_asked_for(tiny_release) -> None:
    heard: list[Event] = []
    with finished_run(tiny_release.config, out=tiny_release.folder, listen=heard.append) as context:
        found = waterfall(context, "ort-fp32", images=100_000)
    assert found.n == 300
    assert {event.kind for event in heard} == {"progress"}
    assert {event.stage for event in heard} == {"waterfall"}


def test_the_fp32_file_is_the_one_that_the_export_stage_writes() -> None:
    assert FP32_MODEL == MODEL


def test_the_gates_winners_are_shown_or_else_the_fastest(tiny_release, copy: Path) -> None:
    winners = {row.id for row in tiny_release.result.rows if row.verdict == "PASS"}
    with opened(tiny_release) as context:
        assert set(default_variants(context)) == winners
    selection = copy / "gate" / "selection.json"
    document = json.loads(selection.read_bytes())
    for at, entry in enumerate(document["entries"]):
        entry["chosen"], entry["p50_ms"] = False, 9.0 - at
    selection.write_text(json.dumps(document))
    with opened(tiny_release, copy) as context:
        assert default_variants(context) == (document["entries"][-1]["id"],)


def test_a_run_without_its_stages_names_the_command(tiny_release, copy: Path, tmp_path) -> None:
    with (
        pytest.raises(UsageError, match="edgetl compile CONFIG"),
        finished_run(tiny_release.config, out=tmp_path / "nothing"),
    ):
        pass
    assert not (tmp_path / "nothing").exists()
    shutil.rmtree(copy / "gate")
    with opened(tiny_release, copy) as context, pytest.raises(UsageError, match="edgetl gate"):
        default_variants(context)
    shutil.rmtree(copy / "compile")
    with pytest.raises(UsageError, match="edgetl compile CONFIG"), opened(tiny_release, copy):
        pass


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [("epochs = 12", "epochs = 13", "finetune"), ("val = 300", "val = 299", "data")],
)
def test_a_config_that_changed_since_is_refused(
    tiny_release, tmp_path: Path, old: str, new: str, named: str
) -> None:
    config = tmp_path / "tiny.toml"
    text = tiny_release.config.read_text()
    config.write_text(text.replace(old, new))
    with (
        pytest.raises(UsageError, match=f"another \\[{named}\\]"),
        finished_run(config, out=tiny_release.folder),
    ):
        pass
    config.write_text(text + "[report]\nwaterfall_images = 3\n")
    with finished_run(config, out=tiny_release.folder) as context:
        assert context.config.report.waterfall_images == 3


@pytest.mark.parametrize("again", ["data", "calibrate", "quantize"])
def test_stages_that_were_not_made_from_one_another_are_refused(
    tiny_release, copy: Path, again: str
) -> None:
    (copy / again / "another").write_text("as if the stage alone had been run again")
    folder = RunFolder(copy)
    inputs = (folder.record(again) or {})["inputs"]
    folder.write_record(copy / again, key="k", inputs=inputs, seconds=0.0)
    with (
        pytest.raises(UsageError, match=f"before stage {again} gave another"),
        opened(tiny_release, copy),
    ):
        pass


def test_a_network_whose_code_changed_since_is_refused(tiny_release, copy: Path) -> None:
    folder = RunFolder(copy)
    inputs = (folder.record("calibrate") or {})["inputs"] | {"outside": {"code net.py": "before"}}
    folder.write_record(copy / "calibrate", key="k", inputs=inputs, seconds=0.0)
    with pytest.raises(UsageError, match="other code"), opened(tiny_release, copy):
        pass


def test_winners_are_those_of_the_candidates_that_are_there(tiny_release, copy: Path) -> None:
    folder = RunFolder(copy)
    record = folder.record("gate") or {}
    inputs = record["inputs"] | {"needs": record["inputs"]["needs"] | {"compile": {}}}
    folder.write_record(copy / "gate", key="k", inputs=inputs, seconds=0.0)
    with (
        opened(tiny_release, copy) as context,
        pytest.raises(UsageError, match="compiled anew since"),
    ):
        default_variants(context)


@pytest.mark.parametrize("text", ["{}", "[]", '{"entries": []}', '{"entries": [{"id": 1}]}'])
def test_a_selection_that_the_gate_did_not_write_is_refused(
    tiny_release, copy: Path, text: str
) -> None:
    (copy / "gate" / "selection.json").write_text(text)
    with (
        opened(tiny_release, copy) as context,
        pytest.raises(UsageError, match=r"selection\.json"),
    ):
        default_variants(context)


def test_a_variant_that_the_run_has_not_is_refused(tiny_release) -> None:
    with opened(tiny_release) as context, pytest.raises(UsageError, match="ort-fp32"):
        waterfall(context, "ov-fp16", images=N)


def test_the_commands_process_never_imports_torch(tiny_release) -> None:
    program = (
        "import sys; from edgetl.cli.main import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    arguments = ["waterfall", str(tiny_release.config), "--out", str(tiny_release.folder)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--images", "8", "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 False False", done.stderr
