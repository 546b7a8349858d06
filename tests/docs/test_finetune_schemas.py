"""What `edgetl finetune --json` writes is what docs/schemas/ says."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgetl.cli.finetune_command import Request, _document
from edgetl.pipeline.finetune_config import Wishes, plan_finetune
from edgetl.pipeline.processes import ALONE
from edgetl.pipeline.tune_result import SearchResult, SearchTrial

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
KEPT = {"epoch": 2, "top1": 0.9, "nll": 0.3, "ece": 0.05, "entropy": 0.4, "loss": 0.2}
HISTORY = {"device": "cpu", "processes": 2, "epochs": [KEPT, KEPT], "best_epoch": 2}


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}-1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"edgetl.{name}/1"
    return jsonschema.Draft202012Validator(schema)


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return read


def trial(number: int, state: str, **figures: Any) -> SearchTrial:
    empty = dict.fromkeys(("nll", "top1", "ece", "best_epoch", "epochs", "seconds", "why"))
    values = {"learning_rate": 0.001 * (number + 1), "recipe": "full"}
    return SearchTrial(number=number, state=state, values=values, **empty | figures)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    base = tmp_path_factory.mktemp("finetune")
    wishes = Wishes(settings={"l2_sp": {"weight": 0.1}})
    plan = plan_finetune("builtin:digits", wishes=wishes, base=base, name="digits")
    request = Request(config=base / "digits.toml", plan=plan, fixed={}, launch=ALONE)
    figures = {"top1": 0.9, "ece": 0.05, "best_epoch": 2, "epochs": 3, "seconds": 1.5}
    found = SearchResult(
        study="digits-0123456789ab",
        storage="trials.log",
        space={
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True, "choices": None},
            "recipe": {"low": None, "high": None, "log": False, "choices": ["full", "lp-ft"]},
        },
        trials=(
            trial(0, "complete", nll=0.3, **figures),
            trial(1, "pruned", nll=0.9, seconds=0.5),
            trial(2, "refused", why="augment: got 'light'"),
        ),
        running=1,
        importance={"learning_rate": 0.9, "recipe": 0.1},
    )
    return {
        "finetune": plain(_document(request, base / "run", HISTORY, KEPT, {"negative": False})),
        "search": plain(found.to_json(config="digits-tuned.toml", picture=None)),
    }


@pytest.mark.parametrize("name", ["finetune", "search"])
def test_a_document_fits_and_no_key_is_missing_or_new(
    documents: dict[str, dict[str, Any]], name: str
) -> None:
    check = validator(name)
    document = documents[name]
    check.validate(document)
    for key in document:
        changed = copy.deepcopy(document)
        del changed[key]
        assert not check.is_valid(changed), key
    assert not check.is_valid(document | {"another": 1})


def test_a_config_and_a_classifier_of_elsewhere_fit(tmp_path: Path) -> None:
    request = Request(config=tmp_path / "a.toml", plan=None, fixed={}, launch=ALONE)
    document = plain(_document(request, tmp_path, None, None, None))
    validator("finetune").validate(document)
    assert document["chosen"] is None and document["val"] is None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("finetune", {"schema": "edgetl.finetune/2"}),
        ("finetune", {"device": "tpu"}),
        ("finetune", {"val": {}}),
        ("search", {"objective": {"split": "test", "metric": "nll", "direction": "minimize"}}),
        ("search", {"space": {}}),
        ("search", {"importance": {"learning_rate": 1.5}}),
        ("search", {"trials": [{}]}),
    ],
)
def test_what_no_document_says_does_not_fit(
    documents: dict[str, dict[str, Any]], name: str, changes: dict[str, Any]
) -> None:
    assert not validator(name).is_valid(documents[name] | changes)


def test_a_trials_state_decides_which_figures_it_has(
    documents: dict[str, dict[str, Any]],
) -> None:
    check = validator("search")
    for at, change in ((0, {"nll": None}), (0, {"why": "late"}), (2, {"nll": 0.1})):
        document = copy.deepcopy(documents["search"])
        document["trials"][at] |= change
        assert not check.is_valid(document), change
