"""The check of negative transfer on a run whose finetune stage is finished."""

from __future__ import annotations

from pathlib import Path

from edgetl.errors import ConfigError
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.negative_transfer import check_finetuned
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.finetune import starting_weights
from edgetl.pipeline.transfer_check import BASELINES, Baseline, TransferCheck

CHECK = "transfer-check"


def check_run(
    reporter: Reporter,
    config: ReleaseConfig,
    root: Path,
    baselines: tuple[Baseline, ...] = BASELINES,
) -> TransferCheck:
    """Hold a finished run's classifier against other starts, without training it again.

    It writes ``transfer-check/transfer.json`` beside the stages: those stay current. As it trains,
    it is meant for a process of its own: ``in_own_process(check_run, config, root, baselines)``.

    Args:
        reporter: Hears the progress, the gap and the sentence.
        config: The run's.
        root: The run's folder.
        baselines: Which to make: ``"from-scratch"``, ``"source-model"`` or both.

    Raises:
        UsageError: When the finetune stage has not been run.
        ConfigError: For a config with [model]: nothing was trained.
        EdgetlError: As `edgetl.pipeline.negative_transfer.check_transfer`.
    """
    if config.finetune is None:
        raise ConfigError(
            "check of transfer",
            got="a config with [model]",
            expected="[finetune]: a classifier that edgetl trained",
            fix="train it with edgetl, or leave the check out",
        )
    folder = RunFolder(root)
    folder.outputs("finetune")
    out = folder.stage(CHECK)
    out.mkdir(exist_ok=True)
    context = StageContext(config=config, folder=folder, reporter=reporter, scratch=out)
    return check_finetuned(
        context,
        starting_weights(context, config.finetune),
        trained=folder.stage("finetune"),
        out=out,
        baselines=baselines,
    )
