"""What every stage is given, and what several of them do alike."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.backends import registry
from edgetl.backends.base import Backend
from edgetl.data.store import SplitPart, SplitStore
from edgetl.files import parse_json
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.kept_inputs import BATCH, KeptInputs
from edgetl.pipeline.processes import ALONE, Launch
from edgetl.pipeline.run_folder import RunFolder
from edgetl.reference.client import ReferenceBackend
from edgetl.spec import ClassifierInput, Variant


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """The config, the run's folder, a voice, a scratch folder that outlives a kill, and in how
    many processes to train."""

    config: ReleaseConfig
    folder: RunFolder
    reporter: Reporter
    scratch: Path
    launch: Launch = ALONE

    @property
    def input(self) -> ClassifierInput:
        """The classifier's input."""
        return self.config.input.spec()

    def candidate(self, name: str) -> Variant:
        """A candidate's variant, on the device that the config names."""
        variant = CANDIDATES[name].variant()
        device = self.config.compile.openvino_device
        if variant.backend != "openvino" or device == "CPU":
            return variant
        return replace(variant, settings={**variant.settings, "device": device})

    @property
    def code(self) -> Path:
        """The folder of the user's own modules."""
        return Path(self.config.code)

    @property
    def threads(self) -> int:
        """What every computation uses."""
        return self.config.used_threads

    @property
    def splits(self) -> SplitStore:
        """The splits on disk; openings of the test split are recorded in the run's folder."""
        return SplitStore(
            self.folder.stage("data"), openings=self.folder.root / "test-openings.json"
        )

    def json(self, stage: str, name: str) -> Any:
        """A JSON file that an earlier stage made."""
        path = self.folder.stage(stage) / name
        return parse_json(path.read_bytes(), str(path))

    def reference(self, stage: str = "calibrate") -> ReferenceBackend:
        """The PyTorch reference in its worker process, for a `with` block."""
        return ReferenceBackend(self.folder.stage(stage), threads=self.threads, code=self.code)

    def variant(
        self, variant: Variant, *, files_root: Path | None = None
    ) -> AbstractContextManager[Backend]:
        """A candidate loaded from what the compile stage (or `files_root`) holds, for `with`."""
        root = files_root or self.folder.stage("compile")
        files = {name: (root / name).read_bytes() for name in variant.files}
        return closing(registry.load(variant, files, threads=self.threads))

    @cached_property
    def _inputs(self) -> KeptInputs:
        return KeptInputs(self.input)

    def predict(
        self, backend: Backend, part: SplitPart, *, what: str, output: str = "probabilities"
    ) -> NDArray[np.float32]:
        """A backend's answers to every image of a split, [n, classes].

        Args:
            backend: Whom to ask.
            part: The images.
            what: Said with the progress.
            output: ``probabilities``, or the reference's raw ``logits``.
        """
        answers = []
        total = len(part.labels)
        for done, inputs in enumerate(self._inputs.batches(part), start=1):
            answers.append(backend.run(inputs)[output])
            self.reporter.progress(what, min(done * BATCH, total), total)
        return np.concatenate(answers)
