"""The adapter to Ray, against the part of Ray's interface that it uses.

With Ray 2.60 itself it was run by hand: `edgetl finetune CONFIG --trials 4 --ray local`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgetl.errors import MissingExtraError, UnavailableError
from edgetl.pipeline import tune_trial
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.release import release
from edgetl.pipeline.tune import SearchJob
from edgetl.pipeline.tune_ray import SearchOnRay
from edgetl.pipeline.tune_space import read_space


class FakeRay(types.ModuleType):
    """A cluster of four CPUs that runs trials one after the other."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.open = False
        self.reports: list[dict[str, Any]] = []
        self.asked: dict[str, Any] = {}
        self.tune = types.ModuleType("ray.tune")
        vars(self.tune).update(
            Tuner=self.tuner,
            TuneConfig=SimpleNamespace,
            RunConfig=SimpleNamespace,
            with_parameters=lambda function, **values: partial(function, **values),
            with_resources=self.with_resources,
            report=self.reports.append,
        )

    def init(self, *, address: str, **_: object) -> None:
        if address != "auto":
            raise ConnectionError("no cluster\nat all")
        self.open = True

    def shutdown(self) -> None:
        self.open = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}

    def with_resources(self, function: Callable[..., None], wanted: dict[str, float]) -> Any:
        self.asked["resources"] = wanted
        return function

    def tuner(self, function: Callable[..., None], *, tune_config: Any, run_config: Any) -> Any:
        self.asked |= {"trials": tune_config.num_samples, "path": run_config.storage_path}

        def fit() -> SimpleNamespace:
            assert self.open
            for _ in range(tune_config.num_samples):
                function({})
            return SimpleNamespace(errors=self.asked.get("errors", []))

        return SimpleNamespace(fit=fit)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.tune", fake.tune)
    return fake


@pytest.fixture(scope="module")
def root(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ray") / "run"
    return release(tiny_config, out=run, until="data").folder


@pytest.fixture
def job(
    tiny_config: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SearchJob:
    def run(config: ReleaseConfig, *_: object, heard: object) -> SimpleNamespace:
        assert config.finetune is not None
        figures = dict.fromkeys(("top1", "ece", "best_epoch", "epochs", "seconds"), 1.0)
        return SimpleNamespace(nll=config.finetune.learning_rate, **figures)

    monkeypatch.setattr(tune_trial, "run_trial", run)
    return SearchJob(
        config=load_config(tiny_config).to_table() | {"threads": 2},
        root=root,
        space=read_space(["learning_rate=1e-3:1e-2:log"]),
        trials=3,
        seconds=None,
        storage=str(tmp_path / "trials.log"),
        lock=tiny_config,
    )


def test_the_cluster_runs_what_is_missing(ray: FakeRay, job: SearchJob) -> None:
    events: list[Event] = []
    result = SearchOnRay(address="auto")(Reporter("search", events.append), job)
    assert len(result.trials) == 3 and result.best is not None
    assert ray.asked["trials"] == 3 and ray.asked["resources"] == {"cpu": 2.0}
    assert ray.asked["path"] == str(job.root / "search" / "ray") and not ray.open
    assert ray.reports == [{"begun": True}] * 3
    assert events[0].text == "3 trials on 4 CPUs"
    again = SearchOnRay(address="auto")(Reporter("search", events.append), job)
    assert again.trials == result.trials and len(ray.reports) == 3


def test_what_fails_on_a_node_is_raised(ray: FakeRay, job: SearchJob) -> None:
    ray.asked["errors"] = [RuntimeError("a node's fault")]
    with pytest.raises(RuntimeError, match="a node's fault"):
        SearchOnRay(address="auto")(Reporter("search", print), job)
    assert not ray.open


def test_no_cluster(ray: FakeRay, job: SearchJob) -> None:
    with pytest.raises(UnavailableError, match="no cluster"):
        SearchOnRay(address="ray://nowhere:1")(Reporter("search", print), job)


def test_without_ray_the_extra_is_named(job: SearchJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"edgetl\[ray\]"):
        SearchOnRay(address="auto")(Reporter("search", print), job)
