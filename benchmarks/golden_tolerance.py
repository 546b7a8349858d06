"""How far do probabilities move between CPUs that are all right? Grounds selftest's tolerances.

A ResNet-18 is trained for two epochs on the built-in digits, and a bundle of its five variants is
made here. Then `selftest` answers 64 golden images in fresh processes whose oneDNN (OpenVINO's
kernels) is limited to older instruction sets, with one thread and with two.

    python benchmarks/golden_tolerance.py FOLDER

ONNX Runtime has no such switch: its INT8 kernels are only tried on this CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ISAS = ("DEFAULT", "AVX512_CORE_VNNI", "AVX512_CORE", "AVX2_VNNI", "AVX2", "SSE41")
CHECK = """
import json, sys
from edgetl.runtime.selftest import selftest
report = selftest(sys.argv[1], threads=int(sys.argv[2]))
print(json.dumps({check.variant: [check.max_difference, check.top1_agreement, check.note]
                  for check in report.variants}))
"""


def make_bundle(folder: Path) -> Path:
    """Train, export, quantize, convert and pack."""
    import numpy as np
    import torch

    from edgetl.backends import registry
    from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, write_bundle
    from edgetl.compile.openvino_from_onnx import openvino_from_onnx
    from edgetl.data.decode import encode_png
    from edgetl.data.preprocess import to_batch
    from edgetl.data.sources import open_dataset
    from edgetl.export.onnx_from_torch import onnx_from_torch
    from edgetl.quantize.qdq import int8_from_fp32
    from edgetl.reference.network import Preprocess, build_network, head_layer
    from edgetl.runtime.answers import answers
    from edgetl.spec import Head, ImageInput, Precision, Variant

    torch.manual_seed(0)
    spec = ImageInput(height=64, width=64)
    digits = open_dataset("builtin:digits")
    batch = to_batch(digits.images, spec)
    network = build_network("resnet18", 10, spec)
    prepare = Preprocess(spec)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(2):
        for rows in torch.randperm(1500).split(32):
            logits = network(prepare(torch.from_numpy(batch[rows.numpy()])))
            loss = torch.nn.functional.cross_entropy(
                logits, torch.from_numpy(digits.labels[rows.numpy()]), label_smoothing=0.1
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    head = Head(layer=head_layer(network, "resnet18"), classes=digits.classes)
    model = onnx_from_torch(network.eval(), input=spec, head=head)
    quantized = int8_from_fp32(model, {"image": batch[:256]})
    models = {"models/fp32.onnx": model, "models/int8.onnx": quantized}
    for name, source in (("fp32", model), ("int8", quantized)):
        models[f"models/{name}.xml"], models[f"models/{name}.bin"] = openvino_from_onnx(source)
    fp32_ir, int8_ir = (
        tuple(f"models/{name}.{end}" for end in ("xml", "bin")) for name in ("fp32", "int8")
    )
    rows = (
        ("ort-fp32", "onnxruntime", Precision.FP32, ("models/fp32.onnx",)),
        ("ort-int8", "onnxruntime", Precision.INT8, ("models/int8.onnx",)),
        ("openvino-fp32", "openvino", Precision.FP32, fp32_ir),
        ("openvino-bf16", "openvino", Precision.BF16, fp32_ir),
        ("openvino-int8", "openvino", Precision.INT8, int8_ir),
    )
    variants = tuple(
        ManifestVariant(variant=Variant(id=id, backend=backend, precision=precision, files=files))
        for id, backend, precision, files in rows
    )
    golden = tuple(encode_png(image) for image in digits.images[1600:1664])
    own = {}
    for one in variants:
        files = {path: models[path] for path in one.variant.files}
        backend = registry.load(one.variant, files)
        own[one.variant.id] = answers(backend, golden, spec, classes=10)
        backend.close()
    reference = own["ort-fp32"]
    right = (reference.argmax(axis=1) == digits.labels[1600:1664]).mean()
    print(f"top-1 on the golden images {right:.3f}, mean confidence {reference.max(1).mean():.3f}")
    print("own answers against FP32, largest difference:")
    for name, probabilities in own.items():
        print(f"  {name:14} {np.abs(probabilities - reference).max():.2g}")
    return write_bundle(
        folder,
        BundleContent(
            name="tolerance",
            version="1",
            classes=digits.classes,
            input=spec,
            variants=variants,
            models=models,
            golden=GoldenSet(kind="real", inputs=golden, reference=reference, answers=own),
        ),
    )


def main() -> None:
    """Print, for each instruction set and thread count, the largest difference of each variant."""
    bundle = make_bundle(Path(sys.argv[1]))
    for isa in ISAS:
        for threads in ("1", "2"):
            environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
            done = subprocess.run(
                [sys.executable, "-c", CHECK, str(bundle), threads],
                env=environment, capture_output=True, text=True, check=True,
            )  # fmt: skip
            for name, (difference, top1, note) in json.loads(done.stdout).items():
                found = note if difference is None else f"{difference:.2g}, top-1 {top1:.3f}"
                print(f"{isa:17} threads {threads}  {name:14} {found}")


if __name__ == "__main__":
    main()
