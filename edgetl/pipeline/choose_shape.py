"""Candidates of a backbone's shape with random weights: latency can be measured on them at once.

Nothing is downloaded, no feature is computed; a backbone that is too slow costs no more than this.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.data.preprocess import to_inputs
from edgetl.errors import ModelError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.files import write_atomic
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.sections import FinetuneSection
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.reference.architectures import HEADS
from edgetl.reference.ending import Ending, find_answer
from edgetl.reference.heads import find_head_layer, head_layer
from edgetl.reference.network import build_network
from edgetl.spec import Head, Precision
from edgetl.train.session import seed_torch

# Any images set ranges that take as long as the right ones.
_PTQ_SAMPLES = 8


def run(context: StageContext, out: Path) -> None:
    """Build, export and quantize the network as it comes out of its factory."""
    network, head = fresh_network(context)
    fp32 = onnx_from_torch(
        network.eval(), input=context.input, head=head, opset=context.config.export.opset
    )
    some = context.splits.load("train").first(_PTQ_SAMPLES)
    int8: bytes | None = None
    for name in context.config.compile.variants:
        model = fp32
        if CANDIDATES[name].precision is Precision.INT8:
            int8 = int8 or int8_from_fp32(
                fp32, to_inputs(some.images, context.input), threads=context.threads
            )
            model = int8
        variant = context.candidate(name)
        contents = openvino_from_onnx(model) if variant.backend == "openvino" else (model,)
        for file, content in zip(variant.files, contents, strict=True):
            write_atomic(out / file, content)


def section_of(context: StageContext) -> FinetuneSection:
    """The section that names the backbone; a comparison's configs all have one."""
    assert context.config.finetune is not None
    return context.config.finetune


def fresh_network(context: StageContext) -> tuple[nn.Module, Head]:
    """The backbone with random weights and a head for the data's classes.

    Raises:
        ConfigError: For an architecture that is not known, or an input it does not take.
        ModelError: When its head cannot be found, or is not the linear layer that ends it.
    """
    section, classes = section_of(context), context.splits.classes
    seed_torch(context.config.seed)
    network = build_network(section.architecture, len(classes), context.input, code=context.code)
    layer = section.head
    if layer is None and section.architecture in HEADS:
        layer = head_layer(network, section.architecture)
    head = Head(layer=find_head_layer(network, context.input, classes, layer), classes=classes)
    answer = find_answer(network, input=context.input, head=head)
    if not answer.folds or answer.ending is not Ending.LOGITS:
        raise ModelError(
            f"backbone {section.architecture}, head '{head.layer}'",
            got="a network that does something to its head's output",
            expected="a linear layer at the end, whose inputs are the features",
            fix="leave this backbone out, or return the raw logits from its forward()",
        )
    return network, head
