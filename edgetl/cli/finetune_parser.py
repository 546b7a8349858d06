"""The arguments of `edgetl finetune`: a config or data, what is decided, a search, processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetl.cli import finetune_command
from edgetl.cli.arguments import add_common, positive_int
from edgetl.cli.command_parser import Parser, add_command
from edgetl.cli.gate_parser import add_run


def add_finetune(commands: Any, text: str) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "finetune",
        text,
        finetune_command.finetune_command,
        "edgetl finetune folder:photos",
        "edgetl finetune builtin:digits --recipe full --epochs 12 --check-transfer",
        "edgetl finetune digits.toml",
        "edgetl finetune digits.toml --trials 20 --storage sqlite:///trials.db",
        "edgetl finetune digits.toml --processes 4",
    )
    parser.add_argument(
        "data",
        metavar="CONFIG|DATA",
        help="a release's TOML file; or a folder with one folder a class, a .csv or .npz file, "
        "builtin:digits, idx:DIR, …: a recipe that suits it is chosen and written to NAME.toml",
    )
    add_run(parser)
    _add_wishes(parser)
    _add_baselines(parser)
    _add_search(parser)
    _add_processes(parser)
    add_common(parser)


def _add_wishes(parser: Parser) -> None:
    group = parser.add_argument_group(
        "what DATA's config says, instead of what is chosen; with --trials, what is not searched"
    )
    group.add_argument("--config", type=Path, metavar="FILE", help="where to write (NAME.toml)")
    group.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="linear-probe, lp-ft, two-stage, gradual, full or lora",
    )
    group.add_argument(
        "--architecture",
        metavar="NAME",
        help="one of edgetl's own, mlp:WIDTHS, timm:NAME or python:MODULE:FACTORY",
    )
    group.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="imagenet or pretrained (downloaded once), letters, none, factory or a .safetensors",
    )
    group.add_argument("--epochs", type=positive_int, metavar="N", help="at most")
    group.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="samples a step, over all processes"
    )
    group.add_argument("--size", type=positive_int, metavar="PIXELS", help="pictures' two sides")
    group.add_argument("--seed", type=int, metavar="N", help="of weights, order and augmentation")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of [finetune], such as weight_decay=0.05 or l2_sp.weight=0.1; repeatable",
    )


def _add_baselines(parser: Parser) -> None:
    group = parser.add_argument_group("beside the classifier, on the same images")
    group.add_argument("--from-scratch", action="store_true", help="also train from random weights")
    group.add_argument(
        "--source-model",
        action="store_true",
        help="also solve a head on the starting weights' frozen features",
    )
    group.add_argument(
        "--check-transfer",
        action="store_true",
        help="both, and say whether transfer was negative",
    )


def _add_search(parser: Parser) -> None:
    group = parser.add_argument_group("a search: the NLL on val decides, test is never opened")
    group.add_argument(
        "--trials", type=positive_int, metavar="N", help="search until the study has N trials"
    )
    group.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="KEY=RANGE",
        help="vary this key of [finetune] and no other but those named so: LOW:HIGH, "
        "LOW:HIGH:log or a,b,c; repeatable",
    )
    group.add_argument(
        "--storage",
        metavar="FILE|URL",
        help="a journal file or sqlite:///FILE that several processes share "
        "(RUN/search/trials.log)",
    )
    group.add_argument(
        "--timeout", type=float, metavar="MINUTES", help="begin no trial after so long"
    )
    group.add_argument(
        "--ray", metavar="ADDRESS", help="run the trials on this Ray cluster (auto: the local one)"
    )


def _add_processes(parser: Parser) -> None:
    group = parser.add_argument_group("several processes train one classifier")
    group.add_argument(
        "--processes", type=positive_int, default=1, metavar="N", help="on this machine; one a GPU"
    )
    group.add_argument(
        "--machines", type=positive_int, default=1, metavar="N", help="that take part"
    )
    group.add_argument(
        "--rank", type=int, default=0, metavar="R", help="this machine's number; 0 writes"
    )
    group.add_argument(
        "--address", metavar="HOST:PORT", help="where machine 0 is reached, on every machine"
    )
