"""What every backend does alike: one test class, inherited by each backend and precision."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest

from edgetl.backends.base import Backend
from edgetl.backends.registry import describe, load
from edgetl.errors import BackendError, SpecError
from edgetl.spec import Precision, Setting, TensorSpec, Variant
from tests.backends.helpers.models import CLASSES, SIZE, answers, conv_net, images, root_net

IMAGE = TensorSpec(name="image", dtype="uint8", shape=(None, SIZE, SIZE, 3))
FEATURES = TensorSpec(name="features", dtype="float32", shape=(None, 3))
BATCHES = (1, 2, 7, 1, 32)

# Each makes something that is not the image spec's out of a batch that is.
BAD_IMAGES: dict[str, Callable[[Any], Any]] = {
    "dtype": lambda x: x.astype(np.float32),
    "signed": lambda x: x.astype(np.int8),
    "one image without a batch": lambda x: x[0],
    "size": lambda x: x[:, :-1].copy(),
    "layout NCHW": lambda x: x.transpose(0, 3, 1, 2).copy(),
    "memory in another order": lambda x: x[:, :, ::-1],
    "empty batch": lambda x: x[:0],
    "list": lambda x: x.tolist(),
    "objects": lambda x: x.astype(object),
    "None": lambda x: None,
}
BAD_FEATURES: dict[str, Callable[[Any], Any]] = {
    "byte order": lambda x: x.astype(">f4"),
    "double": lambda x: x.astype(np.float64),
    "NaN": lambda x: np.where(x == x[0, 0], np.nan, x).astype(np.float32),
    "infinity": lambda x: np.where(x == x[0, 0], np.inf, x).astype(np.float32),
    "minus infinity": lambda x: np.where(x == x[0, 0], -np.inf, x).astype(np.float32),
}


class BackendConformance:
    """Inherited as ``TestX``; a backend says how to load a model, and what it should say."""

    name: ClassVar[str]
    precision: ClassVar[Precision] = Precision.FP32
    # How far its probabilities may be from those of ONNX's reference implementation.
    tolerance: ClassVar[float] = 1e-5
    # What `describe` says of the convolutions and of the last linear layer; None for no layers.
    layers: ClassVar[dict[str, set[str]] | None]
    # The variant's settings.
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    @classmethod
    def image_model(cls) -> bytes:
        """The ONNX model that the answers are compared on."""
        return conv_net()

    @classmethod
    def files(cls, model: bytes) -> dict[str, bytes]:
        """The variant's files from ONNX, in the variant's order."""
        return {"model.onnx": model}

    @classmethod
    def open(cls, model: bytes, *, threads: int = 1) -> Backend:
        """Load an ONNX model."""
        files = cls.files(model)
        precision = cls.precision if model == cls.image_model() else Precision.FP32
        variant = Variant(
            id=f"{cls.name}-{precision}",
            backend=cls.name,
            precision=precision,
            files=tuple(files),
            settings=cls.settings,
        )
        return load(variant, files, threads=threads)

    @classmethod
    def script(cls, folder: Path) -> str:
        """Python lines that load the image model as `backend` in a process of its own."""
        files = cls.files(cls.image_model())
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return textwrap.dedent(f"""
            from pathlib import Path
            from edgetl.backends.registry import load
            from edgetl.spec import Precision, Variant
            names = {tuple(files)!r}
            backend = load(
                Variant(id="v", backend={cls.name!r}, precision=Precision({str(cls.precision)!r}),
                        files=names, settings={dict(cls.settings)!r}),
                {{name: (Path({str(folder)!r}) / name).read_bytes() for name in names}},
                threads=2,
            )
        """)

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[Backend]:
        backend = cls.open(cls.image_model())
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls) -> Iterator[Backend]:
        backend = cls.open(root_net())
        yield backend
        backend.close()

    def test_is_a_backend_with_the_spec_of_its_model(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)
        assert dict(backend.input_spec) == {"image": IMAGE}
        answer = TensorSpec(name="probabilities", dtype="float32", shape=(None, CLASSES))
        assert dict(backend.output_spec) == {"probabilities": answer}

    def test_answers_right_at_any_batch_size(self, backend: Backend) -> None:
        expected = answers(self.image_model(), max(BATCHES))
        assert len(set(expected.argmax(1))) >= 3, "a network that answers all alike proves nothing"
        given = images(max(BATCHES))
        for batch in BATCHES:
            got = backend.run({"image": given[:batch]})["probabilities"]
            assert got.shape == (batch, CLASSES)
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, expected[:batch], atol=self.tolerance, rtol=0)
            np.testing.assert_allclose(got.sum(1), 1, atol=1e-5)

    def test_answers_alike_again(self, backend: Backend) -> None:
        given = {"image": images(3)}
        first, second = (backend.run(given)["probabilities"] for _ in range(2))
        assert first.tobytes() == second.tobytes()

    @pytest.mark.parametrize("fault", BAD_IMAGES)
    def test_refuses_images_that_are_not_the_spec_s(self, backend: Backend, fault: str) -> None:
        self._refuses(backend, IMAGE, BAD_IMAGES[fault](images(2)))

    @pytest.mark.parametrize("fault", BAD_FEATURES)
    def test_refuses_features_that_are_not_the_spec_s(self, root: Backend, fault: str) -> None:
        self._refuses(root, FEATURES, BAD_FEATURES[fault](np.ones((2, 3), np.float32)))

    def _refuses(self, backend: Backend, spec: TensorSpec, bad: Any) -> None:
        with pytest.raises(SpecError) as expected:
            spec.check(bad)
        with pytest.raises(SpecError) as got:
            backend.run({spec.name: bad})
        assert str(got.value) == str(expected.value)
        assert type(got.value) is SpecError

    @pytest.mark.parametrize(
        "inputs",
        [{}, {"picture": images(1)}, {"image": images(1), "more": images(1)}, images(1), None],
        ids=["missing", "wrong name", "extra", "array", "nothing"],
    )
    def test_refuses_other_input_names(self, backend: Backend, inputs: Any) -> None:
        with pytest.raises(SpecError, match=r"expected a mapping with exactly \['image'\]"):
            backend.run(inputs)

    def test_nan_never_leaves(self, root: Backend) -> None:
        fine = np.full((2, 3), 4, np.float32)
        assert root.run({"features": fine})["probabilities"] == pytest.approx(2, abs=0.02)
        with pytest.raises(BackendError, match="NaN or infinity in output 'probabilities'"):
            root.run({"features": -fine})
        # The failure leaves nothing behind.
        assert root.run({"features": fine})["probabilities"] == pytest.approx(2, abs=0.02)

    def test_outputs_belong_to_the_caller(self, backend: Backend) -> None:
        given = images(4)
        first = backend.run({"image": given[:2]})["probabilities"]
        kept = first.copy()
        second = backend.run({"image": given[2:]})["probabilities"]
        assert not np.allclose(kept, second, atol=1e-3)
        np.testing.assert_array_equal(first, kept)
        first[...] = 7
        again = backend.run({"image": given[:2]})["probabilities"]
        np.testing.assert_array_equal(again, kept)

    def test_inputs_stay_the_caller_s(self, backend: Backend) -> None:
        given = images(2)
        given.flags.writeable = False
        first = backend.run({"image": given})["probabilities"].copy()
        other = images(2, seed=99)
        backend.run({"image": other})
        np.testing.assert_array_equal(given, images(2))
        np.testing.assert_array_equal(backend.run({"image": given})["probabilities"], first)

    def test_many_threads_at_once(self, backend: Backend) -> None:
        self._hammer(backend, threads=8, calls=300)

    @pytest.mark.slow
    def test_very_many_threads_at_once(self, backend: Backend) -> None:
        self._hammer(backend, threads=32, calls=10_000)

    def _hammer(self, backend: Backend, *, threads: int, calls: int) -> None:
        given = images(40)
        single = [backend.run({"image": one[None]})["probabilities"] for one in given]
        pairs = [backend.run({"image": given[i : i + 2]})["probabilities"] for i in range(39)]

        def work(seed: int) -> int:
            random = np.random.default_rng(seed)
            wrong = 0
            for start, size in zip(
                random.integers(0, 39, calls), random.integers(1, 3, calls), strict=True
            ):
                got = backend.run({"image": given[start : start + size]})["probabilities"]
                expected = (single if size == 1 else pairs)[start]
                wrong += got.shape != expected.shape or abs(got - expected).max() > 1e-5
            return wrong

        with ThreadPoolExecutor(threads) as pool:
            assert sum(pool.map(work, range(threads))) == 0

    def test_after_close_nothing_runs(self) -> None:
        backend = self.open(self.image_model())
        backend.run({"image": images(1)})
        backend.close()
        backend.close()
        with pytest.raises(BackendError, match=r"after close\(\)"):
            backend.run({"image": images(1)})
        with pytest.raises(BackendError, match=r"after close\(\)"):
            describe(backend)

    def test_closing_during_calls_is_one_clear_error(self) -> None:
        backend = self.open(self.image_model())
        given = {"image": images(1)}
        right = backend.run(given)["probabilities"]

        def work(_: int) -> str:
            try:
                while True:
                    np.testing.assert_array_equal(backend.run(given)["probabilities"], right)
            except BackendError as error:
                return str(error)

        with ThreadPoolExecutor(4) as pool:
            ends = [pool.submit(work, n) for n in range(4)]
            backend.run(given)
            backend.close()
            assert all("after close()" in end.result(60) for end in ends)

    def test_describe_says_what_was_asked_and_got(self, backend: Backend) -> None:
        execution = describe(backend)
        assert execution.backend == self.name
        assert execution.threads == 1
        assert execution.version and execution.device
        if self.layers is None:
            assert execution.layers == ()
            return
        for kind, precisions in self.layers.items():
            found = {layer.precision for layer in execution.layers if layer.type == kind}
            assert found == precisions, (kind, execution.histogram())

    def test_describe_leaves_the_answers_alone(self, backend: Backend) -> None:
        before = backend.run({"image": images(2)})["probabilities"]
        describe(backend)
        np.testing.assert_array_equal(backend.run({"image": images(2)})["probabilities"], before)

    def test_a_forked_process_is_told_so_and_ends(self, tmp_path: Path) -> None:
        script = self.script(tmp_path) + textwrap.dedent(f"""
            import os, signal, sys, warnings
            import numpy as np
            from edgetl.errors import BackendError
            warnings.simplefilter("ignore")
            given = {{"image": np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8)}}
            before = backend.run(given)["probabilities"]
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                try:
                    backend.run(given)
                except BackendError as error:
                    assert "forked after the model was loaded" in str(error), error
                    backend.close()
                    del backend
                    sys.exit(7)
                sys.exit(1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 7, status
            np.testing.assert_array_equal(backend.run(given)["probabilities"], before)
            print("done")
        """)
        assert run_script(script, tmp_path) == "done"

    @pytest.mark.needs_strace
    def test_opens_no_network_socket(self, tmp_path: Path) -> None:
        script = self.script(tmp_path) + textwrap.dedent(f"""
            import numpy as np
            from edgetl.backends.registry import describe
            backend.run({{"image": np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8)}})
            describe(backend)
            backend.close()
            print("done")
        """)
        trace = tmp_path / "trace"
        assert run_script(script, tmp_path, trace=trace) == "done"
        assert network_calls(trace) == []
        assert not (tmp_path / "home" / "intel").exists()


def run_script(script: str, folder: Path, *, trace: Path | None = None) -> str:
    """Run Python with a home of its own, without CI's variables, which quieten telemetry."""
    quiet = ("CI", "GITHUB_", "GITLAB_", "TF_BUILD", "BUILD_", "JENKINS_", "ORT_", "TRAVIS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(quiet)}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-c", script]
    if trace is not None:
        calls = "trace=socket,connect,sendto,sendmsg,sendmmsg"
        command = ["strace", "-f", "-qq", "-e", calls, "-o", str(trace), *command]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def network_calls(trace: Path) -> list[str]:
    """The lines of a trace that speak of the network."""
    return [line for line in trace.read_text().splitlines() if "AF_INET" in line]
