"""The comparison of recipes: it goes on where it was stopped, and sums up rightly."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from edgetl.train.config import FinetuneConfig
from edgetl.train.recipes import phases

FOLDER = Path(__file__).parents[2] / "benchmarks"
DOCS = Path(__file__).parents[2] / "docs" / "recipes.md"
RESULT = FOLDER / "results" / "amd-epyc-2-cores" / "recipes.json"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("bench_recipes", "recipe_cells", "recipe_list", "recipe_problems", "recipe_table")
    return {name: importlib.import_module(name) for name in names}


def call(modules: dict[str, ModuleType], monkeypatch: Any, *options: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bench_recipes.py", *map(str, options)])
    found: int = modules["bench_recipes"].main()
    return found


@pytest.fixture
def trained(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Cells that were trained, in order; nothing is: a rate of 3e-3 is best on val."""
    cells: list[Any] = []

    def run_cell(cell: Any, place: Any, *, teacher: Any = None) -> dict[str, Any]:
        cells.append((cell, teacher))
        rate = cell.chosen.get("learning_rate", cell.chosen.get("head_learning_rate"))
        lead = 0.2 if cell.recipe.start == "source" else 0.0
        return {
            "top1": 0.5 + lead + 0.01 * cell.seed,
            "nll": 1.0,
            "ece": 0.1,
            "val_nll": abs(np.log(rate / 3e-3)),
            "steps": 100,
            "cpu_seconds": 1.0,
        }

    monkeypatch.setattr(modules["bench_recipes"], "run_cell", run_cell)
    return cells


def test_rates_are_chosen_once_on_a_seed_of_their_own(modules, trained, monkeypatch, tmp_path):
    out = tmp_path / "r.json"
    options = ("--out", out, "--work", tmp_path / "work", "--only", "full", "--seeds", 2)
    call(modules, monkeypatch, *options, "--problem", "letters-digits")
    tuning = [cell for cell, _ in trained if cell.seed == modules["bench_recipes"].TUNING_SEED]
    rest = [cell for cell, _ in trained if cell.seed != modules["bench_recipes"].TUNING_SEED]
    rates = modules["recipe_list"].RATES
    assert [cell.chosen["learning_rate"] for cell in tuning] == [*rates, *rates]
    assert {cell.shots for cell in tuning} == {20}
    assert {cell.chosen["learning_rate"] for cell in rest} == {3e-3}
    assert {cell.recipe.name for cell in rest} == {"scratch", "full"}
    assert len(rest) == 2 * 2 * 3


def test_the_same_command_goes_on_where_it_was_stopped(modules, trained, monkeypatch, tmp_path):
    out = tmp_path / "r.json"
    options = ("--out", out, "--work", tmp_path / "work", "--only", "linear probe", "--quick")
    options += ("--problem", "letters-digits", "--shots", 20)
    call(modules, monkeypatch, *options)
    first, log = len(trained), tmp_path / "r.cells.jsonl"
    assert first == 4
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    call(modules, monkeypatch, *options)
    assert len(trained) == first + 1
    assert len(json.loads(out.read_bytes())["cells"]) == first
    # With other settings it is another cell.
    call(modules, monkeypatch, *options[:-4], "--problem", "fashion-halves", "--shots", 5)
    assert len(trained) == first + 1 + 4
    call(modules, monkeypatch, *options, "--summary")
    assert len(trained) == first + 1 + 4


def test_a_recipe_that_is_taught_gets_the_same_seeds_teacher(
    modules, trained, monkeypatch, tmp_path
):
    options = ("--out", tmp_path / "r.json", "--work", tmp_path / "work", "--seeds", 1, "--quick")
    options += ("--problem", "letters-digits", "--shots", 5)
    call(modules, monkeypatch, *options, "--only", "scratch, taught by full")
    (teacher,) = [held for cell, held in trained if cell.recipe.name == "scratch, taught by full"]
    assert (teacher.recipe.name, teacher.shots, teacher.seed) == ("full", 5, 1)


