"""A search of hyper-parameters with Optuna: the NLL on val decides, test and calib stay shut.

Each trial is the finetune stage's own training with other values. Trials live in a storage that
several processes may share; the same call goes on where an earlier one stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.finetune_keys import with_values
from edgetl.pipeline.run_folder import RunFolder, stage_key
from edgetl.pipeline.tune_result import SearchResult, SearchTrial, shown
from edgetl.pipeline.tune_space import Space, suggest
from edgetl.pipeline.tune_storage import is_running, one_at_a_time, open_study, signature

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from edgetl.pipeline.tune_trial import TrialFigures

_FIGURES = ("nll", "top1", "ece", "best_epoch", "epochs", "seconds")
_WHY = "why"


@dataclass(frozen=True, kw_only=True)
class SearchJob:
    """What a search is asked for; it travels to the process that does it.

    Attributes:
        config: The release's config as a table, with the values that are fixed.
        root: The run's folder, whose data stage is done.
        space: What is varied.
        trials: How many the study is to have, those of earlier calls and other processes included.
        seconds: After which no trial begins; None for no limit.
        storage: A file for Optuna's journal, or a database's URL.
        lock: A file that exists; processes that begin together open the storage one by one.
    """

    config: Mapping[str, Any]
    root: Path
    space: Space
    trials: int
    seconds: float | None
    storage: str
    lock: Path

    def release(self) -> ReleaseConfig:
        """The config as a value."""
        return build(ReleaseConfig, dict(self.config), "config")

    @property
    def study(self) -> str:
        """The study's name: another for other data, settings or ranges."""
        table = self.config
        decided = {key: one for key, one in table["finetune"].items() if key not in self.space}
        key = stage_key(
            {
                "finetune": decided,
                "input": table["input"],
                "seed": table["seed"],
                "data": dict(RunFolder(self.root).outputs("data")),
                "space": {key: one.to_json() for key, one in self.space.items()},
            }
        )
        return f"{table['name']}-{key[:12]}"


class _PrunedError(Exception):
    """A trial that is worse than the median of the others at the same epoch."""


def search(reporter: Reporter, job: SearchJob) -> SearchResult:
    """Run trials until the study has as many as were asked for, or the time is over.

    Args:
        reporter: Hears a line a trial.
        job: What to do.

    Raises:
        UsageError: When the storage cannot be opened.
        MissingExtraError: Without Optuna.
        EdgetlError: What stops every trial, such as data that cannot be read.
        KeyboardInterrupt: After the trial that ran was put down as failed: the next call goes on.
    """
    study = begin(job)
    began = time.monotonic()
    while missing(study, job):
        if job.seconds is not None and time.monotonic() - began >= job.seconds:
            reporter.note(f"the time is over: {missing(study, job)} trials were not begun")
            break
        if not one_trial(study, job, reporter):
            break
    return search_result(study, job)


def begin(job: SearchJob) -> Study:
    """The job's study, new or as far as it is, without the trials of killed processes."""
    with one_at_a_time(job.lock):
        study = open_study(job.storage, job.study)
        if not study.get_trials(deepcopy=False):
            _enqueue_own(study, job.release(), job.space)
    _put_down_dead(study)
    return study


def missing(study: Study, job: SearchJob) -> int:
    """How many trials are still to begin."""
    return max(0, job.trials - len(_counted(study)))


def one_trial(study: Study, job: SearchJob, reporter: Reporter) -> bool:
    """Run a trial; False when other processes have begun all that were asked for meanwhile."""
    trial = study.ask()
    wanted = _is_wanted(study, trial.number, job.trials)
    if wanted:
        _run(study, trial, job.release(), job, reporter)
    return wanted


def _enqueue_own(study: Study, config: ReleaseConfig, space: Space) -> None:
    """Trial 0 has the config's own values, so that no search ends below its start."""
    section = asdict(config.finetune)  # type: ignore[arg-type]
    own = {key: section[key] for key in space}
    if all(one.holds(own[key]) for key, one in space.items()):
        study.enqueue_trial(own)


def _counted(study: Study) -> list[FrozenTrial]:
    """Trials that are done, or that a living process runs."""
    from optuna.trial import TrialState

    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        one
        for one in study.get_trials(deepcopy=False)
        if one.state in done or (one.state == TrialState.RUNNING and is_running(one))
    ]


def _put_down_dead(study: Study) -> None:
    from optuna.trial import TrialState

    for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_running(one):
            study.tell(one.number, state=TrialState.FAIL, skip_if_finished=True)


