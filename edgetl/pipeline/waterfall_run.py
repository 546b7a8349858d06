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
from edgetl.pipeline.graph import STAGES, key_inputs
from edgetl.pipeline.run_folder import RunFolder

_NAME = "waterfall"
# The last first: its message names the command that makes all the others too.
_NEEDED = ("compile", "quantize", "export", "calibrate", "finetune", "data")
# The stage whose checkpoint is the reference.
_ASKED = "calibrate"


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
        UsageError: When the gate has not been run, or not since the candidates were compiled, or
            what it stored is damaged.
    """
    folder = context.folder
    folder.outputs("gate")
    if _made_from(folder, "gate", "needs").get("compile") != folder.outputs("compile"):
        raise _mismatch(
            folder, "gate", got="winners among candidates that were compiled anew since"
        )
    try:
        entries: list[dict[str, Any]] = context.json("gate", "selection.json")["entries"]
        winners = tuple(str(entry["id"]) for entry in entries if entry["chosen"])
        fastest = str(min(entries, key=lambda entry: float(entry["p50_ms"]))["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise _mismatch(
            folder, "gate", got=f"a selection.json that it did not write ({error!r:.60})"
        ) from error
    return winners or (fastest,)


def _check_stages(config: ReleaseConfig, folder: RunFolder) -> None:
    """Refuse a run without the stages, of another config, or not made from one another."""
    table = json.loads(json.dumps(config.to_json()))
    stages = {stage.name: stage for stage in STAGES}
    for name in _NEEDED:
        folder.outputs(name)
        made_from = _made_from(folder, name, "config")
        for section in stages[name].sections:
            if made_from.get(section) != table[section]:
                raise _mismatch(
                    folder, name, got=f"a result for another [{section}] than the config has now"
                )
        for other in stages[name].needs:
            # Otherwise a step would be blamed for what is another network's, or other data's.
            if _made_from(folder, name, "needs").get(other) != folder.outputs(other):
                raise _mismatch(
                    folder, name, got=f"a result from before stage {other} gave another one"
                )
    # The reference is asked anew: of other code than the candidates were made from it says nothing.
    code = key_inputs(stages[_ASKED], config, folder)["outside"]
    if _made_from(folder, _ASKED, "outside") != code:
        raise _mismatch(folder, _ASKED, got="a result of other code than the network has now")


def _made_from(folder: RunFolder, name: str, what: str) -> dict[str, Any]:
    """What a stage was made from, as its record has it: ``config``, ``needs``, ``outside``."""
    found: dict[str, Any] = (folder.record(name) or {}).get("inputs", {}).get(what, {})
    return found


def _mismatch(folder: RunFolder, name: str, *, got: str) -> UsageError:
    return UsageError(
        f"{folder.root}: stage {name}",
        got=got,
        expected="a run of this config and this code",
        fix="run `edgetl release CONFIG` again, or name the run's folder with --out",
    )
