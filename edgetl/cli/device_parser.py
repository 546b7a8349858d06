"""The arguments of the commands that look and ask: predict to inspect, doctor, completion."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from edgetl.cli import bundle_commands, completion_command, doctor_command
from edgetl.cli.arguments import SOURCES, add_common, positive_int, thread_count
from edgetl.cli.command_parser import Parser, add_command


def add_device_commands(commands: Any) -> None:
    """Add them in the order in which help lists them."""
    _add_predict(commands)
    _add_verify(commands)
    _add_selftest(commands)
    _add_inspect(commands)
    _add_doctor(commands)
    _add_completion(commands)


def _add_bundle(parser: Parser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .edgetl folder or zip")


def _add_choice(parser: Parser) -> None:
    parser.add_argument(
        "--backend", default="auto", metavar="NAME", help="onnxruntime, openvino or auto (auto)"
    )
    parser.add_argument("--variant", metavar="ID", help="one variant of the bundle by its id")
    parser.add_argument(
        "--threads",
        type=thread_count,
        metavar="N",
        help="threads to compute with, 1 to 1024 (all cores)",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="OpenVINO device: CPU, GPU, GPU.1, NPU, AUTO, AUTO:GPU,CPU (the variant's own)",
    )


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, which is not a number between 0 and 1")
    return value


def _add_predict(commands: Any) -> None:
    parser = add_command(
        commands,
        "predict",
        "classify images with a bundle's fastest passing variant",
        bundle_commands.predict_command,
        "edgetl predict runs/digits/bundle/digits-1.0.0.edgetl 7.png",
        "edgetl predict runs/digits/bundle/digits-1.0.0.edgetl 7.png --threshold-of-reference 0.8",
    )
    _add_bundle(parser)
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="INPUT",
        help="images (JPEG, PNG, WEBP, BMP), .npy files for a tensor classifier, or .npz files "
        "with an array for each input of a classifier of several",
    )
    _add_choice(parser)
    parser.add_argument(
        "--top-k", type=positive_int, default=5, metavar="K", help="classes to print (5)"
    )
    parser.add_argument(
        "--threshold-of-reference",
        type=_fraction,
        metavar="P",
        help="say whether the answer is accepted, at the variant's counterpart of this threshold "
        "of the reference",
    )
    parser.add_argument(
        "--keep",
        choices=("acceptance", "precision"),
        default=None,
        help="what the counterpart keeps: acceptance (how many are accepted) or precision (how "
        "many of these are right) (acceptance)",
    )
    parser.add_argument(
        "--coverage",
        type=_fraction,
        metavar="C",
        help="print the set of labels that holds the true one for this share of inputs",
    )
    parser.add_argument(
        "--method",
        choices=("lac", "aps"),
        default=None,
        help="how the set is made: lac (the smallest sets) or aps (larger where it is hard) (lac)",
    )
    parser.epilog = (
        f"{parser.epilog}\n\n--quiet prints nothing but errors, no label either; for a program "
        "to read, --json -"
    )
    add_common(parser)


def _add_verify(commands: Any) -> None:
    parser = add_command(
        commands,
        "verify",
        "check every byte of a bundle against its manifest, before anything is loaded",
        bundle_commands.verify_command,
        "edgetl verify runs/digits/bundle/digits-1.0.0.edgetl",
    )
    _add_bundle(parser)
    add_common(parser)


def _add_selftest(commands: Any) -> None:
    parser = add_command(
        commands,
        "selftest",
        "let this device answer the bundle's golden set and compare",
        bundle_commands.selftest_command,
        "edgetl selftest runs/digits/bundle/digits-1.0.0.edgetl",
    )
    _add_bundle(parser)
    _add_choice(parser)
    add_common(parser)


def _add_inspect(commands: Any) -> None:
    parser = add_command(
        commands,
        "inspect",
        "show what a bundle or a dataset holds",
        bundle_commands.inspect_command,
        "edgetl inspect runs/digits/bundle/digits-1.0.0.edgetl",
        "edgetl inspect folder:photos",
    )
    parser.add_argument(
        "bundle",
        type=Path,
        metavar="BUNDLE|DATA",
        help=f"a .edgetl folder or zip; or data as [data] source names it: {SOURCES}",
    )
    add_common(parser)


def _add_completion(commands: Any) -> None:
    parser = add_command(
        commands,
        "completion",
        "print the script that lets a shell complete commands, options and files",
        completion_command.completion_command,
        "edgetl completion bash",
    )
    parser.epilog = f"{parser.epilog}\n\n{completion_command.INSTALL}"
    parser.add_argument(
        "shell",
        choices=completion_command.SHELLS,
        metavar="SHELL",
        help="one of " + ", ".join(completion_command.SHELLS),
    )


def _add_doctor(commands: Any) -> None:
    parser = add_command(
        commands,
        "doctor",
        "show what works on this machine, and the line that mends what does not",
        doctor_command.doctor_command,
        "edgetl doctor",
    )
    parser.add_argument(
        "--timeout",
        type=positive_int,
        default=120,
        metavar="SECONDS",
        help="for one try of a backend on a device (120)",
    )
    add_common(parser)
