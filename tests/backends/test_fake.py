from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends.fake import FakeBackend
from edgetl.errors import BackendError, SpecError
from edgetl.spec import Array, TensorSpec
from tests.backends.conformance import FEATURES, IMAGE, BackendConformance
from tests.backends.helpers.models import CLASSES, answers, conv_net, images


class TestFake(BackendConformance):
    name = "fake"
    layers = None

    @classmethod
    def open(cls, model: bytes, *, threads: int = 1) -> FakeBackend:
        if model != conv_net():
            return _fake(_root, FEATURES, 3)
        return _fake(_Lookup(), IMAGE, CLASSES)

    @classmethod
    def script(cls, folder: Path) -> str:
        return """
import numpy as np
from edgetl.backends.fake import FakeBackend
from edgetl.spec import TensorSpec
backend = FakeBackend(
    lambda inputs: {"probabilities": np.full((len(inputs["image"]), 2), 0.5, np.float32)},
    input_spec={"image": TensorSpec(name="image", dtype="uint8", shape=(None, 16, 16, 3))},
    output_spec={"probabilities": TensorSpec(name="p", dtype="float32", shape=(None, 2))},
)
"""

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"other": np.ones((1, 3), np.float32)},
            {"probabilities": np.ones((1, 3), np.float64)},
            {"probabilities": np.ones((1, 4), np.float32)},
            {"probabilities": np.ones((2, 3), np.float32)},
            {"probabilities": np.ones(3, np.float32)},
        ],
        ids=["none", "other name", "dtype", "classes", "batch", "rank"],
    )
    def test_refuses_answers_that_are_not_the_spec_s(self, answer: Any) -> None:
        backend = _fake(lambda inputs: answer, FEATURES, 3)
        with pytest.raises(BackendError, match="output"):
            backend.run({"features": np.ones((1, 3), np.float32)})

    @pytest.mark.parametrize(
        ("sizes", "rows", "fits"),
        [((None, 3), 2, True), ((2, 3), 2, True), ((1, 3), 2, False), ((None, None), 2, True)],
    )
    def test_output_sizes_fixed_and_free(
        self, sizes: tuple[int | None, ...], rows: int, fits: bool
    ) -> None:
        backend = FakeBackend(
            lambda inputs: {"out": inputs["features"]},
            input_spec={"features": FEATURES},
            output_spec={"out": TensorSpec(name="out", dtype="float32", shape=sizes)},
        )
        given = {"features": np.ones((rows, 3), np.float32)}
        if fits:
            assert backend.run(given)["out"].shape == (rows, 3)
        else:
            with pytest.raises(BackendError, match="output 'out'"):
                backend.run(given)

    def test_inputs_without_a_batch(self) -> None:
        number = TensorSpec(name="n", dtype="float32", shape=())
        backend = FakeBackend(
            lambda inputs: {"n": inputs["n"] + inputs["n"]},
            input_spec={"n": number},
            output_spec={"n": number},
        )
        assert backend.run({"n": np.array(2, np.float32)})["n"] == 4

    def test_says_what_the_handler_raised(self) -> None:
        def handler(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            raise ZeroDivisionError("no luck")

        with pytest.raises(BackendError, match="no luck") as error:
            _fake(handler, FEATURES, 3).run({"features": np.ones((1, 3), np.float32)})
        assert isinstance(error.value.__cause__, ZeroDivisionError)

    def test_refuses_batches_of_different_sizes(self) -> None:
        other = TensorSpec(name="other", dtype="float32", shape=(None,))
        backend = FakeBackend(
            lambda inputs: {"sum": inputs["features"].sum(1) + inputs["other"]},
            input_spec={"features": FEATURES, "other": other},
            output_spec={"sum": TensorSpec(name="sum", dtype="float32", shape=(None,))},
        )
        rows, numbers = np.ones((2, 3), np.float32), np.ones(2, np.float32)
        assert backend.run({"features": rows, "other": numbers})["sum"].tolist() == [4, 4]
        with pytest.raises(SpecError, match="batches of different sizes"):
            backend.run({"features": rows, "other": numbers[:1]})


class _Lookup:
    """Answers the test images from a table, as a model would."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}
        for seed, count in ((7, 40), (99, 2)):
            found = answers(conv_net(), count, seed)
            keys = [one.tobytes() for one in images(count, seed)]
            self._known.update(zip(keys, found, strict=True))

    def __call__(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"probabilities": np.stack([self._known[one.tobytes()] for one in inputs["image"]])}


def _root(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    with np.errstate(invalid="ignore"):
        return {"probabilities": np.sqrt(inputs["features"])}


def _fake(handler: Any, given: TensorSpec, classes: int) -> FakeBackend:
    answer = TensorSpec(name="probabilities", dtype="float32", shape=(None, classes))
    return FakeBackend(
        handler, input_spec={given.name: given}, output_spec={"probabilities": answer}
    )
