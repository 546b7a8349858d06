"""Checkpoints that lie, break or would run code: one clear error each, and nothing runs."""

from __future__ import annotations

import json
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from edgetl.errors import CheckpointError, ModelError
from edgetl.files import sha256_bytes
from edgetl.reference.checkpoint import ClassifierDescription, load_classifier, save_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.network import Mlp, build_network
from edgetl.reference.trained import trained_network
from edgetl.spec import Head, ImageInput, TensorInput
from edgetl.train.backbones import load_weights

HEAD = Head(layer="head", classes=("a", "b", "c"))


def loaded_weights(network: torch.nn.Module, weights: str) -> None:
    load_weights(network, weights, "mlp", head=HEAD, input=TensorInput(shape=(4,)))


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    description = ClassifierDescription(
        architecture="mlp",
        input=TensorInput(shape=(4,)),
        head=Head(layer="head", classes=("a", "b", "c")),
    )
    save_classifier(tmp_path / "model", Mlp(features=4, classes=3), description)
    return tmp_path / "model"


def _describe(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "classifier.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _replace(folder: Path, data: bytes) -> None:
    """Put other weights in, with the description's hash and size set to match."""
    (folder / "model.safetensors").write_bytes(data)
    _describe(
        folder,
        lambda value: value["weights"].update(size=len(data), sha256=sha256_bytes(data)),
    )


def _refused(folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_classifier(folder)
    error = caught.value
    assert all((error.subject, error.got, error.expected, error.fix)) and error.exit_code == 2


def test_the_canary_would_fire(tmp_path: Path) -> None:
    data = pickle.dumps(Canary(tmp_path / "fired"))
    pickle.loads(data)
    assert (tmp_path / "fired").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch-zip", "torch-legacy"])
@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_files_that_can_run_code_are_never_opened(
    folder: Path, tmp_path: Path, kind: str, name: str
) -> None:
    fired, path = tmp_path / "fired", tmp_path / "hostile"
    hostile = {"head.weight": torch.ones(1), "canary": Canary(fired)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(hostile))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=kind == "torch-zip")
    what = "a pickle" if kind in ("pickle", "torch-legacy") else "a zip archive"
    if name == "model.safetensors":
        _replace(folder, path.read_bytes())
        _refused(folder, what)
    else:
        with pytest.raises(CheckpointError, match=what):
            loaded_weights(Mlp(features=4, classes=3), str(path))
    assert not fired.exists()


@pytest.mark.parametrize("kind", ["whole module", "TorchScript"])
def test_a_whole_module_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    module, path = Mlp(features=4, classes=3), tmp_path / "whole.pt"
    if kind == "whole module":
        torch.save(module, path)
    else:
        with warnings.catch_warnings():
            # The exporter says that TorchScript is old; its files are still about.
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(module, torch.ones(1, 4)), path)
    _replace(folder, path.read_bytes())
    _refused(folder, "a zip archive")


def test_every_truncation_is_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        _replace(folder, whole[:length])
        _refused(folder, r"empty file" if length == 0 else rf"\({length} bytes\)|zip|pickle")


@pytest.mark.parametrize("claimed", [1 << 20, 100_000_001, 1 << 40, (1 << 64) - 1])
def test_an_oversized_header_is_refused_without_the_memory_it_claims(
    folder: Path, claimed: int
) -> None:
    _replace(folder, claimed.to_bytes(8, "little") + b'{"a":{}}')
    _refused(folder, "header|metadata")


def test_a_header_that_is_no_json_is_refused(folder: Path) -> None:
    _replace(folder, (8).to_bytes(8, "little") + b"{" * 8)
    _refused(folder, "header|JSON|metadata")


