from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgetl.files import canonical_json
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.graph import STAGES, key_inputs
from edgetl.pipeline.run_folder import RunFolder, stage_key

FinishedRun = Callable[..., RunFolder]


@pytest.fixture
def finished_run() -> FinishedRun:
    """Makes a run whose stages have the records of a real one, and no real results."""

    def make(
        config: ReleaseConfig, root: Path, *, seconds: float = 10.0, verdict: str = "PASS"
    ) -> RunFolder:
        folder = RunFolder(root)
        with folder.locked(config.name):
            pass
        for stage in STAGES:
            inputs = key_inputs(stage, config, folder)
            made = folder.stage(stage.name)
            made.mkdir()
            (made / "made").write_text(stage.name)
            if stage.name == "data":
                sizes = {"train": 500, "val": 300, "calib": 200, "test": 797}
                splits = {name: {"images": size} for name, size in sizes.items()}
                (made / "splits.json").write_bytes(canonical_json({"splits": splits}))
            if stage.name == "gate":
                (made / "verdict.json").write_bytes(canonical_json({"verdict": verdict}))
            folder.write_record(made, key=stage_key(inputs), inputs=inputs, seconds=seconds)
        return folder

    return make
