"""Baselines beside a finetune stage: from scratch, and the source model; kept in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.errors import ConfigError
from edgetl.files import atomic_folder, parse_json, write_json
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Listener, Reporter
from edgetl.pipeline.own_process import in_own_process
from edgetl.pipeline.run_folder import RECORD, RunFolder
from edgetl.pipeline.transfer_check import TRANSFER_FILE, Baseline

STAGE = "finetune"
_KEYS: Mapping[Baseline, str] = {"from-scratch": "from_scratch", "source-model": "source_model"}


def checked(
    config: Path, folder: RunFolder, baselines: tuple[Baseline, ...], *, listen: Listener
) -> dict[str, Any]:
    """Make the baselines of a finished finetune stage, or take them from an earlier call.

    The document joins the stage's folder, so that the report shows it. Stages that were made
    before from that folder are then made again by the next release.

    Args:
        config: The release's.
        folder: The run's, whose finetune stage is current.
        baselines: Which to make.
        listen: Hears the training of the one from scratch.

    Returns:
        The document ``edgetl.transfer-check/1``.

    Raises:
        ConfigError: For a config with [model]: nothing was trained here.
        EdgetlError: What training refuses.
    """
    loaded = load_config(config)
    if loaded.finetune is None:
        raise ConfigError(
            "--check-transfer",
            got="a config with [model], which was trained elsewhere",
            expected="[finetune], to train the baselines alike",
            fix="leave it out",
        )
    with folder.locked(loaded.name):
        found = _kept(folder, baselines)
        if found is None:
            found = in_own_process(
                _check,
                loaded.to_table(),
                folder.root,
                baselines,
                stage=STAGE,
                log=folder.root / "logs" / "transfer-check.log",
                listen=listen,
            )
            _keep(folder, found)
    return found


def _kept(folder: RunFolder, baselines: tuple[Baseline, ...]) -> dict[str, Any] | None:
    path = folder.stage(STAGE) / TRANSFER_FILE
    if not path.is_file():
        return None
    document: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    whole = all(
        document[_KEYS[name]] is not None or name in document["missing"] for name in baselines
    )
    return document if whole else None


def _keep(folder: RunFolder, document: Mapping[str, Any]) -> None:
    """Add the document to the stage, which stays current: its record then lists one file more."""
    record = folder.record(STAGE)
    assert record is not None
    made = folder.stage(STAGE)
    with atomic_folder(made) as out:
        shutil.copytree(made, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(RECORD))
        write_json(out / TRANSFER_FILE, document)
        folder.write_record(
            out, key=record["key"], inputs=record["inputs"], seconds=record["seconds"]
        )


def _check(
    reporter: Reporter, table: dict[str, Any], root: Path, baselines: tuple[Baseline, ...]
) -> dict[str, Any]:
    """In a process of its own: torch is loaded here."""
    from edgetl.pipeline.negative_transfer import check_finetuned
    from edgetl.pipeline.stages.finetune import starting_weights

    config = build(ReleaseConfig, table, "config")
    folder = RunFolder(root)
    scratch = root / ".work" / "transfer-check"
    scratch.mkdir(parents=True, exist_ok=True)
    context = StageContext(config=config, folder=folder, reporter=reporter, scratch=scratch)
    assert config.finetune is not None
    found = check_finetuned(
        context,
        starting_weights(context, config.finetune),
        trained=folder.stage(STAGE),
        out=scratch,
        baselines=baselines,
    )
    shutil.rmtree(scratch)
    return found.to_json()