def test_missing_and_extra_keys_are_named(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["body.9.weight"] = state.pop("body.3.weight")
    _replace(folder, save(state))
    _refused(folder, r"1 missing: body\.3\.weight; 1 extra: body\.9\.weight")


def test_many_missing_keys_are_counted(folder: Path) -> None:
    _replace(folder, save({"x": torch.ones(1)}))
    _refused(folder, r"6 missing: .* and 1 more; 1 extra: x")


def test_a_head_that_is_not_the_labels_is_said_in_classes(folder: Path) -> None:
    _describe(folder, lambda value: value["head"].update(classes=["a", "b"]))
    _refused(folder, "a head 'head' of 3 classes; expected 2 classes")


def test_a_body_of_another_input_is_named(folder: Path) -> None:
    _describe(folder, lambda value: value["input"].update(shape=[5]))
    _refused(folder, r"'body\.1\.weight' of shape \(128, 4\)")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(folder: Path, bad: float) -> None:
    state = load_file(folder / "model.safetensors")
    state["head.bias"][1] = bad
    _replace(folder, save(state))
    _refused(folder, r"NaN or infinity in 'head\.bias'")


def test_another_dtype_is_not_converted_in_silence(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["head.bias"] = state["head.bias"].double()
    _replace(folder, save(state))
    _refused(folder, r"'head\.bias' of dtype torch\.float64")


def test_every_flipped_bit_of_the_numbers_is_noticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for position in range(8, len(whole), len(whole) // 50):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_classifier(folder)
    path.write_bytes(whole)
    load_classifier(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v.update(schema="edgetl.classifier/2"), "schema"),
        (lambda v: v.pop("head"), "head"),
        (lambda v: v.update(architecture="resnet19"), "resnet19"),
        (lambda v: v.update(architecture="resnet18"), "tensor input"),
        (lambda v: v.update(architecture=3), "text"),
        (lambda v: v["head"].update(layer="body"), "'body'"),
        (lambda v: v["head"].update(classes="abc"), "list of classes"),
        (lambda v: v["head"].update(classes=["a", "a", "b"]), "twice"),
        (lambda v: v["head"].update(classes=["a", "b\x1b[2J", "c"]), "label"),
        (lambda v: v["head"].update(temperature=0), "temperature"),
        (lambda v: v["head"].update(temperature=True), "temperature"),
        (lambda v: v["head"].update(temperature="1"), "temperature"),
        (lambda v: v["weights"].update(file="../elsewhere.safetensors"), "elsewhere"),
        (lambda v: v["weights"].update(sha256="0" * 64), "SHA-256"),
        (lambda v: v["input"].update(shape=[-4]), "size"),
        (lambda v: v.update(input={"kind": "sound"}), "kind"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], match: str
) -> None:
    _describe(folder, change)
    _refused(folder, match)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"[]", b"NaN", b'{"a": 1, "a": 2}', b"[" * 10**5]
)
def test_a_description_that_is_no_document_is_refused(folder: Path, text: bytes) -> None:
    (folder / "classifier.json").write_bytes(text)
    _refused(folder, r"classifier\.json")


def test_files_that_are_not_there_or_are_no_files_are_said(folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    weights.unlink()
    _refused(folder, "no such file")
    os.mkfifo(weights)
    _refused(folder, "not a regular file")
    with pytest.raises(CheckpointError, match="no such folder"):
        load_classifier(tmp_path / "nowhere")


def test_the_loader_of_starting_weights_meets_the_same(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="missing"):
        loaded_weights(Mlp(features=4, classes=3), str(path))
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="an empty file"):
        loaded_weights(Mlp(features=4, classes=3), str(path))


# State dicts of other tools (.pt): opened with weights_only alone.


def _trained(path: Path) -> None:
    trained_network("mlp", weights=str(path), input=TensorInput(shape=(4,)), classes=HEAD.classes)


@pytest.mark.parametrize("kind", ["pickle", "torch-zip", "torch-legacy", "entry"])
def test_a_state_dict_that_would_run_code_is_refused(tmp_path: Path, kind: str) -> None:
    fired, path = tmp_path / "fired", tmp_path / "w.pt"
    hostile: dict[str, Any] = {"head.weight": torch.ones(1), "canary": Canary(fired)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(hostile))
    else:
        hostile = {"state_dict": hostile} if kind == "entry" else hostile
        torch.save(hostile, path, _use_new_zipfile_serialization=kind != "torch-legacy")
    with pytest.raises(CheckpointError, match="files that can run code are not opened"):
        _trained(path)
    assert not fired.exists()


