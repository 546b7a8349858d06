from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from edgetl.cli.main import main
from edgetl.errors import ModelError, UnavailableError
from edgetl.pipeline import choose as module
from edgetl.pipeline.choose_backbones import Backbone
from edgetl.pipeline.choose_config import ChooseRequest, comparison_of
from edgetl.pipeline.choose_rank import BackboneFound, VariantFound, judged, ranked, screened
from edgetl.pipeline.choose_result import Choice
from edgetl.pipeline.process import error_to_json

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "choose-1.json"
ABSENT = UnavailableError("module timm", got="not installed", expected="it", fix="pip install")
BROKEN = ModelError("[red]network[/red]", got="a tail", expected="a head", fix="mend it")


def named(label: str) -> Backbone:
    return Backbone(label=label, architecture="resnet18", weights="imagenet")


def variant(id: str, p50: float, *, harmless: bool | None = True) -> VariantFound:
    harm = {"estimate": 0.012, "lower": -0.001, "upper": 0.0312, "limit": 0.01}
    return VariantFound(
        id=id,
        p50_ms=p50,
        p50_interval_ms=(0.98 * p50, 1.02 * p50),
        size_mb=11.2,
        harmless=harmless,
        why_not="" if harmless else "flips on val is 0.2, over half of the limit 0.03",
        harms={} if harmless is None else dict.fromkeys(("top1_drop", "nll", "flips"), harm),
    )


def scores(logme: float) -> dict[str, float]:
    return {
        "logme": logme,
        "probe_top1": 0.9123,
        "probe_nll": 0.31,
        "probe_nll_error": 0.02,
        "weight_decay": 0.01,
        "images": 500,
        "dimensions": 512,
    }


def failed(label: str, error: Exception) -> BackboneFound:
    return BackboneFound(
        backbone=named(label),
        verdict="failed",
        reason=str(error),
        error=error_to_json(error),  # type: ignore[arg-type]
    )


@pytest.fixture
def choice(tmp_path: Path) -> Choice:
    (tmp_path / "choose.svg").write_text("<svg/>")
    fits, slow = variant("ov-int8", 7.25), variant("ort-fp32", 123.4)
    harmful = variant("ov-int8", 3.5, harmless=False)
    dropped = screened(named("vit_b_16"), [variant("ort-fp32", 99.9, harmless=None)], 10.0)
    assert dropped is not None
    found = (
        judged(named("timm:mobilenetv4_conv_small.e2400_r224_in1k"), [fits], scores(-0.123), 10.0),
        judged(named("resnet18"), [fits, slow], scores(0.5), 10.0),
        judged(named("mobilenet_v3_large"), [harmful, slow], scores(0.7), 10.0),
        dropped,
        failed("timm:nothing", BROKEN),
    )
    return Choice(
        folder=tmp_path,
        comparison=comparison_of(ChooseRequest(data="builtin:digits", budget_ms=10.0)),
        budget_ms=10.0,
        batch=1,
        threads=2,
        data={"classes": 10, "train": 500, "val": 300, "calib": 200},
        found=ranked(found),
    )


def given(monkeypatch: pytest.MonkeyPatch, choice: Choice) -> list[ChooseRequest]:
    """Let the command find this, and keep what it asked."""
    asked: list[ChooseRequest] = []

    def answer(request: ChooseRequest, **_more: object) -> Choice:
        asked.append(request)
        return choice

    monkeypatch.setattr(module, "choose", answer)
    return asked


def test_a_table_of_100_columns_a_recommendation_and_the_next_command(
    choice: Choice,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = given(monkeypatch, choice)
    target = tmp_path / "choice.json"
    command = ["choose", "builtin:digits", "--budget-ms", "10", "--json", str(target)]
    assert main([*command, "--backbones", "resnet18", "mlp=a.safetensors", "--batch", "2"]) == 0
    assert asked == [
        ChooseRequest(
            data="builtin:digits",
            budget_ms=10.0,
            backbones=("resnet18", "mlp=a.safetensors"),
            batch=2,
        )
    ]
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("next", "picture"))) <= 100
    rows = [line for line in lines if line[:2] in ("1 ", "2 ", "– ")]
    assert len(rows) == 5
    assert rows[0].split()[:4] == ["1", "resnet18", "0.500", "91.2"]
    assert rows[0].rstrip().endswith("ship") and "7.25 [7.1, 7.4]" in rows[0]
    assert "1.2≤3.1 1.2≤3.1" in rows[0]
    assert "−0.123" in rows[1]
    # Of those that cannot ship the nearest to the budget is first.
    assert rows[2].rstrip().endswith("over budget")
    assert rows[3].rstrip().endswith("INT8 harms")
    assert "flips on val is 0.2, over half of the limit" in " ".join(shown.out.split())
    assert rows[4].rstrip().endswith("failed")
    assert "[red]network[/red]" in shown.out
    assert "Fine-tune resnet18" in shown.out
    assert f"next     edgetl release {choice.folder / 'chosen.toml'}" in lines
    assert f"picture  {choice.folder / 'choose.svg'}" in lines
    jsonschema.validate(json.loads(target.read_bytes()), json.loads(SCHEMA.read_bytes()))
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err


def test_nothing_that_fits_is_1_and_names_the_nearest(
    choice: Choice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = tuple(one for one in choice.found if one.verdict != "ship")
    given(monkeypatch, replace(choice, found=rest))
    assert main(["choose", "builtin:digits", "--budget-ms", "10", "--json", "-"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["chosen"] is None and document["next"] == ""
    assert "the nearest is vit_b_16" in document["sentence"]


@pytest.mark.parametrize(("error", "code"), [(ABSENT, 3), (BROKEN, 2)])
def test_a_single_backbone_that_fails_is_one_message(
    choice: Choice,
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(monkeypatch, replace(choice, found=(failed("resnet18", error),)))
    assert main(["choose", "builtin:digits", "--budget-ms", "10"]) == code
    shown = capsys.readouterr()
    assert shown.out == "" and "to fix" in shown.err
    given(monkeypatch, replace(choice, found=(failed("a", error), failed("b", error))))
    assert main(["choose", "builtin:digits", "--budget-ms", "10", "--quiet"]) == code
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["builtin:digits"], "--budget-ms"),
        (["builtin:digits", "--budget-ms", "0"], "above 0"),
        (["builtin:digits", "--budget-ms", "-3"], "above 0"),
        (["builtin:digits", "--budget-ms", "nan"], "above 0"),
        (["builtin:digits", "--budget-ms", "ten"], "no number"),
        (["builtin:digits", "--budget-ms", "1", "--backbones", "resnet81"], "'resnet18'"),
        (["builtin:digits", "--budget-ms", "1", "--weights", "gone.safetensors"], "not there"),
        (["builtin:digits", "--budget-ms", "1", "--images", "9"], "at least two of every class"),
        (["builtin:digits", "--budget-ms", "1", "--batch", "0"], "at least 1"),
        (["builtin:digit", "--budget-ms", "1"], "did you mean 'builtin:digits'"),
        (["gone.toml", "--budget-ms", "1"], "an unknown source"),
        ([".", "--budget-ms", "1"], "folder:"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2_and_nothing_is_written(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["choose", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []
