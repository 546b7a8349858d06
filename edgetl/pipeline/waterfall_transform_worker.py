"""The process that runs the user's own transform, and the reference behind it, on val pictures.

`python -m edgetl.pipeline.waterfall_transform_worker` is started by
`edgetl.pipeline.waterfall_transform`, which documents the outside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.data.store import SplitStore
from edgetl.errors import EdgetlError
from edgetl.export.own_decoder import own_decoder, own_picture
from edgetl.export.preprocess_causes import normalised, pixel_scale
from edgetl.export.preprocess_parity import transformed
from edgetl.pipeline.process import error_to_json
from edgetl.process_exit import end_process
from edgetl.reference.description import read_description
from edgetl.reference.framing import write_frame
from edgetl.reference.normalised import normalised_network
from edgetl.reference.user_code import load_object
from edgetl.spec import Array, ImageInput

_BATCH = 32

Picture = Callable[[int], Image.Image]


def main() -> int:
    """Run the job that standard input names, and answer on standard output."""
    # What the user's code prints must not get between the frames.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.buffer.read())
    try:
        _run(job, target)
    except EdgetlError as error:
        write_frame(target, {"kind": "error", "error": error_to_json(error)})
        return error.exit_code
    return 0


def _run(job: dict[str, Any], target: IO[bytes]) -> None:
    checkpoint, code = Path(job["checkpoint"]), Path(job["code"])
    torch.set_num_threads(job["threads"])
    description, _ = read_description(checkpoint)
    spec = description.input
    images = SplitStore(Path(job["splits"])).load("val").first(job["images"]).images
    assert isinstance(spec, ImageInput) and not isinstance(images, SeveralSamples)
    transform = load_object(job["transform"], code)
    predict = normalised_network(checkpoint, code=code, threads=job["threads"])
    loaders = _loaders(images, transform, spec)
    answers: dict[str, list[NDArray[np.float64]]] = {name: [] for name in loaders}
    worst, total = 0.0, 0.0
    for start in range(0, len(images), _BATCH):
        part = range(start, min(start + _BATCH, len(images)))
        batches = {
            name: np.stack([transformed(picture(at), transform, spec, at=at) for at in part])
            for name, picture in loaders.items()
        }
        for name, batch in batches.items():
            answers[name].append(predict(batch))
        ours = np.stack([normalised(np.asarray(images[at]), spec) for at in part])
        apart = np.abs(ours.astype(np.float64) - batches["transformed"]) * pixel_scale(spec)
        worst, total = max(worst, float(apart.max())), total + float(apart.mean()) * len(part)
        write_frame(target, {"kind": "progress", "done": part.stop})
    write_frame(
        target,
        {
            "kind": "answer",
            "pixel_difference": worst,
            "mean_pixel_difference": total / len(images),
        },
        {name: np.concatenate(found) for name, found in answers.items()},
    )


def _loaders(images: EncodedImages | Array, transform: Any, spec: ImageInput) -> dict[str, Picture]:
    """How a picture gets to the transform: the user's own way, where there is one, and edgetl's."""
    mode = "L" if spec.channels == "grey" else "RGB"

    def decoded(at: int) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(images[at])).convert(mode)

    decode = own_decoder(transform, images)
    if decode is None or not isinstance(images, EncodedImages):
        return {"transformed": decoded}
    encoded = images.encoded
    return {"decoded": lambda at: own_picture(decode, encoded[at], at), "transformed": decoded}


if __name__ == "__main__":
    end_process(main())
