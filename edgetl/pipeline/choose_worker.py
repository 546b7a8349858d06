"""The process of one step of a comparison: `python -m edgetl.pipeline.choose_worker`."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from edgetl.files import atomic_folder
from edgetl.gate.toml_table import build
from edgetl.pipeline.choose_graph import STEPS, BackboneFolder
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.graph import key_inputs
from edgetl.pipeline.worker import main
from edgetl.process_exit import end_process

# screen and measure never import torch: it is not there while latency is measured.
_MODULES = {
    "shape": "edgetl.pipeline.choose_shape",
    "screen": "edgetl.pipeline.choose_screen",
    "probe": "edgetl.pipeline.choose_probe",
    "measure": "edgetl.pipeline.choose_measure",
}


def run_step(job: dict[str, Any], reporter: Reporter) -> None:
    """Run one step into a temporary folder that takes its place when it is whole."""
    config = build(ReleaseConfig, job["config"], "config")
    folder = BackboneFolder.of(Path(job["root"]))
    stage = next(stage for stage in STEPS if stage.name == job["stage"])
    inputs = key_inputs(stage, config, folder)
    context = StageContext(config=config, folder=folder, reporter=reporter, scratch=folder.root)
    module = importlib.import_module(_MODULES[stage.name])
    began = time.monotonic()
    with atomic_folder(folder.stage(stage.name)) as out:
        module.run(context, out)
        folder.write_record(out, key=job["key"], inputs=inputs, seconds=time.monotonic() - began)


if __name__ == "__main__":
    end_process(main(run_step))
