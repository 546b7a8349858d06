from __future__ import annotations

import dataclasses
import io
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from PIL import Image

from edgetl.backends import registry
from edgetl.backends.fake import FakeBackend
from edgetl.backends.openvino import import_openvino
from edgetl.bundle import BundleContent, open_bundle, pack_zip
from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_batch
from edgetl.errors import (
    BackendError,
    BundleError,
    ConfigError,
    DataError,
    ModelError,
    SpecError,
    UnavailableError,
    UsageError,
)
from edgetl.metrics import entropy
from edgetl.runtime.classifier import Classifier, Prediction
from edgetl.spec import ImageInput, TensorSpec

BACKENDS = ("onnxruntime", "openvino")


def _probabilities(predictions: list[Prediction]) -> np.ndarray:
    return np.stack([one.probabilities for one in predictions])


def _oracle(content: BundleContent, pictures: np.ndarray) -> np.ndarray:
    # The network once more, by onnx's own reference implementation.
    model = content.models["models/net.onnx"]
    assert isinstance(model, bytes)
    return ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"image": pictures})[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_are_those_of_the_network(
    content: BundleContent, bundle: Path, pictures: np.ndarray, backend: str
) -> None:
    with Classifier.load(bundle, backend=backend, threads=1) as classifier:
        got = _probabilities(classifier.predict(list(pictures)))
    want = _oracle(content, pictures)
    # A network that answers every image alike would prove nothing.
    assert len(set(want.argmax(axis=1))) >= 3
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_prediction_says_what_it_should(bundle: Path, pictures: np.ndarray) -> None:
    with Classifier.load(bundle, threads=1) as classifier:
        one = classifier.predict(pictures[0], top_k=2)
        assert classifier.classes == ("red", "green", "blue", "grey")
    assert one.index == one.probabilities.argmax()
    assert one.label == ("red", "green", "blue", "grey")[one.index]
    assert one.confidence == one.probabilities.max()
    assert one.probabilities.dtype == np.float32 and one.probabilities.shape == (4,)
    assert one.top[0] == (one.label, one.confidence)
    assert one.top[1][1] == np.sort(one.probabilities)[-2]
    assert one.entropy == pytest.approx(entropy(one.probabilities[None])[0])
    with pytest.raises(ValueError, match="read-only"):
        one.probabilities[0] = 1


def test_every_kind_of_input_gives_the_same_answer(
    bundle: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    pixels = pictures[3]
    png = encode_png(pixels)
    (tmp_path / "a.png").write_bytes(png)
    kinds: list[Any] = [
        pixels,
        png,
        bytearray(png),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(pixels),
        Image.open(io.BytesIO(png)),
    ]
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        singly = [classifier.predict(x) for x in kinds]
        together = classifier.predict(kinds)
        as_tuple = classifier.predict(tuple(kinds))
    for one in (*singly, *together, *as_tuple):
        np.testing.assert_allclose(one.probabilities, singly[0].probabilities, atol=1e-7)


def test_images_of_other_sizes_and_grey_ones_are_prepared(bundle: Path) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (30, 17), np.uint8)
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        got = classifier.predict([grey, np.stack([grey] * 3, axis=-1)])
        fitted = to_batch([grey], classifier.manifest.input)
        want = classifier.backend.run({"image": fitted})["probabilities"]
    np.testing.assert_array_equal(got[0].probabilities, got[1].probabilities)
    np.testing.assert_allclose(got[0].probabilities, want[0], atol=1e-7)


def test_a_long_list_keeps_its_order(bundle: Path, pictures: np.ndarray) -> None:
    many = [pictures[at % 64] for at in range(100)]
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        got = classifier.predict(many)
        alone = classifier.predict(pictures[99 % 64])
    assert len(got) == 100
    np.testing.assert_allclose(got[99].probabilities, alone.probabilities, atol=1e-7)
    np.testing.assert_allclose(got[0].probabilities, got[64].probabilities, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_threads_get_their_own_answers(
    bundle: Path, pictures: np.ndarray, backend: str
) -> None:
    _hammer(bundle, pictures, backend, calls=400)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_threads_get_their_own_answers_for_long(
    bundle: Path, pictures: np.ndarray, backend: str
) -> None:
    _hammer(bundle, pictures, backend, calls=10_000)


def _hammer(bundle: Path, pictures: np.ndarray, backend: str, *, calls: int) -> None:
    wrong: list[str] = []
    with Classifier.load(bundle, backend=backend, threads=1) as classifier:
        right = [classifier.predict(x).probabilities for x in pictures]
        # Far enough apart that another image's answer cannot pass for the right one.
        spread = np.abs(np.stack(right)[:, None] - np.stack(right)[None]).max(axis=2)
        assert np.median(spread[~np.eye(64, dtype=bool)]) > 0.1
        begin = threading.Barrier(32)

        def work(number: int) -> None:
            begin.wait()
            for call in range(calls):
                at = (7 * number + call) % 64
                try:
                    got = classifier.predict(pictures[at]).probabilities
                    if not np.allclose(got, right[at], atol=1e-6):
                        wrong.append(f"thread {number}, call {call}")
                except Exception as error:
                    wrong.append(repr(error))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_tensors_are_classified_as_they_are(tensor_bundle: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    with Classifier.load(tensor_bundle, threads=1) as classifier:
        got = _probabilities(classifier.predict(list(rows)))
        want = classifier.backend.run({"features": rows})["probabilities"]
        np.testing.assert_allclose(got, want, atol=1e-7)
        for bad in (rows[0].astype(np.float64), rows[0].astype(">f4"), rows[0, :5], rows):
            with pytest.raises(SpecError):
                classifier.predict(bad)
        for value in (np.nan, np.inf):
            with pytest.raises(SpecError, match="NaN or infinity"):
                classifier.predict(np.array([value, 0, 0, 0, 0, 0], np.float32))


def test_a_grey_picture_may_be_a_tensor(tensor_bundle: Path) -> None:
    grey = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
    coloured = np.random.default_rng(0).integers(0, 9, (2, 3, 3), np.uint8)
    with Classifier.load(tensor_bundle, threads=1) as classifier:
        from_png = classifier.predict(encode_png(grey))
        floats = (grey / 255).astype(np.float32).ravel()
        np.testing.assert_allclose(
            from_png.probabilities, classifier.predict(floats).probabilities, atol=1e-7
        )
        with pytest.raises(DataError):
            classifier.predict(encode_png(coloured))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"text",
        encode_png(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))[:150],
        np.zeros((12, 12, 3), np.float32),
        np.zeros((3, 12, 12), np.uint8),
        np.zeros((1, 12, 12, 3), np.uint8),
        np.full((12, 12), np.nan),
        np.array([[{}]], dtype=object),
        None,
        7,
        [],
        [b"text"],
        Path("/nowhere/x.png"),
    ],
    ids=[
        *("empty", "text", "truncated", "float", "chw", "batch", "nan", "object", "none"),
        *("number", "no_items", "bad_item", "no_file"),
    ],
)
def test_what_is_no_input_is_refused(bundle: Path, bad: Any) -> None:
    with (
        Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier,
        pytest.raises(DataError),
    ):
        classifier.predict(bad)


