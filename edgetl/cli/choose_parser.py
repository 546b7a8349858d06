"""The arguments of `edgetl choose`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgetl.cli import choose_command
from edgetl.cli.arguments import SOURCES, add_common, positive_int, thread_count
from edgetl.cli.command_parser import add_command


def add_choose(commands: Any) -> None:
    """Add ``choose``: which backbone to fine-tune within a latency budget."""
    parser = add_command(
        commands,
        "choose",
        "rank backbones by transferability, latency and quantization harm, before training",
        choose_command.choose_command,
        "edgetl choose folder:photos --budget-ms 10",
        "edgetl choose builtin:digits --budget-ms 2 --backbones resnet18 mobilenet_v3_small",
        "edgetl choose photos.toml --budget-ms 10 --backbones resnet18=mine.safetensors resnet50",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"{SOURCES}; or a release's TOML file",
    )
    parser.add_argument(
        "--budget-ms",
        type=_number,
        required=True,
        metavar="MS",
        help="the most that the median call may take on this device",
    )
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=[],
        metavar="NAME[=WEIGHTS]",
        help="torchvision's names, timm:NAME or python:MODULE:FACTORY, each with its weights "
        "where they are its own (a usual list, small to large)",
    )
    parser.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="of backbones without their own: imagenet (timm: pretrained), letters, none, or a "
        ".safetensors file (letters for small grey pictures, imagenet otherwise)",
    )
    parser.add_argument(
        "--batch", type=positive_int, metavar="N", help="inputs in a call (the config's, or 1)"
    )
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="the config's, or all cores"
    )
    parser.add_argument(
        "--size",
        type=positive_int,
        metavar="PIXELS",
        help="the side of the input (the config's, or 32, 96 or 224 by the pictures' own size)",
    )
    parser.add_argument(
        "--images",
        type=positive_int,
        metavar="N",
        help="training images whose features are scored (500, more where a class is rare)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the comparison's folder (runs/choose-NAME)"
    )
    add_common(parser)


def _number(text: str) -> float:
    """A number, whose range the library checks."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, which is no number") from error
