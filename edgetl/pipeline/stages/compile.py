"""The compile stage: what each backend loads, and in which precision it really executes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from edgetl.backends import registry
from edgetl.backends.registry import Execution
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.files import write_atomic, write_json
from edgetl.pipeline.context import StageContext


def run(context: StageContext, out: Path) -> None:
    """Compile each candidate, load it once, and record what its backend made of it."""
    names = context.config.compile.variants
    executions = {}
    for done, name in enumerate(names):
        context.reporter.progress("compiling", done, len(names))
        model = (context.folder.stage("quantize") / f"{name}.onnx").read_bytes()
        variant = context.candidate(name)
        contents = openvino_from_onnx(model) if variant.backend == "openvino" else (model,)
        for file, content in zip(variant.files, contents, strict=True):
            write_atomic(out / file, content)
        with context.variant(variant, files_root=out) as backend:
            execution = registry.describe(backend)
        executions[name] = asdict(execution)
        context.reporter.note(f"{name}: {_layers(execution)}")
    write_json(out / "execution.json", executions)


def _layers(execution: Execution) -> str:
    counts = Counter(layer.precision for layer in execution.layers)
    return ", ".join(f"{count} layers {name}" for name, count in counts.most_common())