# Which variant runs.


def _judged(content: BundleContent, *verdicts: Any) -> dict[str, Any]:
    variants = tuple(
        dataclasses.replace(one, verdict=verdict)
        for one, verdict in zip(content.variants, verdicts, strict=True)
    )
    return {"variants": variants}


def _chosen(path: Path, **options: Any) -> str:
    with Classifier.load(path, threads=1, **options) as classifier:
        return classifier.variant.id


def test_auto_takes_the_fastest_that_passed(content: BundleContent, write: Any) -> None:
    assert _chosen(write()) == "openvino-fp32"
    assert _chosen(write(**_judged(content, "PASS", "FAIL"))) == "ort-fp32"
    assert _chosen(write(**_judged(content, "PASS", "NOT JUDGED"))) == "ort-fp32"
    assert _chosen(write(**_judged(content, "PASS", "INCONCLUSIVE"))) == "ort-fp32"


def test_a_variant_that_was_not_measured_is_the_last_choice(
    content: BundleContent, write: Any
) -> None:
    slow, fast = content.variants
    unmeasured = dataclasses.replace(fast, p50_ms=None)
    assert _chosen(write(variants=(unmeasured, slow))) == "ort-fp32"


def test_auto_takes_only_what_is_here(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here: dict[str, Any] = {"onnxruntime": True, "openvino": "not installed: because"}
    monkeypatch.setattr(registry, "available", lambda: here)
    assert _chosen(bundle) == "ort-fp32"
    here["onnxruntime"] = "not installed: either"
    with pytest.raises(UnavailableError, match=r"because.*either") as caught:
        Classifier.load(bundle)
    assert caught.value.exit_code == 3


def test_nothing_that_did_not_pass_is_taken_without_its_name(
    content: BundleContent, write: Any
) -> None:
    path = write(**_judged(content, "FAIL", "NOT JUDGED"))
    for backend in ("auto", *BACKENDS):
        with pytest.raises(BundleError, match="no variant that passed"):
            Classifier.load(path, backend=backend)
    assert _chosen(path, variant="ort-fp32") == "ort-fp32"


def test_the_backend_asked_for_is_taken(bundle: Path) -> None:
    assert [_chosen(bundle, backend=name) for name in BACKENDS] == ["ort-fp32", "openvino-fp32"]
    assert _chosen(bundle, backend="onnxruntime", variant="ort-fp32") == "ort-fp32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onnxrumtime"}, "openvino, onnxruntime"),
        ({"variant": "none"}, "one of ort-fp32, openvino-fp32"),
        ({"backend": "onnxruntime", "variant": "openvino-fp32"}, "leave one of the two out"),
        ({"threads": 0}, "at least 1"),
        ({"threads": -1}, "at least 1"),
    ],
)
def test_a_wrong_choice_is_said(bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Classifier.load(bundle, **options)


def test_a_backend_without_a_variant_is_said(tensor_bundle: Path) -> None:
    with pytest.raises(UsageError, match="for which the bundle has no variant"):
        Classifier.load(tensor_bundle, backend="openvino")


def test_a_wrong_top_k_is_said(bundle: Path, pictures: np.ndarray) -> None:
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        with pytest.raises(UsageError, match="top_k"):
            classifier.predict(pictures[0], top_k=0)
        assert len(classifier.predict(pictures[0], top_k=99).top) == 4


# What is loaded.


def test_a_zip_and_an_opened_bundle_are_loaded_alike(
    bundle: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    zipped = pack_zip(bundle, tmp_path / "b.zip")
    got = []
    for source in (bundle, str(bundle), zipped, open_bundle(bundle)):
        with Classifier.load(source, backend="onnxruntime", threads=1) as classifier:
            got.append(classifier.predict(pictures[0]).probabilities)
    assert all(np.array_equal(one, got[0]) for one in got)


def test_the_verified_bytes_are_what_is_loaded(
    content: BundleContent, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def load(variant: Any, files: Any, **options: Any) -> Any:
        seen.append((variant, dict(files), options))
        raise ModelError("x", got="a", expected="b", fix="c")

    monkeypatch.setattr(registry, "load", load)
    with pytest.raises(ModelError):
        Classifier.load(bundle, variant="openvino-fp32", threads=3)
    ((variant, files, options),) = seen
    assert variant == content.variants[1].variant
    assert files == {path: content.models[path] for path in ("models/net.xml", "models/net.bin")}
    assert options == {"threads": 3}


def _fake(monkeypatch: pytest.MonkeyPatch, answer: Any, **specs: Any) -> list[FakeBackend]:
    made = []

    def load(variant: Any, files: Any, *, threads: Any = None) -> FakeBackend:
        taken = specs.get("image", ImageInput(height=12, width=12).tensor)
        made.append(
            FakeBackend(
                lambda inputs: {"probabilities": np.array(answer, np.float32)},
                input_spec={taken.name: taken},
                output_spec={
                    "probabilities": specs.get(
                        "output",
                        TensorSpec(name="probabilities", dtype="float32", shape=(None, 4)),
                    )
                },
            )
        )
        return made[-1]

    monkeypatch.setattr(registry, "load", load)
    return made


@pytest.mark.parametrize(
    "answer",
    [
        [[np.nan, 0, 0, 1]],
        [[np.inf, 0, 0, 0]],
        [[0.5, 0.5, 0.5, 0.5]],
        [[-0.5, 0.5, 0.5, 0.5]],
        [[3.0, -1.0, 0.25, -1.25]],
        [[0.25, 0.25, 0.5]],
        [[0.25] * 4] * 2,
    ],
)
def test_what_is_no_probability_never_becomes_a_prediction(
    bundle: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    _fake(monkeypatch, answer)
    with Classifier.load(bundle) as classifier, pytest.raises(BackendError):
        classifier.predict(pictures[0])


def test_of_equal_classes_the_first_is_the_label(
    bundle: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(monkeypatch, [[0.125, 0.375, 0.375, 0.125]])
    one = Classifier.load(bundle).predict(pictures[0])
    assert [label for label, _ in one.top] == ["green", "blue", "red", "grey"]
    assert one.index == 1


@pytest.mark.parametrize(
    "specs",
    [
        {"output": TensorSpec(name="probabilities", dtype="float32", shape=(None, 3))},
        {"output": TensorSpec(name="probabilities", dtype="float16", shape=(None, 4))},
        {"image": ImageInput(height=12, width=13).tensor},
        {"image": TensorSpec(name="image", dtype="float32", shape=(None, 12, 12, 3))},
        {"image": TensorSpec(name="other", dtype="uint8", shape=(None, 12, 12, 3))},
    ],
)
def test_a_model_that_does_not_fit_the_manifest_is_refused_and_closed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, specs: dict[str, Any]
) -> None:
    made = _fake(monkeypatch, [[0.25] * 4], **specs)
    with pytest.raises(BundleError, match=r"models/net\.xml"):
        Classifier.load(bundle)
    with pytest.raises(BackendError, match="close"):
        made[0].run({})


def test_a_closed_classifier_answers_no_more(bundle: Path, pictures: np.ndarray) -> None:
    classifier = Classifier.load(bundle, backend="onnxruntime", threads=1)
    classifier.close()
    classifier.close()
    with pytest.raises(BackendError, match="close"):
        classifier.predict(pictures[0])


def _child(classifier: Classifier, picture: np.ndarray, answer: Any) -> None:
    try:
        classifier.predict(picture)
        answer.send("answered")
    except BackendError as error:
        answer.send(str(error))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told_to_load_after_the_fork(bundle: Path, pictures: np.ndarray) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        process = context.Process(target=_child, args=(classifier, pictures[0], there))
        process.start()
        assert here.poll(30)
        assert "fork" in here.recv()
        process.join()


def _here() -> list[str]:
    return list(import_openvino().Core().available_devices)


def test_the_device_asked_for_is_taken(bundle: Path, pictures: np.ndarray) -> None:
    with (
        Classifier.load(bundle, threads=1, variant="openvino-fp32") as plain,
        Classifier.load(bundle, threads=1, device="AUTO:CPU") as chosen,
    ):
        assert chosen.variant.settings["device"] == "AUTO:CPU"
        assert registry.describe(chosen.backend).device == "CPU"
        got, expected = (one.predict(pictures[0]).probabilities for one in (chosen, plain))
        np.testing.assert_array_equal(got, expected)


def test_a_device_leaves_only_the_backends_that_have_devices(
    content: BundleContent, write: Any
) -> None:
    slow, fast = content.variants
    faster = dataclasses.replace(slow, p50_ms=0.1)
    path = write(variants=(faster, fast))
    assert _chosen(path) == "ort-fp32"
    assert _chosen(path, device="CPU") == "openvino-fp32"
    assert _chosen(path, device="CPU", backend="onnxruntime") == "ort-fp32"
    assert _chosen(path, device="CPU", variant="ort-fp32") == "ort-fp32"


def test_a_device_that_is_absent_is_not_replaced(bundle: Path) -> None:
    absent = next(name for name in ("GPU.7", "NPU") if name not in _here())
    with pytest.raises(UnavailableError, match=f"a machine with {_here()[0]}") as caught:
        Classifier.load(bundle, device=absent)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onnxruntime", "device": "GPU"}, "expected CPU"),
        ({"variant": "ort-fp32", "device": "NPU"}, "ask for the backend openvino"),
        ({"device": "gpu"}, "did you mean 'GPU'"),
        ({"device": ""}, "a name such as CPU"),
        ({"device": "MULTI:GPU,CPU"}, "several devices answer"),
    ],
)
def test_a_wrong_device_is_said(bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ConfigError), match=message) as caught:
        Classifier.load(bundle, **options)
    assert caught.value.exit_code == 2


def test_a_device_needs_a_variant_for_it(tensor_bundle: Path) -> None:
    with pytest.raises(UsageError, match="'openvino', for which the bundle has no variant"):
        Classifier.load(tensor_bundle, device="CPU")
