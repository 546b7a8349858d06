"""A backbone's real weights: their features, a head that is solved on them, and the candidates.

The head is the linear probe, so that what quantization does to a classifier of this backbone is
seen before anyone trains one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.calibration import fit_temperature_report
from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.extras import extra
from edgetl.files import write_atomic, write_json
from edgetl.metrics import softmax
from edgetl.pipeline.choose_graph import BackboneFolder
from edgetl.pipeline.choose_shape import fresh_network, section_of
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.stages import compile, quantize
from edgetl.pipeline.stages.export import MODEL
from edgetl.reference.network import Reference
from edgetl.spec import Head, SingleInput
from edgetl.train.backbones import load_weights
from edgetl.train.features import features_of
from edgetl.train.session import check_trainable
from edgetl.train.transferability import probe_head, transferability

SCORES = "transferability.json"
ANSWERS = "reference.npy"
"""The network's probabilities for the val split, float32 [n, classes], in its order."""

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class _Probed:
    network: nn.Module
    head: Head
    val: NDArray[np.float32]


def run(context: StageContext, out: Path) -> None:
    """Score the features, give the network the solved head, and make its candidates."""
    torch.set_num_threads(context.threads)
    network, head = _with_weights(context)
    probed = _probed(context, network, head, out)
    np.save(out / ANSWERS, probed.val, allow_pickle=False)
    # The release's own stages, on a folder that looks to them like a run.
    inside = replace(
        context,
        folder=BackboneFolder(out, context.folder.stage("data")),
        reporter=_without_notes(context.reporter),
    )
    _export(inside, probed)
    quantize.run(inside, inside.folder.stage("quantize"))
    compile.run(inside, inside.folder.stage("compile"))


def _without_notes(reporter: Reporter) -> Reporter:
    """The stages' notes are about one release: of a dozen backbones they would be a wall."""

    def hear(event: Event) -> None:
        if event.kind == "progress":
            reporter.progress(event.text, event.done, event.total)

    return Reporter(reporter.stage, hear)


def _with_weights(context: StageContext) -> tuple[nn.Module, Head]:
    section = section_of(context)
    network, head = fresh_network(context)
    weights = section.weights
    if weights == "letters":
        weights = str(
            letters_weights(
                section,
                context.input,
                threads=context.threads,
                reporter=context.reporter,
                code=context.code,
            )
        )
    load_weights(network, weights, section.architecture, head=head, input=context.input)
    network.eval()
    return network, head


def _probed(context: StageContext, network: nn.Module, head: Head, out: Path) -> _Probed:
    """The network with the head that its features ask for, and the temperature that fits it."""
    input = check_trainable(context.input)
    train = context.splits.load("train")
    context.reporter.progress("features", 0, len(train))
    features = features_of(network, head.layer, input, train)
    with extra("train"):
        from threadpoolctl import threadpool_limits
    # The solver's products are small: threads that wait for one another take ten times as long.
    with threadpool_limits(limits=1, user_api="blas"):
        scores = transferability(features, train.labels, head.classes, seed=context.config.seed)
        weight, bias = probe_head(
            features, train.labels, head.classes, weight_decay=scores.weight_decay
        )
    write_json(out / SCORES, asdict(scores))
    context.reporter.note(
        f"LogME {scores.logme:.4f} on {scores.images} images × {scores.dimensions} features; "
        f"a linear probe's top-1 {scores.probe_top1:.4f}, NLL {scores.probe_nll:.4f} "
        "(cross-validated)"
    )
    _set_head(network.get_submodule(head.layer), weight, bias)
    calib, val = context.splits.load("calib"), context.splits.load("val")
    fit = fit_temperature_report(_raw_logits(network, input, calib), calib.labels)
    temperature = 1.0 if fit.at_bound else fit.temperature
    return _Probed(
        network=network,
        head=replace(head, temperature=temperature),
        val=softmax(_raw_logits(network, input, val) / temperature).astype(np.float32),
    )


def _set_head(layer: nn.Module, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Put the solved head into the layer; one without a bias gets one, for the probe has it."""
    held = layer.weight
    assert isinstance(held, Tensor)
    with torch.no_grad():
        held.copy_(torch.from_numpy(weight).reshape(held.shape))
        layer.bias = nn.Parameter(torch.from_numpy(bias))


def _raw_logits(network: nn.Module, input: SingleInput, part: SplitPart) -> NDArray[np.float32]:
    """What the PyTorch network itself answers, float32 [n, classes]."""
    reference = Reference(network, input).eval()
    answers = []
    with torch.inference_mode():
        for start in range(0, len(part), _BATCH):
            batch = to_inputs(part.images[start : start + _BATCH], input)[input.tensor.name]
            answers.append(reference(torch.from_numpy(batch))[1].numpy())
    return np.concatenate(answers)


def _export(context: StageContext, probed: _Probed) -> None:
    """One FP32 ONNX file, held against the network's own answers."""
    section = context.config.export
    model = onnx_from_torch(
        probed.network, input=context.input, head=probed.head, opset=section.opset
    )
    some = context.splits.load("val").first(section.parity_images)
    check_parity(
        model,
        probed.val[: len(some)],
        to_inputs(some.images, context.input),
        threads=context.threads,
    )
    write_atomic(context.folder.stage("export") / MODEL, model)
