"""`edgetl finetune`: train what a config says, or choose a recipe for plain data and train it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.cli.release_commands import plan_command, terminable
from edgetl.errors import UsageError
from edgetl.extras import extra
from edgetl.files import parse_json, write_atomic

if TYPE_CHECKING:
    from edgetl.pipeline.finetune_config import FinetunePlan, Wishes
    from edgetl.pipeline.processes import Launch

SCHEMA = "edgetl.finetune/1"
_STAGE = "finetune"
_CONFIG = ".toml"
_WISHES = ("recipe", "architecture", "weights", "epochs", "batch_size", "size", "seed")
_OF_A_SEARCH = ("search", "storage", "timeout", "ray")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a call is about, its options checked.

    Attributes:
        config: The config's file; it may not be there yet.
        plan: What was chosen for plain data; None for a config.
        fixed: Keys of ``[finetune]`` that options decide.
        launch: In how many processes to train.
    """

    config: Path
    plan: FinetunePlan | None
    fixed: Mapping[str, Any]
    launch: Launch


def finetune_command(options: argparse.Namespace) -> int:
    """Train, search, or take part in another machine's training; 0."""
    with extra("gate"):
        request = _request(options)
    if request.plan is not None and not _is_silent(options):
        _show_choice(request.plan)
    if options.dry_run:
        return _dry_run(options, request)
    if request.plan is not None:
        _write_config(options, request.config, request.plan)
    if options.trials is not None:
        from edgetl.cli.finetune_search import search_command

        return search_command(options, request.config, request.fixed)
    if request.launch.rank > 0:
        return _take_part(options, request)
    return _train(options, request)


def _request(options: argparse.Namespace) -> Request:
    from edgetl.pipeline.finetune_config import plan_finetune, source_of
    from edgetl.pipeline.init import name_of_source
    from edgetl.pipeline.processes import Launch

    launch = Launch(
        processes=options.processes,
        machines=options.machines,
        rank=options.rank,
        address=options.address,
    )
    _check_options(options, launch)
    wishes = _wishes(options)
    if options.data.endswith(_CONFIG):
        config = Path(options.data)
        check_file(config, "a release config (TOML)")
        _check_beside_config(options)
        check_outputs(options, "json", inputs=[config])
        return Request(config=config, plan=None, fixed=wishes.keys, launch=launch)
    check_outputs(options, "json")
    source = source_of(options.data)
    named: Path | None = options.config
    config = Path(f"{name_of_source(source)}{_CONFIG}") if named is None else named
    plan = plan_finetune(source, wishes=wishes, base=config.parent, name=_name(config))
    _check_place(options, config, plan)
    return Request(config=config, plan=plan, fixed=wishes.keys, launch=launch)


def _name(config: Path) -> str:
    from edgetl.pipeline.init import config_name

    return config_name(config.stem)


def _wishes(options: argparse.Namespace) -> Wishes:
    from edgetl.pipeline.finetune_config import Wishes
    from edgetl.pipeline.finetune_keys import read_settings

    named = {name: getattr(options, name) for name in _WISHES}
    return Wishes(**named, settings=read_settings(options.set))


def _check_options(options: argparse.Namespace, launch: Launch) -> None:
    """Refuse an option that says how where nothing was asked for."""
    searching = options.trials is not None
    for name in _OF_A_SEARCH:
        if getattr(options, name) and not searching:
            raise UsageError(
                f"--{name}",
                got="given without --trials",
                expected="a search, whose trials it is about",
                fix="add --trials N, or leave it out",
            )
    if searching and not launch.alone:
        raise UsageError(
            "--trials",
            got="given beside --processes or --machines",
            expected="trials that train in one process each",
            fix="start the same search several times on one --storage, or name a --ray cluster",
        )
    if searching and _baselines(options):
        raise UsageError(
            "--trials",
            got="given beside a baseline",
            expected="one classifier to hold against it",
            fix="search first, then add the baseline to the best trial's config",
        )
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(
            f"--timeout {options.timeout:g}",
            got="no time above 0",
            expected="minutes",
            fix="write it as --timeout 30",
        )


def _check_beside_config(options: argparse.Namespace) -> None:
    """A config says all of it: an option would train what the file does not say."""
    given = [name for name in _WISHES if getattr(options, name) is not None]
    given += ["set"] if options.set else []
    searched = options.trials is not None
    refused = [name for name in given if not searched or name in ("size", "seed")]
    if options.config is not None:
        refused.append("config")
    if refused:
        option = f"--{refused[0].replace('_', '-')}"
        raise UsageError(
            option,
            got=f"given beside the config {options.data}",
            expected="the config's own values: a release trains what the file says",
            fix="write it into the file, or name the data in place of the config",
        )


def _check_place(options: argparse.Namespace, config: Path, plan: FinetunePlan) -> None:
    """Refuse to write over another config, before anything is trained."""
    if config.is_file() and not config.is_symlink():
        if config.read_bytes() == plan.new.text.encode():
            return
        if not options.force:
            raise UsageError(
                str(config),
                got="another config than the one that would be written",
                expected="a new file, or the same one to go on with",
                fix=f"edgetl finetune {config} trains it as it is; --config FILE writes another, "
                "--force overwrites it",
            )
    check_outputs(argparse.Namespace(force=options.force, config=config), "config")


def _is_silent(options: argparse.Namespace) -> bool:
    return bool(options.quiet or str(options.json) == "-")


