"""The parser: every command with its arguments, its help and an example.

Nothing here imports a command's machinery: `--help` is quick and never loads torch.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edgetl.cli import (
    bundle_commands,
    completion_command,
    doctor_command,
    gate_command,
    init_command,
    release_commands,
    report_command,
)
from edgetl.cli.arguments import add_common, positive_int, thread_count
from edgetl.errors import UsageError
from edgetl.version import __version__

_EPILOG = """\
to begin:
  edgetl init --data folder:photos     writes photos.toml, a commented config
  edgetl release photos.toml           runs everything, up to a bundle with its proof

exit codes:
  0    done; for gate and release: PASS
  1    gate, release: FAIL; verify, selftest: this bundle or this device is not right;
       doctor: something to mend
  2    bad usage or bad input, or a fault of edgetl: one message, nothing written
  3    a backend or device that was asked for is not here
  4    gate, release: INCONCLUSIVE, with how many more labelled samples would decide it
  130  interrupted, nothing half-written
"""

STAGES = {
    "finetune": "fine-tune the network on the train split",
    "calibrate": "fit the temperature on the calib split",
    "export": "export the reference to one FP32 ONNX file and check it",
    "quantize": "make the INT8 and BF16 candidates, temperatures fitted again",
    "compile": "make what each backend loads and read back its precisions",
    "bench": "measure latency, memory and size, interleaved with the reference",
    "bundle": "pack the winners that passed, with their proof",
}


class Parser(argparse.ArgumentParser):
    """argparse, with edgetl's errors and the nearest name for a misspelt one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing argparse's own message."""
        raise UsageError(
            "command line",
            got=message,
            expected="its usage: " + " ".join(self.format_usage().split()[1:]),
            fix=f"{self.prog} --help",
        )

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise UsageError(
            str(action.metavar or action.dest),
            got=repr(value),
            expected="one of " + ", ".join(choices),
            fix=f"did you mean '{near[0]}'?" if near else f"{self.prog} --help",
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # One width wherever it is printed: docs/cli.md is generated from it.
        super().__init__(prog, width=96, max_help_position=28)
        # argparse forgets that command names are indented, and breaks the longest.
        self._action_max_length = 14


def make_parser() -> Parser:
    """The whole command line.

    Example:
        >>> make_parser().parse_args(["verify", "a.edgetl"]).bundle
        PosixPath('a.edgetl')
    """
    parser = Parser(
        prog="edgetl",
        description="Ships the fastest version of a classifier that it can prove is still that "
        "classifier.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"edgetl {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    _add_init(commands)
    _add_release(commands)
    for name, text in STAGES.items():
        if name == "bundle":
            _add_gate(commands)
        _add_stage(commands, name, text)
    _add_report(commands)
    _add_predict(commands)
    _add_verify(commands)
    _add_selftest(commands)
    _add_inspect(commands)
    _add_doctor(commands)
    _add_completion(commands)
    return parser


def _command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int], *examples: str
) -> Parser:
    epilog = "example:\n" + "\n".join(f"  {example}" for example in examples)
    parser: Parser = commands.add_parser(
        name, help=text, description=_sentence(text), epilog=epilog
    )
    parser.set_defaults(command=run)
    return parser


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _add_config(parser: Parser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the release's TOML file")
    _add_run(parser)


def _add_run(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (runs/NAME)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan with time estimates, and write nothing",
    )


def _add_init(commands: Any) -> None:
    parser = _command(
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
        help="builtin:digits, folder:DIR, csv:FILE, npz:FILE, idx:DIR or huggingface:DIR",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="timm:NAME, torchvision:NAME, python:MODULE:FACTORY or a file.onnx; without it a "
        "backbone that suits the data is fine-tuned",
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
    parser = _command(
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
    parser = _command(
        commands,
        name,
        text,
        release_commands.stage_command,
        f"edgetl {name} examples/digits.toml",
    )
    parser.set_defaults(stage=name)
    _add_config(parser)
    add_common(parser)


def _add_gate(commands: Any) -> None:
    parser = _command(
        commands,
        "gate",
        "judge a release's winners on the test split, or any two stored predictions",
        gate_command.gate_command,
        "edgetl gate examples/digits.toml",
        "edgetl gate --predictions REF.npz CAND.npz --policy policy.toml",
    )
    parser.add_argument(
        "config", type=Path, nargs="?", metavar="CONFIG", help="the release's TOML file"
    )
    _add_run(parser)
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs=2,
        metavar=("REF", "CAND"),
        help="judge stored predictions (edgetl.predictions/1) instead of a release",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the limits, as TOML")
    parser.add_argument(
        "--bench", type=Path, metavar="FILE", help="a stored edgetl.bench/1 for the latency gate"
    )
    parser.add_argument("--variant", metavar="ID", help="the candidate's id in the bench file")
    parser.add_argument(
        "--junit", type=Path, metavar="FILE", help="write the gates as JUnit XML (a file, never -)"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write a Markdown summary (a file, never -)"
    )
    add_common(parser)


def _add_report(commands: Any) -> None:
    parser = _command(
        commands,
        "report",
        "write the page that shows a release, or any two stored predictions",
        report_command.report_command,
        "edgetl report examples/digits.toml",
        "edgetl report --predictions REF.npz CAND.npz --page report.html",
    )
    parser.add_argument(
        "config", type=Path, nargs="?", metavar="CONFIG", help="the release's TOML file"
    )
    _add_run(parser)
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs=2,
        metavar=("REF", "CAND"),
        help="show stored predictions (edgetl.predictions/1) instead of a release",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the limits, as TOML")
    parser.add_argument("--page", type=Path, metavar="FILE", help="the page of stored predictions")
    add_common(parser)


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


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        "classify images with a bundle's fastest passing variant",
        bundle_commands.predict_command,
        "edgetl predict runs/digits/bundle/digits-1.0.0.edgetl 7.png",
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
    add_common(parser)


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        "check every byte of a bundle against its manifest, before anything is loaded",
        bundle_commands.verify_command,
        "edgetl verify runs/digits/bundle/digits-1.0.0.edgetl",
    )
    _add_bundle(parser)
    add_common(parser)


def _add_selftest(commands: Any) -> None:
    parser = _command(
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
    parser = _command(
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
        help="a .edgetl folder or zip; or data as [data] source names it, such as folder:DIR, "
        "csv:FILE, npz:FILE, huggingface:DIR, idx:DIR or builtin:digits",
    )
    add_common(parser)


def _add_completion(commands: Any) -> None:
    parser = _command(
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
    parser = _command(
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


def command_names(parser: Parser) -> Sequence[str]:
    """The names of all commands, in the order in which help lists them."""
    return list(command_parsers(parser))


def command_parsers(parser: Parser) -> dict[str, Parser]:
    """Each command's own parser, for the generated docs."""
    actions = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(next(actions).choices)