def _is_wanted(study: Study, number: int, trials: int) -> bool:
    """Whether fewer than `trials` came before: two processes may have asked for the last one."""
    from optuna.trial import TrialState

    earlier = [one for one in _counted(study) if one.number < number]
    if len(earlier) >= trials:
        study.tell(number, state=TrialState.FAIL)
    return len(earlier) < trials


def _run(
    study: Study, trial: Trial, config: ReleaseConfig, job: SearchJob, reporter: Reporter
) -> None:
    from optuna.trial import TrialState

    from edgetl.pipeline.tune_trial import RefusedError, run_trial

    for key, value in signature().items():
        trial.set_user_attr(key, value)
    study.sampler = _sampler(config.seed, trial.number)
    values = suggest(trial, job.space)

    def heard(epoch: int, nll: float, last: bool) -> None:
        trial.report(nll, epoch)
        reporter.progress(
            f"trial {trial.number}, epoch {epoch}: val NLL {nll:.4f}",
            len(_counted(study)) - 1,
            job.trials,
        )
        if not last and trial.should_prune():
            raise _PrunedError

    scratch = job.root / "search" / f"trial-{os.getpid()}-{trial.number}"
    began = time.monotonic()
    state, figures = TrialState.FAIL, None
    try:
        figures = run_trial(with_values(config, values), job.root, scratch, heard=heard)
        for key in _FIGURES:
            trial.set_user_attr(key, getattr(figures, key))
        state = TrialState.COMPLETE
    except _PrunedError:
        state = TrialState.PRUNED
        trial.set_user_attr("seconds", time.monotonic() - began)
    except (RefusedError, ConfigError) as error:
        state = TrialState.PRUNED
        trial.set_user_attr(_WHY, str(error))
    finally:
        study.tell(
            trial, None if figures is None else figures.nll, state=state, skip_if_finished=True
        )
    reporter.note(_line(study, trial.number, figures))


def _sampler(seed: int, number: int) -> Any:
    """Seeded by the trial's number: the same study gives the same values again, and processes
    that share it never draw the same ones."""
    from optuna.samplers import TPESampler

    state = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return TPESampler(seed=state, multivariate=False, constant_liar=True)


def _line(study: Study, number: int, figures: TrialFigures | None) -> str:
    frozen = study.get_trials(deepcopy=False)[number]
    values = ", ".join(f"{key} {shown(value)}" for key, value in frozen.params.items())
    if figures is None:
        why = frozen.user_attrs.get(_WHY)
        ended = f"refused: {why}" if why else f"stopped after {len(frozen.intermediate_values)}"
        return f"trial {number}: {ended}{'' if why else ' epochs, above the median'}; {values}"
    return (
        f"trial {number}: val NLL {figures.nll:.4f}, top-1 {figures.top1:.4f}, "
        f"{figures.seconds:.1f} s; {values}; best so far {study.best_value:.4f} "
        f"(trial {study.best_trial.number})"
    )


def search_result(study: Study, job: SearchJob) -> SearchResult:
    """What a study holds now.

    Raises:
        ConfigError: When every trial was refused.
    """
    from optuna.trial import TrialState

    counted = _counted(study)
    over = [one for one in counted if one.state != TrialState.RUNNING]
    trials = tuple(_trial(one) for one in over)
    if trials and all(one.state == "refused" for one in trials):
        raise ConfigError(
            "--search",
            got=f"{len(trials)} trials that could not be trained; the first: {trials[0].why}",
            expected="values that fit one another",
            fix="narrow the ranges, or change what [finetune] fixes",
        )
    return SearchResult(
        study=study.study_name,
        storage=job.storage,
        space={key: one.to_json() for key, one in job.space.items()},
        trials=trials,
        running=len(counted) - len(over),
        importance=_importance(study),
    )


def _trial(one: FrozenTrial) -> SearchTrial:
    from optuna.trial import TrialState

    facts = one.user_attrs
    refused = _WHY in facts
    pruned = one.state == TrialState.PRUNED
    return SearchTrial(
        number=one.number,
        state="refused" if refused else "pruned" if pruned else "complete",
        nll=None if refused else one.value,
        top1=facts.get("top1"),
        ece=facts.get("ece"),
        best_epoch=facts.get("best_epoch"),
        epochs=facts.get("epochs"),
        seconds=facts.get("seconds"),
        values=dict(one.params),
        why=facts.get(_WHY),
    )


def _importance(study: Study) -> dict[str, float]:
    """fANOVA needs two complete trials of different NLL."""
    with extra("train"):
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (ValueError, RuntimeError):
        return {}
    return {key: float(share) for key, share in found.items() if np.isfinite(share)}
