"""Source and target learnt together: one body, a head for each task, a weight that changes.

The loss is CE(target) + λ · CE(source). The body is shared and each task has a head of its own:
the published loop assigned the source's head to the target's on every pass, so that the target was
classified by whatever the source had left there. λ follows a schedule over the training:
`constant`, `linear-down` (the target has the last word) or `ramp`.

`--method dann` adds a discriminator of domains behind a gradient reversal, `--method coral` the
distance of the two domains' covariances, each beside the source's labels.

    python export/recipes/joint_source_target.py --out runs/joint
    python export/recipes/joint_source_target.py --out runs/dann --method dann
    python export/recipes/joint_source_target.py --out tried --quick --data folder:photos

Without --data the target is 20 images a class of scikit-learn's digits, and the source rendered
letters. The same images are learnt a second time without the source, so that one sees whether it
helped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from recipe_parts import RELEASE, finish, history, kept, parser_of, quick, run

from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.sections import DataConfig, FinetuneSection, InputConfig, SourceSection

METHODS = ("joint", "dann", "coral")
SCHEDULES = ("constant", "linear-down", "ramp")


def main() -> int:
    """Learn with the source and without, compare on val, release the one with it."""
    parser = parser_of(__doc__, data="builtin:digits")
    parser.add_argument("--source", default="builtin:letters", metavar="SOURCE")
    parser.add_argument("--method", choices=METHODS, default="joint")
    parser.add_argument("--schedule", choices=SCHEDULES, default="linear-down")
    parser.add_argument("--weight", type=float, default=1.0, metavar="λ")
    options = parser.parse_args()
    wanted = config(options)
    assert wanted.finetune is not None
    alone = replace(wanted, finetune=replace(wanted.finetune, source=None))
    run(alone, options.out / "without_source", until="finetune")
    run(wanted, options.out / RELEASE, until="finetune")
    return finish(run(wanted, options.out / RELEASE), compared(options), options)


def config(options: argparse.Namespace) -> ReleaseConfig:
    """The release with the source beside the target."""
    whole = ReleaseConfig(
        schema="edgetl.config/1",
        name="joint_source_target",
        version="1.0.0",
        data=DataConfig(source=options.data, per_class=20, val=200, calib=200, test=1_000),
        input=InputConfig(height=32, width=32),
        finetune=FinetuneSection(
            architecture="resnet18",
            weights="none",
            recipe="full",
            epochs=30,
            batch_size=32,
            learning_rate=1e-3,
            patience=30,
            source=SourceSection(
                data=options.source,
                method=options.method,
                weight=options.weight,
                schedule=options.schedule,
                per_class=100,
                batch_size=64,
            ),
        ),
    )
    if not options.quick:
        return whole
    assert whole.finetune is not None and whole.finetune.source is not None
    source = replace(whole.finetune.source, per_class=4, batch_size=16)
    return replace(
        quick(whole),
        data=replace(whole.data, per_class=4, val=40, calib=40, test=300),
        finetune=replace(whole.finetune, epochs=2, source=source),
    )


def compared(options: argparse.Namespace) -> dict[str, Any]:
    """Both trainings' kept epochs on val, and what the terms came to."""
    sides = {"with the source": options.out / RELEASE, "without": options.out / "without_source"}
    found = {name: kept(folder) for name, folder in sides.items()}
    print(f"val, before any temperature ({options.method}, λ = {options.weight:g}):")
    for name, epoch in found.items():
        print(f"  {name:16} top-1 {epoch['top1']:.4f}, NLL {epoch['nll']:.4f}")
    terms = [epoch.get("terms", {}) for epoch in history(options.out / RELEASE)["epochs"]]
    for name in terms[-1]:
        print(f"  {name}: {terms[0][name]:.4f} in the first epoch, {terms[-1][name]:.4f} at last")
    return {"method": options.method, "val": found, "terms": terms}


if __name__ == "__main__":
    sys.exit(main())
