"""A finished run, opened to look at it again: which run it is, and which of its candidates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgetl.errors import UsageError
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Listener, Reporter, ignore
from edgetl.pipeline.graph import STAGES
from edgetl.pipeline.run_folder import RunFolder

_NAME = "waterfall"
# The last first: its message names the command that makes all the others too.
_NEEDED = ("compile", "quantize", "export", "calibrate", "finetune", "data")


@contextmanager
def finished_run(
    config: Path, *, out: Path | None = None, listen: Listener = ignore
) -> Iterator[StageContext]:
    """A run that is finished up to its compile stage, held so that no release changes it.

    Args:
        config: The release's TOML file.
        out: The run's folder; ``runs/NAME`` when left out.
        listen: Hears what is done with it.

    Raises:
        ConfigError: When the config cannot be read.
        UsageError: When a stage has not been run, or was made from another config; when the
            folder is another release's, or a release is running in it.

    Example::

        with finished_run(Path("digits.toml")) as context:
            found = waterfall(context, "ov-int8", images=256)
    """
    settings = load_config(config)
    folder = RunFolder(Path("runs") / settings.name if out is None else out)
    folder.refuse_foreign(settings.name)
    _check_stages(settings, folder)
    with folder.locked(settings.name):
        yield StageContext(
            config=settings,
            folder=folder,
            reporter=Reporter(_NAME, listen),
            scratch=folder.root,
        )


def default_variants(context: StageContext) -> tuple[str, ...]:
    """The gate's winners, one a backend; the fastest candidate when nobody won.

    Raises:
        UsageError: When the gate has not been run.
    """
    context.folder.outputs("gate")
    entries: list[dict[str, Any]] = context.json("gate", "selection.json")["entries"]
    winners = tuple(str(entry["id"]) for entry in entries if entry["chosen"])
    if winners:
        return winners
    return (str(min(entries, key=lambda entry: float(entry["p50_ms"]))["id"]),)


def _check_stages(config: ReleaseConfig, folder: RunFolder) -> None:
    """Refuse a run without the stages, or of a config that has been changed since."""
    table = json.loads(json.dumps(config.to_json()))
    stages = {stage.name: stage for stage in STAGES}
    for name in _NEEDED:
        folder.outputs(name)
        made_from = (folder.record(name) or {}).get("inputs", {}).get("config", {})
        for section in stages[name].sections:
            if made_from.get(section) != table[section]:
                raise UsageError(
                    f"{folder.root}: stage {name}",
                    got=f"a result for another [{section}] than the config has now",
                    expected="a run of this config",
                    fix="run `edgetl release CONFIG` again, or name the run's folder with --out",
                )