def test_an_unknown_recipe_is_refused_with_those_that_exist(modules, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        call(modules, monkeypatch, "--out", tmp_path / "r.json", "--only", "L2SP")
    assert caught.value.code == 2 and "L2-SP" in capsys.readouterr().err


def cells(top1: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {
            "problem": "p", "shots": 20, "recipe": recipe, "seed": seed, "top1": value,
            "nll": 1 - value, "ece": 0.1, "steps": 100,
        }
        for recipe, values in top1.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_differences_are_paired_by_seed_and_bounded_as_scipy_does(modules) -> None:
    random = np.random.default_rng(0)
    scratch = (0.6 + 0.1 * random.normal(size=5)).tolist()
    full = [value + 0.1 + 0.01 * random.normal() for value in scratch]
    table = modules["recipe_table"]
    compared = modules["recipe_list"].compared_with
    rows = table.summary(
        cells({"full": full, "scratch": scratch}),
        compared_with=compared,
        order=["scratch", "full"],
    )
    assert [row["recipe"] for row in rows] == ["scratch", "full"]
    interval = ttest_rel(full, scratch).confidence_interval(0.95)
    over = rows[1]["over_scratch"]
    assert (over["lower"], over["upper"]) == pytest.approx((interval.low, interval.high))
    assert rows[0]["over_scratch"] is None and rows[1]["over_full"] is None
    text = table.markdown(rows)
    assert f"**+{100 * over['mean']:.1f} [" in text and "| scratch |" in text


def test_only_what_is_settled_is_said(modules) -> None:
    table, compared = modules["recipe_table"], modules["recipe_list"].compared_with
    random = np.random.default_rng(1)
    scratch = (0.6 + 0.05 * random.normal(size=5)).tolist()
    shift = 0.001 * random.normal(size=5)
    held = cells(
        {
            "scratch": scratch,
            "full": [value + 0.1 + each for value, each in zip(scratch, shift, strict=True)],
            "L2-SP": [value + 0.1 - each for value, each in zip(scratch, shift, strict=True)],
            "joint": [value - 0.2 + each for value, each in zip(scratch, shift, strict=True)],
        }
    )
    order = ["scratch", "full", "L2-SP", "joint"]
    said = table.findings(table.summary(held, compared_with=compared, order=order)).splitlines()
    assert any(line.startswith("- full: better on p at 20 (+1") for line in said)
    assert any(line.startswith("- joint: worse on p at 20 (−2") for line in said)
    assert "- L2-SP: not settled in 1 of 1 row." in said
    assert not any("L2-SP" in line and ("better" in line or "worse" in line) for line in said[9:])


def test_one_seed_bounds_nothing(modules) -> None:
    table, compared = modules["recipe_table"], modules["recipe_list"].compared_with
    held = cells({"scratch": [0.5], "full": [0.9]})
    rows = table.summary(held, compared_with=compared, order=["scratch", "full"])
    assert not table.settled(rows[1]["over_scratch"])
    assert "| full | 90.0 | 0.10 | 0.100 | +40.0 | – |" in table.markdown(rows)


def test_transformers_are_compared_with_their_own_scratch(modules) -> None:
    compared = modules["recipe_list"].compared_with
    assert compared("ViT LoRA") == ("ViT scratch", "ViT full")
    assert compared("L2-SP") == ("scratch", "full")
    known = {recipe.name for recipe in modules["recipe_list"].RECIPES}
    assert all(set(compared(name)) <= known for name in known)


def test_every_recipe_has_the_same_steps(modules) -> None:
    for recipe in modules["recipe_list"].RECIPES:
        settings = dict(recipe.settings) | dict(recipe.tried[0])
        settings.pop("weight", None)
        config = FinetuneConfig(architecture="mlp", weights="none", **settings)
        epochs = sum(phase.epochs for phase in phases(config) if not phase.solved)
        times = 4 if "4 x steps" in recipe.name else 1
        assert epochs == times * modules["recipe_list"].EPOCHS, recipe.name
        # Candidates of a rate are at least as many for those that are compared with.
        assert len(recipe.tried) >= 3


def test_a_table_goes_between_its_markers(modules, tmp_path: Path) -> None:
    table = modules["recipe_table"]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    table.put(page, "| new |")
    assert page.read_text(encoding="utf-8").split("\n\n") == [
        f"before\n{table.BEGIN}", "| new |", f"{table.END}\nafter\n",
    ]  # fmt: skip
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit):
        table.put(page, "| new |")


def test_smaller_sets_are_the_head_of_larger_ones_and_apart_from_test(modules) -> None:
    problems = modules["recipe_problems"]
    few, more = (
        problems.target_of("letters-digits", 3, shots, problems.Sizes(), "") for shots in (5, 100)
    )
    assert few.train.ids == more.train.ids[:50] and few.test.ids == more.test.ids
    assert np.bincount(few.train.labels).tolist() == [5] * 10
    assert np.bincount(more.test.labels).tolist() == [50] * 10
    assert not set(more.train.ids) & (set(more.test.ids) | set(more.val.ids))
    other = problems.target_of("letters-digits", 4, 5, problems.Sizes(), "")
    assert other.train.ids != few.train.ids
    repeated = problems.tiled(few.train, 1_000)
    assert np.bincount(repeated.labels).tolist() == [100] * 10


@pytest.mark.slow
def test_cells_are_really_trained(modules, monkeypatch, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--out", out, "--work", tmp_path / "work", "--quick", "--seeds", 1]
    options += ["--problem", "letters-digits", "--shots", 20, "--markdown", tmp_path / "t.md"]
    only = ("joint", "scratch, taught by full", "ViT LoRA", "probe, then full")
    call(modules, monkeypatch, *options, *(x for name in only for x in ("--only", name)))
    document = json.loads(out.read_bytes())
    assert {row["recipe"] for row in document["cells"]} == {"scratch", "ViT scratch", *only}
    assert all(0 <= row["top1"] <= 1 and row["nll"] > 0 for row in document["cells"])
    assert "| joint |" in (tmp_path / "t.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not RESULT.is_file(), reason="no committed result")
def test_the_page_has_the_committed_table(modules) -> None:
    document = json.loads(RESULT.read_bytes())
    table = modules["recipe_table"]
    assert table.markdown(document["summary"]) in DOCS.read_text(encoding="utf-8")
    order = [recipe.name for recipe in modules["recipe_list"].RECIPES]
    compared = modules["recipe_list"].compared_with
    again = table.summary(document["cells"], compared_with=compared, order=order)
    assert again == document["summary"]