def _show_choice(plan: FinetunePlan) -> None:
    from edgetl.cli.finetune_view import choice_lines

    lines = [*choice_lines(plan.new.summary, plan.facts, plan.choices)]
    lines += [f"check    {doubt}" for doubt in plan.new.check]
    print("\n".join(lines))


def _write_config(options: argparse.Namespace, config: Path, plan: FinetunePlan) -> None:
    write_atomic(config, plan.new.text.encode())
    if not _is_silent(options):
        print(f"wrote    {config}")
        sys.stdout.flush()


def _dry_run(options: argparse.Namespace, request: Request) -> int:
    """The plan of the stages; of a config that would be written, without writing it."""
    if request.plan is None:
        options.config = request.config
        return plan_command(options, _STAGE)
    from edgetl.cli.console import results_screen
    from edgetl.cli.plan_view import show_plan
    from edgetl.pipeline.release import plan_release

    plan = plan_release(request.plan.new.config, out=options.out, until=_STAGE)
    write_result(options, plan.to_json())
    if not _is_silent(options):
        print(f"writes   {request.config}")
        show_plan(plan, results_screen())
    if plan.problem is not None:
        raise plan.problem
    return 0


def _train(options: argparse.Namespace, request: Request) -> int:
    from edgetl.cli.console import Console
    from edgetl.pipeline.release import release

    console = Console(quiet=_is_silent(options))
    with terminable(), console.progress() as listen:
        result = release(
            request.config, out=options.out, until=_STAGE, listen=listen, launch=request.launch
        )
        check = _check(options, request.config, result.folder, listen)
    console.show_result(result, _STAGE)
    history = _history(result.folder)
    kept = None if history is None else history["epochs"][history["best_epoch"] - 1]
    if not _is_silent(options):
        _show_end(request, history, kept, check)
    write_result(options, _document(request, result.folder, history, kept, check))
    return 0


def _baselines(options: argparse.Namespace) -> tuple[Any, ...]:
    wanted = {
        "from-scratch": options.from_scratch or options.check_transfer,
        "source-model": options.source_model or options.check_transfer,
    }
    return tuple(name for name, asked in wanted.items() if asked)


def _check(
    options: argparse.Namespace, config: Path, folder: Path, listen: Any
) -> dict[str, Any] | None:
    baselines = _baselines(options)
    if not baselines:
        return None
    with extra("train"):
        from edgetl.pipeline.finetune_check import checked
    from edgetl.pipeline.run_folder import RunFolder

    return checked(config, RunFolder(folder), baselines, listen=listen)


def _history(folder: Path) -> dict[str, Any] | None:
    """What the stage left; None for a classifier that was trained elsewhere."""
    path = folder / _STAGE / "history.json"
    if not path.is_file():
        return None
    history: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    return history


def _show_end(
    request: Request,
    history: Mapping[str, Any] | None,
    kept: Mapping[str, Any] | None,
    check: Mapping[str, Any] | None,
) -> None:
    from edgetl.cli.finetune_view import check_lines, figures_line, next_line

    lines = []
    if history is not None and kept is not None:
        lines.append(figures_line(kept, len(history["epochs"])))
    if check is not None:
        lines += check_lines(check)
    if request.plan is not None:
        lines.append(f"change   edit {request.config}, or name it with --config and other options")
    print("\n".join([*lines, next_line(request.config)]))


def _document(
    request: Request,
    folder: Path,
    history: Mapping[str, Any] | None,
    kept: Mapping[str, Any] | None,
    check: Mapping[str, Any] | None,
) -> dict[str, Any]:
    plan = request.plan
    chosen = None
    if plan is not None:
        chosen = [
            {"key": key, "value": one.value, "why": one.why} for key, one in plan.choices.items()
        ]
    return {
        "schema": SCHEMA,
        "config": str(request.config),
        "folder": str(folder),
        "chosen": chosen,
        "device": None if history is None else history["device"],
        "processes": None if history is None else history["processes"],
        "epochs": None if history is None else len(history["epochs"]),
        "val": None
        if kept is None
        else {key: kept[key] for key in ("epoch", "top1", "nll", "ece", "entropy")},
        "transfer": check,
    }


def _take_part(options: argparse.Namespace, request: Request) -> int:
    """Train on a machine that is not the first, which has the run's folder and writes."""
    from edgetl.cli.console import Console
    from edgetl.pipeline.config import load_config
    from edgetl.pipeline.launch import STAGE, take_part
    from edgetl.pipeline.own_process import in_own_process
    from edgetl.pipeline.processes import check_launch

    config = load_config(request.config)
    check_launch(request.launch, config)
    assert config.finetune is not None
    root: Path = Path("runs") / config.name if options.out is None else options.out
    # Not in the run's folder: machine 0 makes that, and refuses one with other things in it.
    logs = Path(tempfile.mkdtemp(prefix=f"edgetl-rank-{request.launch.rank}-"))
    with terminable(), Console(quiet=_is_silent(options)).progress() as listen:
        in_own_process(
            take_part,
            root,
            request.launch,
            config.finetune.device,
            logs,
            stage=STAGE,
            log=logs / "finetune.log",
            listen=listen,
        )
    # What went wrong is read there: only a good end takes it away.
    shutil.rmtree(logs)
    if not _is_silent(options):
        print(f"done     machine 0 of {request.launch.machines} has the result, in {root}")
    return 0
