"""The arguments of the commands that make a release and look at it, from init to waterfall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetl.cli import (
    init_command,
    release_commands,
    report_command,
    waterfall_command,
)
from edgetl.cli.arguments import SOURCES, add_common, positive_int
from edgetl.cli.bench_parser import add_bench
from edgetl.cli.choose_parser import add_choose
from edgetl.cli.command_parser import Parser, add_command
from edgetl.cli.finetune_parser import add_finetune
from edgetl.cli.gate_parser import add_gate, add_judged, add_run

STAGES = {
    "finetune": "fine-tune the network on the train split",
    "calibrate": "fit the temperature on the calib split",
    "export": "export the reference to one FP32 ONNX file and check it",
    "quantize": "make the INT8 and BF16 candidates, temperatures fitted again",
    "compile": "make what each backend loads and read back its precisions",
    "bench": "measure latency, memory and size, interleaved with the reference",
    "bundle": "pack the winners that passed, with their proof",
}


def add_release_commands(commands: Any) -> None:
    """Add them in the order in which they are used."""
    _add_init(commands)
    add_choose(commands)
    _add_release(commands)
    for name, text in STAGES.items():
        if name == "bundle":
            add_gate(commands)
        if name == "bench":
            add_bench(commands, text)
        elif name == "finetune":
            add_finetune(commands, "choose how to train on your data, or train as a config says")
        else:
            _add_stage(commands, name, text)
    _add_report(commands)
    _add_waterfall(commands)


def _add_config(parser: Parser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the release's TOML file")
    add_run(parser)


def _add_init(commands: Any) -> None:
    parser = add_command(
        commands,
        "init",
        "look at your data and model, and write a commented config for them",
        init_command.init_command,
        "edgetl init --data builtin:digits --out -",
        "edgetl init --data folder:photos --out pets.toml",
        "edgetl init --data folder:photos --model timm:resnet18.a1_in1k --out pets.toml",
        "edgetl init --data npz:windows.npz --model model.onnx --out windows.toml",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="SOURCE",
        help=SOURCES,
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="timm:NAME, torchvision:NAME (or NAME alone), python:MODULE:FACTORY or a file.onnx; "
        "without it a backbone that suits the data is fine-tuned",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="the model's trained weights (.safetensors, .pt), or the word factory",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the config to write (NAME.toml; - to print it)"
    )
    parser.add_argument(
        "--schema",
        action="store_true",
        help="also write the config's JSON Schema beside it, for editors",
    )
    parser.add_argument("--force", action="store_true", help="overwrite a config that exists")


def _add_release(commands: Any) -> None:
    parser = add_command(
        commands,
        "release",
        "run every stage, judge, and pack the fastest that passes",
        release_commands.release_command,
        "edgetl release examples/digits.toml",
        "edgetl release examples/digits.toml --dry-run",
    )
    _add_config(parser)
    add_common(parser)


def _add_stage(commands: Any, name: str, text: str) -> None:
    parser = add_command(
        commands,
        name,
        text,
        release_commands.stage_command,
        f"edgetl {name} examples/digits.toml",
    )
    parser.set_defaults(stage=name)
    _add_config(parser)
    add_common(parser)


def _add_report(commands: Any) -> None:
    parser = add_command(
        commands,
        "report",
        "write the page that shows a release, or any two stored predictions",
        report_command.report_command,
        "edgetl report examples/digits.toml",
        "edgetl report --predictions REF.npz CAND.npz --page report.html",
    )
    add_judged(parser)
    parser.add_argument("--page", type=Path, metavar="FILE", help="the page of stored predictions")
    add_common(parser)


def _add_waterfall(commands: Any) -> None:
    parser = add_command(
        commands,
        "waterfall",
        "show at which step a candidate's answers move away from the reference's",
        waterfall_command.waterfall_command,
        "edgetl waterfall examples/digits.toml",
        "edgetl waterfall examples/digits.toml --variant ov-int8 --images 512",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the release's TOML file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the finished run's folder (runs/NAME)"
    )
    parser.add_argument(
        "--variant", metavar="ID", help="the candidate; the gate's winners when left out"
    )
    parser.add_argument(
        "--images",
        type=positive_int,
        metavar="N",
        help="val inputs to ask ([report] waterfall_images, 256)",
    )
    add_common(parser)
