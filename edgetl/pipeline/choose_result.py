"""What a comparison came to: the recommendation, the document, and the config to release next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.errors import EdgetlError
from edgetl.pipeline.choose_config import Comparison, input_table
from edgetl.pipeline.choose_rank import BackboneFound, VariantFound
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.process import error_from_json
from edgetl.pipeline.toml_text import comment, entry

SCHEMA = "edgetl.choose/1"
CHOSEN, DOCUMENT, PICTURE = "chosen.toml", "choose.json", "choose.svg"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a comparison came to.

    Attributes:
        folder: The run's.
        comparison: What it was made on.
        budget_ms: The budget.
        batch, threads: What latency was measured at.
        data: ``classes``, and the images of ``train`` (features), ``val`` (harm) and ``calib``.
        found: Every backbone, in the order of the ranking.
    """

    folder: Path
    comparison: Comparison
    budget_ms: float
    batch: int
    threads: int
    data: Mapping[str, int]
    found: tuple[BackboneFound, ...]

    @property
    def chosen(self) -> BackboneFound | None:
        """The first of those that can ship."""
        return next((one for one in self.found if one.rank == 1), None)

    @property
    def names(self) -> Mapping[str, str]:
        """What each label is shown as: its weights are named only where they tell it apart."""
        times = Counter(one.backbone.architecture for one in self.found)
        backbones = [one.backbone for one in self.found]
        return {
            one.label: one.architecture if times[one.architecture] == 1 else one.label
            for one in backbones
        }

    @property
    def exit_code(self) -> int:
        """0 with a recommendation, 1 when nothing fits, 2 or 3 when nothing could be compared."""
        if self.chosen is not None:
            return 0
        if any(one.verdict != "failed" for one in self.found):
            return 1
        return min(error.exit_code for error in self.errors)

    @property
    def errors(self) -> tuple[EdgetlError, ...]:
        """What stopped the backbones that failed."""
        return tuple(
            error_from_json(dict(one.error)) for one in self.found if one.error is not None
        )

    @property
    def sentence(self) -> str:
        """The recommendation, or what is nearest, in words."""
        chosen = self.chosen
        if chosen is not None:
            return _recommended(chosen, self.found)
        measured = [one for one in self.found if one.verdict != "failed"]
        if not measured:
            return "No backbone could be compared: each says why."
        nearest = measured[0]
        assert nearest.fastest is not None
        return (
            f"Nothing fits {self.budget_ms:g} ms without harm; the nearest is "
            f"{nearest.backbone.label}: {nearest.reason}."
        )

    @property
    def next_step(self) -> str:
        """The command to run next; empty without a recommendation."""
        chosen = self.chosen
        if chosen is None:
            return ""
        if self.comparison.config is None:
            return f"edgetl release {self.folder / CHOSEN}"
        one = chosen.backbone
        return (
            f'set architecture = "{one.architecture}" and weights = "{one.weights}" in [finetune] '
            f"of {self.comparison.config}, then edgetl release {self.comparison.config}"
        )

    def to_json(self) -> dict[str, Any]:
        """The document, edgetl.choose/1 (docs/schemas/choose-1.json)."""
        return {
            "schema": SCHEMA,
            "name": self.comparison.name,
            "source": self.comparison.source,
            "config": None if self.comparison.config is None else str(self.comparison.config),
            "folder": str(self.folder),
            "budget_ms": self.budget_ms,
            "batch": self.batch,
            "threads": self.threads,
            "data": dict(self.data),
            "chosen": None if self.chosen is None else self.chosen.backbone.label,
            "sentence": self.sentence,
            "next": self.next_step,
            "backbones": [_backbone(one) for one in self.found],
        }


def chosen_config(config: ReleaseConfig, comparison: Comparison) -> str:
    """A release config, as TOML, that fine-tunes the chosen backbone on all training images.

    Args:
        config: The chosen backbone's own.
        comparison: What it was made on: a data source.
    """
    section = config.finetune
    assert section is not None
    lines = [
        comment("Written by `edgetl choose`, and meant to be read and changed."),
        entry("schema", config.schema),
        entry("name", config.name.removeprefix("choose-")),
        entry("version", config.version),
        "",
        "[data]",
        entry("source", config.data.source),
        *(entry(name, size) for name, size in comparison.sizes.items()),
        "",
        "[input]",
        *(entry(key, value) for key, value in input_table(config.input.spec()).items()),
        "",
        "[finetune]",
        entry("architecture", section.architecture),
        entry("weights", section.weights),
    ]
    if section.weights in ("none", "factory"):
        lines.append(entry("recipe", "full", "every parameter at once"))
    if comparison.table.get("threads") is not None:
        lines[4:4] = [entry("threads", comparison.table["threads"])]
    objective = config.gate.policy.objective
    if objective.batch != 1:
        lines += ["", "[gate.policy.objective]", entry("batch", objective.batch)]
    return "\n".join(lines) + "\n"


def _recommended(chosen: BackboneFound, found: tuple[BackboneFound, ...]) -> str:
    scores = chosen.scores or {}
    said = (
        f"Fine-tune {chosen.backbone.label}: of those within the budget its features transfer "
        f"best (LogME {scores['logme']:.3f}, probe top-1 {scores['probe_top1']:.1%}), and "
        f"{chosen.reason}."
    )
    rivals = [one for one in found if one.rank is not None]
    probed = min(rivals, key=lambda one: float((one.scores or {})["probe_nll"]))
    if probed is chosen:
        return said
    return (
        f"{said} By the probe's NLL {probed.backbone.label} would be first: the two are close, "
        "or disagree."
    )


def _backbone(found: BackboneFound) -> dict[str, Any]:
    one = found.backbone
    return {
        "label": one.label,
        "architecture": one.architecture,
        "weights": one.weights,
        "rank": found.rank,
        "verdict": found.verdict,
        "reason": found.reason,
        "transferability": None if found.scores is None else dict(found.scores),
        "fastest": None if found.fastest is None else found.fastest.id,
        "variants": [_variant(variant) for variant in found.variants],
        "seconds": dict(found.seconds),
        "error": None if found.error is None else dict(found.error),
    }


def _variant(variant: VariantFound) -> dict[str, Any]:
    ends = variant.p50_interval_ms
    return {
        "id": variant.id,
        "p50_ms": variant.p50_ms,
        "p50_interval_ms": None if ends is None else list(ends),
        "size_mb": variant.size_mb,
        "harmless": variant.harmless,
        "why_not": variant.why_not,
        "harms": {name: dict(figures) for name, figures in variant.harms.items()},
    }
