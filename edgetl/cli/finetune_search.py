"""`edgetl finetune --trials N`: a search of hyper-parameters, and the config of its best trial."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.cli.arguments import write_result
from edgetl.cli.release_commands import terminable
from edgetl.errors import ConfigError
from edgetl.extras import extra


def search_command(options: argparse.Namespace, config: Path, fixed: Mapping[str, Any]) -> int:
    """Search from a config; 0 when a trial was complete."""
    with extra("gate"):
        from edgetl.cli.console import Console, results_screen
        from edgetl.cli.finetune_view import next_line, show_search
    from edgetl.pipeline.tune_winner import check_winner, winner_path

    silent = options.quiet or str(options.json) == "-"
    winner = winner_path(config)
    check_winner(winner, force=options.force)
    console = Console(quiet=silent)
    with terminable(), console.progress() as listen:
        root, result = _searched(options, config, fixed, listen)
    picture = _picture(root, result)
    found = _winner(config, winner, result, fixed)
    if not silent:
        show_search(result, results_screen())
        if picture is not None:
            print(f"picture  {picture}")
        if found is not None:
            print(f"wrote    {found}")
            print(next_line(found).replace("edgetl release", "edgetl finetune"))
    write_result(
        options,
        result.to_json(
            config=None if found is None else str(found),
            picture=None if picture is None else str(picture),
        ),
    )
    return 0


def _searched(
    options: argparse.Namespace, config: Path, fixed: Mapping[str, Any], listen: Any
) -> tuple[Path, Any]:
    """The run's folder and the result, from a process of its own."""
    from edgetl.pipeline.config import load_config
    from edgetl.pipeline.finetune_keys import with_values
    from edgetl.pipeline.own_process import in_own_process
    from edgetl.pipeline.release import release
    from edgetl.pipeline.tune import SearchJob, search
    from edgetl.pipeline.tune_space import default_space, read_space
    from edgetl.pipeline.tune_storage import absolute_storage, one_at_a_time

    with extra("search"):
        import optuna  # noqa: F401
    loaded = load_config(config)
    if loaded.finetune is None:
        raise ConfigError(
            "--trials",
            got="a config with [model], which is trained already",
            expected="[finetune], whose values are searched",
            fix="leave --trials out",
        )
    loaded = with_values(loaded, fixed)
    space = (
        read_space(options.search, fixed=fixed)
        if options.search
        else default_space(loaded, fixed=fixed)
    )
    # Processes that begin together: the first splits the data, the others find it done.
    with one_at_a_time(config):
        done = release(config, out=options.out, until="data", listen=listen)
    root = done.folder
    job = SearchJob(
        config=loaded.to_table(),
        root=root.resolve(),
        space=space,
        trials=options.trials,
        seconds=None if options.timeout is None else 60 * options.timeout,
        storage=absolute_storage(options.storage or str(root / "search" / "trials.log")),
        lock=config.resolve(),
    )
    function: Any = search
    if options.ray is not None:
        from edgetl.pipeline.tune_ray import SearchOnRay

        function = SearchOnRay(address=options.ray)
    result = in_own_process(function, job, stage="search", log=_log(root), listen=listen)
    return root, result


def _log(root: Path) -> Path:
    import os

    # Several processes may search in one run's folder.
    return root / "logs" / f"search-{os.getpid()}.log"


def _picture(root: Path, result: Any) -> Path | None:
    """The drawing; None where there is nothing to draw, or no matplotlib."""
    from importlib.util import find_spec

    from edgetl.pipeline.tune_picture import draw_trials

    if result.best is None or find_spec("matplotlib") is None:
        return None
    path = root / "search" / "trials.svg"
    path.parent.mkdir(exist_ok=True)
    draw_trials(path, result)
    return path


def _winner(config: Path, path: Path, result: Any, fixed: Mapping[str, Any]) -> Path | None:
    from edgetl.pipeline.tune_winner import winner_text, write_winner

    if result.best is None:
        return None
    write_winner(path, winner_text(config, result, fixed))
    return path
