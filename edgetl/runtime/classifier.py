"""What an app embeds: a verified bundle that answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgetl.backends import registry
from edgetl.backends.base import Backend
from edgetl.bundle import Bundle, Manifest, ManifestVariant, open_bundle
from edgetl.errors import UsageError
from edgetl.metrics.probability import entropy
from edgetl.runtime.answers import Source, answers, check_fit
from edgetl.runtime.lookup import Keep, threshold_for
from edgetl.runtime.prediction import LabelSets, Prediction
from edgetl.runtime.selection import select_variant
from edgetl.spec import Variant

__all__ = ["Classifier", "Prediction"]


class Classifier:
    """A bundle's model, loaded.

    One classifier may be used from any number of threads. It may not be used after a fork: load
    it in the child.

    It is a context manager::

        with Classifier.load("digits-1.0.0.edgetl") as digits:
            print(digits.predict("7.png").label)
    """

    def __init__(self, manifest: Manifest, chosen: ManifestVariant, backend: Backend) -> None:
        self._manifest = manifest
        self._chosen = chosen
        self._backend = backend
        self._sets = LabelSets(
            classes=manifest.classes, table=chosen.conformal, variant=chosen.variant.id
        )

    @classmethod
    def load(
        cls,
        bundle: str | os.PathLike[str] | Bundle,
        *,
        backend: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> Classifier:
        """Verify a bundle and load one of its variants from the verified bytes.

        Args:
            bundle: A bundle's folder or zip, or an opened one. Of a path, only the files of the
                variant that is loaded stay in memory.
            backend: A backend's name, or ``"auto"``: the fastest variant that passed the gate
                and whose backend is installed.
            variant: The id of one variant, which may be one that the gate did not pass.
            threads: CPU threads for one call; the backend's default when None.
            device: An OpenVINO device to run on, such as ``"GPU"``, ``"NPU"`` or ``"AUTO"``; the
                variant's own, the CPU, when None. The gate judged the variant on its own device:
                let `selftest` compare the answers of another.

        Raises:
            BundleError: When the bundle is not exactly what its manifest says, no variant
                passed, or the model does not fit the labels.
            UnavailableError: When the backend or the device is not here, or the device does not
                have the variant's precision. Nothing is substituted.
            UsageError: For a backend or variant that does not exist, or has no such device.
            ConfigError: For what is no name of a device.
            ModelError, BackendError: When the model is refused or cannot be loaded.
        """
        if threads is not None and threads < 1:
            raise UsageError(
                "threads", got=str(threads), expected="at least 1", fix="pass 1 or more, or none"
            )

        def choose(manifest: Manifest) -> ManifestVariant:
            return select_variant(manifest, backend=backend, variant=variant, device=device)

        if not isinstance(bundle, Bundle):
            bundle = open_bundle(Path(bundle), keep=lambda manifest: choose(manifest).variant.files)
        return cls.from_bundle(bundle, choose(bundle.manifest), threads=threads)

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, chosen: ManifestVariant, *, threads: int | None = None
    ) -> Classifier:
        """Load a given variant of an opened bundle; errors as `load`."""
        manifest = bundle.manifest
        loaded = registry.load(
            chosen.variant, bundle.variant_files(chosen.variant), threads=threads
        )
        try:
            subject = f"{bundle.location}: {chosen.variant.file}"
            check_fit(loaded, manifest.input, len(manifest.classes), subject)
        except BaseException:
            loaded.close()
            raise
        return cls(manifest, chosen, loaded)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the probabilities."""
        return self._manifest.classes

    @property
    def variant(self) -> Variant:
        """The variant that was loaded."""
        return self._chosen.variant

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._manifest

    @property
    def backend(self) -> Backend:
        """The loaded model itself, to be measured or asked what it executes."""
        return self._backend

    @overload
    def predict(
        self,
        x: Source,
        *,
        top_k: int = 5,
        threshold_of_reference: float | None = None,
        keep: Keep = "acceptance",
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        x: list[Any] | tuple[Any, ...],
        *,
        top_k: int = 5,
        threshold_of_reference: float | None = None,
        keep: Keep = "acceptance",
    ) -> list[Prediction]: ...

    def predict(
        self,
        x: Source | list[Any] | tuple[Any, ...],
        *,
        top_k: int = 5,
        threshold_of_reference: float | None = None,
        keep: Keep = "acceptance",
    ) -> Prediction | list[Prediction]:
        """Classify one input, or each of a list.

        Args:
            x: A path, an encoded image as bytes, a Pillow image, or a uint8 array [height, width]
                or [height, width, 3]; for a tensor classifier also a float32 array of its shape.
                A list or tuple of these gives a list of predictions.
            top_k: How many classes `Prediction.top` holds; all when there are fewer.
            threshold_of_reference: The confidence from which an app would act on the reference's
                answer. `Prediction.threshold` is then this variant's counterpart, from the
                bundle, and `Prediction.accepted` says whether the confidence reaches it.
            keep: What the counterpart keeps as it was: ``"acceptance"``, the share of inputs that
                are accepted, or ``"precision"``, the share of these that are right, which a
                release knows far less exactly.

        Raises:
            DataError: When an input cannot be decoded, or the list is empty.
            SpecError: When an array has another dtype or shape, or holds NaN or infinity.
            BackendError: When the backend fails or answers something other than probabilities,
                or after `close` or a fork.
            UsageError: When `top_k` is below 1; for a threshold outside of the bundle's table or
                a bundle without one.
        """
        if top_k < 1:
            raise UsageError("top_k", got=str(top_k), expected="at least 1", fix="pass 1 or more")
        threshold = None
        if threshold_of_reference is not None:
            threshold = threshold_for(
                self._chosen.thresholds, threshold_of_reference, keep, self.variant.id
            )
        inputs: Sequence[Source] = x if isinstance(x, list | tuple) else [x]
        rows = answers(
            self._backend, inputs, self._manifest.input, classes=len(self._manifest.classes)
        )
        found = [
            self._prediction(row, float(nats), top_k, threshold)
            for row, nats in zip(rows, entropy(rows), strict=True)
        ]
        return found if isinstance(x, list | tuple) else found[0]

    def close(self) -> None:
        """Release the model. Closing twice is allowed."""
        self._backend.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prediction(
        self, row: NDArray[np.float32], nats: float, top_k: int, threshold: float | None
    ) -> Prediction:
        # A copy, so that one kept prediction does not hold its whole batch in memory.
        row = row.copy()
        row.setflags(write=False)
        # Sorting the negated values stably puts the first of equal classes first.
        order = (-row).argsort(kind="stable")[:top_k]
        places: list[int] = order.tolist()
        chances: list[float] = row[order].tolist()
        classes = self._manifest.classes
        return Prediction(
            label=classes[places[0]],
            index=places[0],
            confidence=chances[0],
            probabilities=row,
            top=tuple((classes[at], p) for at, p in zip(places, chances, strict=True)),
            entropy=nats,
            threshold=threshold,
            accepted=None if threshold is None else chances[0] >= threshold,
            _sets=self._sets,
        )
