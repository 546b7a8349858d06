from __future__ import annotations

import math
import multiprocessing
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from edgetl.data.store import SplitStore
from edgetl.errors import ConfigError, UsageError
from edgetl.files import parse_json
from edgetl.pipeline import tune, tune_trial
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.events import Event, Reporter, ignore
from edgetl.pipeline.release import release
from edgetl.pipeline.tune import SearchJob, search
from edgetl.pipeline.tune_picture import draw_trials
from edgetl.pipeline.tune_result import SearchResult
from edgetl.pipeline.tune_space import read_space
from edgetl.pipeline.tune_storage import absolute_storage, is_running, open_study
from edgetl.pipeline.tune_trial import EpochHeard, TrialFigures
from edgetl.pipeline.tune_winner import check_winner, winner_path, winner_text, write_winner

ROOT = Path(__file__).parents[2]
SEARCHED = ["learning_rate=1e-4:1e-2:log", "label_smoothing=0:0.2", "epochs=2:4"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> Path:
    """A config whose data stage is done, in the folder ``run`` beside it."""
    folder = tmp_path_factory.mktemp("search")
    config = folder / "tiny.toml"
    text = tiny_config.read_text().replace("epochs = 12", "epochs = 3\nbatch_size = 100")
    config.write_text(text.replace("train = 500", "train = 200"))
    release(config, out=folder / "run", until="data")
    return config


def job(base: Path, trials: int, storage: Path | str, *searched: str, **more: object) -> SearchJob:
    values: dict[str, object] = {"seconds": None, "space": read_space(searched or SEARCHED)}
    return SearchJob(
        **values | more,  # type: ignore[arg-type]
        config=load_config(base).to_table(),
        root=base.parent / "run",
        trials=trials,
        storage=str(storage),
        lock=base,
    )


def heard(events: list[Event]) -> Reporter:
    return Reporter("search", events.append)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that cost nothing: the NLL is the learning rate's distance from 1e-3, in decades."""

    def run(config: ReleaseConfig, _root: Path, _scratch: Path, *, heard: EpochHeard):
        section = config.finetune
        assert section is not None
        off = abs(math.log10(section.learning_rate) + 3)
        for epoch in range(1, section.epochs + 1):
            heard(epoch, off + 1 / epoch, epoch == section.epochs)
        return TrialFigures(
            nll=off + 1 / section.epochs,
            top1=0.5,
            ece=0.1,
            best_epoch=section.epochs,
            epochs=section.epochs,
            seconds=0.0,
        )

    monkeypatch.setattr(tune_trial, "run_trial", run)


@pytest.fixture(scope="module")
def searched(base: Path) -> tuple[SearchJob, SearchResult, list[Event], list[str]]:
    """A search of four trials, really trained, and which splits it read."""
    read: list[str] = []
    load = SplitStore.load

    def spy(self: SplitStore, split: str) -> object:
        read.append(split)
        return load(self, split)

    events: list[Event] = []
    asked = job(base, 4, base.parent / "four.log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SplitStore, "load", spy)
        result = search(heard(events), asked)
    return asked, result, events, read


def test_only_train_and_val_are_read(searched: tuple, base: Path) -> None:
    _, result, _, read = searched
    assert len(result.trials) == 4
    assert set(read) == {"train", "val"} and len(read) == 8
    assert not (base.parent / "run" / "test-openings.json").exists()


def test_the_lowest_nll_on_val_is_the_best(searched: tuple) -> None:
    _, result, events, _ = searched
    complete = [one for one in result.trials if one.state == "complete"]
    assert result.best is not None and result.best.nll == min(one.nll for one in complete)
    notes = [one.text for one in events if one.kind == "note"]
    assert len(notes) == 4 and f"best so far {result.best.nll:.4f}" in " ".join(notes)
    assert any(one.kind == "progress" and one.total == 4 for one in events)


def test_trial_0_has_the_configs_own_values(searched: tuple) -> None:
    _, result, _, _ = searched
    assert result.trials[0].values == {"learning_rate": 3e-3, "label_smoothing": 0.0, "epochs": 3}
    assert result.best is not None and result.best.nll <= result.trials[0].nll


def test_values_out_of_the_ranges_are_not_tried(base: Path, quick: None) -> None:
    asked = job(base, 2, base.parent / "out.log", "learning_rate=1e-5:1e-4:log")
    result = search(Reporter("search", ignore), asked)
    assert all(1e-5 <= one.values["learning_rate"] <= 1e-4 for one in result.trials)


def test_the_same_search_gives_the_same_trials(searched: tuple, base: Path) -> None:
    asked, result, _, _ = searched
    asked = replace(asked, storage=str(base.parent / "again.log"), trials=2)
    again = search(Reporter("search", ignore), asked)
    for one, other in zip(again.trials, result.trials[:2], strict=True):
        assert (one.values, one.nll, one.top1) == (other.values, other.nll, other.top1)


def test_it_goes_on_where_it_stopped(base: Path, quick: None) -> None:
    events: list[Event] = []
    asked = job(base, 6, base.parent / "some.log")
    first = search(Reporter("search", ignore), asked)
    more = search(heard(events), replace(asked, trials=8))
    assert more.trials[:6] == first.trials and len(more.trials) == 8
    assert sum(one.kind == "note" for one in events) == 2
    assert search(heard(events), replace(asked, trials=3)).trials == more.trials
    whole = search(
        Reporter("search", ignore), replace(asked, trials=8, storage=str(base.parent / "whole.log"))
    )
    assert [one.values for one in whole.trials] == [one.values for one in more.trials]


def test_another_search_has_another_study(searched: tuple) -> None:
    asked, _, _, _ = searched
    table = dict(asked.config)
    table["finetune"] = table["finetune"] | {"weight_decay": 0.5}
    names = {
        asked.study,
        replace(asked, config=table).study,
        replace(asked, space=read_space(SEARCHED[:2])).study,
        replace(asked, config=dict(asked.config) | {"seed": 1}).study,
    }
    assert len(names) == 4
    assert replace(asked, trials=99, storage="elsewhere").study == asked.study


def test_the_winners_config_reproduces_it(searched: tuple, base: Path) -> None:
    _, result, _, _ = searched
    assert result.best is not None
    path = winner_path(base)
    check_winner(path, force=False)
    write_winner(path, winner_text(base, result, {"patience": 2}))
    config = load_config(path)
    assert config.name == "tiny-tuned" and config.finetune is not None
    assert config.finetune.patience == 2
    write_winner(path, winner_text(base, result, {}))
    check_winner(path, force=False)
    done = release(path, out=base.parent / "tuned", until="finetune").folder / "finetune"
    history = parse_json((done / "history.json").read_bytes(), "history")
    assert history["epochs"][history["best_epoch"] - 1]["nll"] == result.best.nll
    assert len(history["epochs"]) == result.best.epochs


def test_a_file_that_no_search_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "a-tuned.toml"
    path.write_text("precious")
    with pytest.raises(UsageError, match="no search wrote"):
        check_winner(path, force=False)
    check_winner(path, force=True)


def test_importance_and_the_picture(searched: tuple, tmp_path: Path) -> None:
    _, result, _, _ = searched
    assert set(result.importance) <= {"learning_rate", "label_smoothing", "epochs"}
    assert sum(result.importance.values()) == pytest.approx(1)
    draw_trials(tmp_path / "trials.svg", result)
    text = (tmp_path / "trials.svg").read_text()
    assert text.startswith("<?xml") and "best so far" in text
    draw_trials(tmp_path / "again.svg", result)
    assert (tmp_path / "again.svg").read_text() == text


def test_a_worse_trial_stops_early(base: Path, quick: None) -> None:
    searched = ("learning_rate=1e-6:1e-2:log", "epochs=6:8")
    asked = job(base, 20, base.parent / "pruned.log", *searched)
    result = search(Reporter("search", ignore), asked)
    pruned = [one for one in result.trials if one.state == "pruned"]
    complete = [one for one in result.trials if one.state == "complete"]
    assert pruned and complete
    worst = max(one.nll for one in complete if one.nll is not None)
    assert all(one.nll is not None and one.best_epoch is None for one in pruned)
    assert min(one.number for one in pruned) >= 5
    assert all("stopped" not in str(one.why) for one in pruned)
    assert result.best is not None and result.best.nll is not None and result.best.nll < worst
    assert result.best.number not in {one.number for one in pruned}


def test_values_that_cannot_be_trained_are_put_aside(base: Path) -> None:
    result = search(
        Reporter("search", ignore),
        job(base, 4, base.parent / "refused.log", "augment=none,light", "epochs=1:2"),
    )
    refused = [one for one in result.trials if one.state == "refused"]
    assert refused and all("augment" in str(one.why) and one.nll is None for one in refused)
    assert result.best is not None and result.best.values["augment"] == "none"
    with pytest.raises(ConfigError, match="2 trials that could not be trained"):
        asked = job(base, 2, base.parent / "none.log", "augment=light,rand")
        search(Reporter("search", ignore), asked)


def test_training_that_diverges_is_put_aside(base: Path) -> None:
    asked = job(base, 2, base.parent / "diverged.log", "learning_rate=3e-3,1e30")
    result = search(Reporter("search", ignore), asked)
    assert result.trials[0].state == "complete"
    with_fire = [one for one in result.trials if one.values["learning_rate"] == 1e30]
    assert all(one.state == "refused" and one.why for one in with_fire)


def test_no_trial_begins_after_the_time(base: Path) -> None:
    events: list[Event] = []
    asked = job(base, 5, base.parent / "late.log", seconds=1e-9)
    assert search(heard(events), asked).best is None
    assert events[-1].text == "the time is over: 5 trials were not begun"


def test_an_interrupted_trial_is_drawn_anew(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = job(base, 2, base.parent / "stopped.log")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tune_trial, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            search(Reporter("search", ignore), asked)
    assert not list((asked.root / "search").glob("trial-*"))
    result = search(Reporter("search", ignore), asked)
    assert [one.number for one in result.trials] == [1, 2] and result.best is not None


def test_a_killed_process_leaves_no_trial_running(base: Path, quick: None) -> None:
    asked = job(base, 1, base.parent / "killed.log")
    context = multiprocessing.get_context("fork")
    gone = context.Process(target=int)
    gone.start()
    gone.join()
    study = open_study(asked.storage, asked.study)
    trial = study.ask()
    trial.set_user_attr("host", os.uname().nodename)
    trial.set_user_attr("process", gone.pid)
    assert not is_running(study.trials[0])
    result = search(Reporter("search", ignore), asked)
    assert len(result.trials) == 1 and result.running == 0
    assert study.trials[0].state == optuna.trial.TrialState.FAIL


def _one_of_two(asked: SearchJob, done: object, trained: bool) -> None:
    if not trained:
        # Without torch, whose import is most of a small trial.
        module = types.ModuleType("edgetl.pipeline.tune_trial")
        vars(module).update(run_trial=_distance, RefusedError=ZeroDivisionError)
        sys.modules[module.__name__] = module
    result = search(Reporter("search", ignore), asked)
    done.put(len(result.trials))  # type: ignore[attr-defined]


def _distance(config: ReleaseConfig, *_: object, heard: object) -> SimpleNamespace:
    assert config.finetune is not None
    figures = dict.fromkeys(("top1", "ece", "best_epoch", "epochs", "seconds"), 1.0)
    return SimpleNamespace(nll=config.finetune.learning_rate, **figures)


@pytest.mark.parametrize(
    ("storage", "trained"),
    [
        ("both.log", False),
        ("sqlite:///{}/both.db", False),
        pytest.param("trained.log", True, marks=pytest.mark.slow),
    ],
)
def test_two_processes_share_a_storage(
    base: Path, storage: str, trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    place = storage.format(base.parent) if "{}" in storage else str(base.parent / storage)
    asked = job(base, 6, place)
    context = multiprocessing.get_context("spawn")
    done = context.SimpleQueue()
    both = [context.Process(target=_one_of_two, args=(asked, done, trained)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    study = open_study(place, asked.study)
    finished = [one for one in study.trials if one.state.is_finished() and one.value is not None]
    assert len(finished) == 6
    drawn = [tuple(one.params.values()) for one in finished]
    assert len(set(drawn)) == 6
    assert {one.user_attrs["process"] for one in finished} <= {one.pid for one in both}
    assert max(done.get(), done.get()) == 6


@pytest.mark.parametrize("storage", ["sqlite:////nowhere/at/all/trials.db", "nosql://host/name"])
def test_a_storage_that_cannot_be_opened(base: Path, storage: str) -> None:
    with pytest.raises(UsageError, match="--storage"):
        search(Reporter("search", ignore), job(base, 1, storage))


def test_storages_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_storage("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"
    assert absolute_storage("a.log") == f"{tmp_path}/a.log"
    assert absolute_storage("mysql://host/name") == "mysql://host/name"


def test_the_seed_of_a_trial_is_its_number() -> None:
    first = [tune._sampler(0, number)._rng.rng.random() for number in range(50)]
    assert len(set(first)) == 50 and np.all(np.array(first) < 1)
    assert tune._sampler(0, 3)._rng.rng.random() == first[3]
    assert tune._sampler(1, 3)._rng.rng.random() != first[3]


@pytest.fixture(autouse=True)
def quiet_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "cache"))
    yield