def test_a_whole_module_or_torchscript_as_weights_is_refused(tmp_path: Path) -> None:
    module, path = Mlp(features=4, classes=3), tmp_path / "whole.pt"
    torch.save(module, path)
    with pytest.raises(CheckpointError, match=r"got edgetl\.reference\.network\.Mlp"):
        _trained(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.ones(1, 4)), path)
    with pytest.raises(CheckpointError, match="TorchScript"):
        _trained(path)


def test_every_truncation_of_a_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for legacy in (False, True):
        torch.save(
            Mlp(features=4, classes=3).state_dict(),
            path,
            _use_new_zipfile_serialization=not legacy,
        )
        whole = path.read_bytes()
        for length in (0, 1, 9, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError) as caught:
                _trained(path)
            assert "\n" not in str(caught.value)


def test_weights_that_are_no_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        _trained(tmp_path / "w.pt")
    os.mkfifo(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not a regular file"):
        _trained(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("stored", "match"),
    [
        (lambda: torch.ones(3).to_sparse(), r"layout torch\.sparse_coo"),
        (lambda: torch.ones(3, device="meta"), "on the meta device"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_dense_numbers_are_refused(
    tmp_path: Path, stored: Callable[[], torch.Tensor], match: str
) -> None:
    state = Mlp(features=4, classes=3).state_dict()
    state["head.bias"] = stored()
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=f"'head.bias', a tensor .*{match}"):
        _trained(tmp_path / "w.pt")


def test_a_file_whose_dict_holds_itself_ends_in_an_error(tmp_path: Path) -> None:
    value: dict[str, Any] = {"epoch": 1}
    value["self"] = value
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="'epoch', a int among the tensors"):
        _trained(tmp_path / "w.pt")


# Code of a checkpoint's choosing.

EVIL = "from pathlib import Path\nPath(__file__).with_name('fired').touch()\ndef make(): ...\n"


@pytest.mark.parametrize("place", ["beside", "working folder"])
def test_a_checkpoint_never_imports_code_on_its_own_word(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    home = folder if place == "beside" else tmp_path
    (home / "evil_code.py").write_text(EVIL)
    monkeypatch.delitem(sys.modules, "evil_code", raising=False)
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    _describe(folder, lambda value: value.update(architecture="python:evil_code:make"))
    _refused(folder, "which is code, and no folder to take it from")
    with pytest.raises(CheckpointError, match="which is code"):
        ReferenceBackend(folder, threads=1)
    assert not (home / "fired").exists()
    # It would have run.
    with pytest.raises(ModelError, match="NoneType"):
        load_classifier(folder, code=home)
    assert (home / "fired").exists()


@pytest.mark.parametrize(
    "architecture", ["python:os:getcwd", "python:../evil_code:make", "python:json.tool:main"]
)
def test_code_comes_from_the_callers_folder_only(
    folder: Path, tmp_path: Path, architecture: str
) -> None:
    _describe(folder, lambda value: value.update(architecture=architecture))
    with pytest.raises(CheckpointError, match=r"not in|MODULE"):
        load_classifier(folder, code=tmp_path)


@pytest.mark.parametrize("layer", ["conv1", "nope", "fc.weight", ""])
def test_a_timm_checkpoint_whose_head_is_none_is_refused(
    folder: Path, tmp_path: Path, layer: str
) -> None:
    spec = ImageInput(height=32, width=32)
    head = Head(layer="fc", classes=("a", "b", "c"))
    description = ClassifierDescription(architecture="timm:resnet10t", input=spec, head=head)
    save_classifier(tmp_path / "timm", build_network("timm:resnet10t", 3, spec), description)
    _describe(tmp_path / "timm", lambda value: value["head"].update(layer=layer))
    _refused(tmp_path / "timm", "head layer")
