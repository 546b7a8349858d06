"""A search on a Ray cluster: Ray Tune places the trials, the shared Optuna study decides them.

Every trial asks the same storage for its values, so that a search may go on with Ray, without it,
or both at once. The run's folder, and a storage that is a file, must lie where every node of the
cluster has them under the same path, and edgetl must be installed on each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgetl.errors import UnavailableError
from edgetl.extras import extra
from edgetl.pipeline.events import Reporter, ignore
from edgetl.pipeline.tune import SearchJob, begin, missing, one_trial, search_result
from edgetl.pipeline.tune_result import SearchResult


@dataclass(frozen=True, kw_only=True)
class SearchOnRay:
    """`edgetl.pipeline.tune.search`, its trials on a cluster.

    Attributes:
        address: As ``ray.init`` takes it: ``auto``, ``ray://HOST:PORT``, or ``local`` for a
            cluster of this machine alone.
    """

    address: str

    def __call__(self, reporter: Reporter, job: SearchJob) -> SearchResult:
        """Run the trials that are missing, as many at once as the cluster has room for.

        Raises:
            MissingExtraError: Without Ray.
            UnavailableError: When no cluster answers at the address.
            UsageError: When the storage cannot be opened.
        """
        with extra("ray"):
            import ray
            from ray import tune
        try:
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UnavailableError(
                f"--ray {self.address}",
                got=str(error).strip().splitlines()[0],
                expected="a Ray cluster that can be reached",
                fix="start one (ray start --head), or correct the address",
            ) from error
        try:
            study = begin(job)
            job = replace(job, root=job.root.resolve())
            reporter.note(
                f"{missing(study, job)} trials on {int(ray.cluster_resources()['CPU'])} CPUs"
            )
            tuner = tune.Tuner(
                tune.with_resources(tune.with_parameters(_on_a_node, job=job), _resources(job)),
                tune_config=tune.TuneConfig(
                    num_samples=missing(study, job), time_budget_s=job.seconds
                ),
                run_config=tune.RunConfig(
                    name=job.study, storage_path=str(job.root / "search" / "ray"), verbose=0
                ),
            )
            if missing(study, job):
                failed = tuner.fit().errors
                if failed:
                    raise failed[0]
            return search_result(study, job)
        finally:
            ray.shutdown()


def _resources(job: SearchJob) -> dict[str, float]:
    """What a trial takes of a node: the release's threads, and a GPU where one is insisted on."""
    config = job.release()
    assert config.finetune is not None
    gpus = {"gpu": 1.0} if config.finetune.device == "cuda" else {}
    return {"cpu": float(config.used_threads), **gpus}


def _on_a_node(_values: dict[str, Any], *, job: SearchJob) -> None:
    """One trial of the study; Ray gives it no values, the study does."""
    from ray import tune

    study = begin(job)
    done = one_trial(study, job, Reporter("search", ignore))
    tune.report({"begun": done})
