"""The cells of `bench_recipes.py` summed up over the seeds, and the table of docs/recipes.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgetl.stats import paired_t_bounds

BEGIN, END = "<!-- recipes: begin -->", "<!-- recipes: end -->"
_FIGURES = ("top1", "nll", "ece")

Interval = dict[str, float | None]


def summary(
    cells: Sequence[dict[str, Any]],
    *,
    compared_with: Callable[[str], tuple[str, str]],
    order: Sequence[str],
) -> list[dict[str, Any]]:
    """One row for each problem, size and recipe.

    Args:
        cells: Rows of the log.
        compared_with: For a recipe the two that it is compared with, seed by seed: from scratch
            and full fine-tuning of the same network.
        order: The recipes in the order of the table.

    Returns:
        Rows with `top1`, `nll` and `ece` (mean and 95 % t interval over the seeds), and
        `over_scratch`, `over_full`, the paired differences of top-1 (None of itself).
    """
    held = {(c["problem"], c["shots"], c["recipe"], c["seed"]): c for c in cells}
    keys = dict.fromkeys((problem, shots) for problem, shots, _, _ in held)
    rows = []
    for problem, shots in sorted(keys):
        for recipe in order:
            seeds = sorted(key[3] for key in held if key[:3] == (problem, shots, recipe))
            if not seeds:
                continue
            own = [held[problem, shots, recipe, seed] for seed in seeds]
            row: dict[str, Any] = {"problem": problem, "shots": shots, "recipe": recipe}
            row |= {"seeds": len(seeds), "steps": own[0]["steps"]}
            row |= {name: _mean([cell[name] for cell in own]) for name in _FIGURES}
            both_others = zip(("over_scratch", "over_full"), compared_with(recipe), strict=True)
            for key, other in both_others:
                pairs = [held.get((problem, shots, other, seed)) for seed in seeds]
                both = [
                    cell["top1"] - pair["top1"]
                    for cell, pair in zip(own, pairs, strict=True)
                    if pair is not None
                ]
                row[key] = None if recipe == other or not both else _mean(both)
            rows.append(row)
    return rows


def _mean(values: Sequence[float]) -> Interval:
    """The mean and its 95 % t interval; one value has none."""
    low, high = paired_t_bounds(values) if len(values) > 1 else (None, None)
    return {"mean": sum(values) / len(values), "lower": low, "upper": high}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown tables, one for each problem and size."""
    parts = []
    for problem, shots in dict.fromkeys((row["problem"], row["shots"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["shots"]) == (problem, shots)]
        lines = [
            f"**{problem}, {shots} images a class** ({own[0]['seeds']} seeds)",
            "",
            "| recipe | top-1 % | NLL | ECE | points over scratch | points over full |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {row['recipe']} | {_spread(row['top1'], 100, 1)} | {_spread(row['nll'], 1, 2)} "
            f"| {row['ece']['mean']:.3f} | {_told(row['over_scratch'])} "
            f"| {_told(row['over_full'])} |"
            for row in own
        ]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, findings(rows)])


def findings(rows: Sequence[dict[str, Any]]) -> str:
    """What the rows settle, in words: nothing is said that no row in bold carries."""
    lines = ["### What the rows settle", ""]
    for key, other in (
        ("over_scratch", "training from scratch"),
        ("over_full", "full fine-tuning"),
    ):
        lines += [f"Top-1 beside {other}, in points:", ""]
        for recipe in dict.fromkeys(row["recipe"] for row in rows):
            own = [row for row in rows if row["recipe"] == recipe and row[key] is not None]
            if own:
                lines.append(f"- {recipe}: {_settled_in(own, key)}.")
        lines.append("")
    return "\n".join(lines).rstrip()


def _settled_in(rows: Sequence[dict[str, Any]], key: str) -> str:
    kinds: dict[str, list[str]] = {"better": [], "worse": []}
    for row in rows:
        if settled(row[key]):
            kind = "better" if row[key]["mean"] > 0 else "worse"
            by = f"{100 * row[key]['mean']:+.1f}".replace("-", "−")
            kinds[kind].append(f"{row['problem']} at {row['shots']} ({by})")
    said = [f"{kind} on {', '.join(held)}" for kind, held in kinds.items() if held]
    rest = len(rows) - sum(len(held) for held in kinds.values())
    if rest:
        said.append(f"not settled in {rest} of {len(rows)} row{'s' * (len(rows) > 1)}")
    return "; ".join(said)


def put(path: Path, table: str) -> None:
    """Put the table between the file's markers; into a new file when there is none.

    Raises:
        SystemExit: When the file has no markers.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else f"{BEGIN}\n{END}\n"
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise SystemExit(f"{path}: no lines {BEGIN} and {END} to put the table between")
    text = f"{text[: begin + len(BEGIN)]}\n\n{table}\n\n{text[end:]}"
    path.write_text(text, encoding="utf-8")


def points(found: Interval | None) -> str:
    """A difference of top-1 in points with its interval.

    Example:
        >>> points({"lower": 0.01, "mean": 0.05, "upper": 0.09}), points(None)
        ('+5.0 [+1.0, +9.0]', '–')
    """
    if found is None:
        return "–"
    # By name: a file that was read back has its keys in another order.
    mean, low, high = (
        None if found[end] is None else 100 * found[end] for end in ("mean", "lower", "upper")
    )
    ends = "" if low is None or high is None else f" [{low:+.1f}, {high:+.1f}]"
    return f"{mean:+.1f}{ends}".replace("-", "−")


def settled(found: Interval | None) -> bool:
    """Whether the interval leaves zero out.

    Example:
        >>> settled({"mean": 0.05, "lower": 0.01, "upper": 0.09}), settled(None)
        (True, False)
    """
    if found is None or found["lower"] is None or found["upper"] is None:
        return False
    return found["lower"] > 0 or found["upper"] < 0


def _told(found: Interval | None) -> str:
    """What the seeds settle stands out."""
    return f"**{points(found)}**" if settled(found) else points(found)


def _spread(found: Interval, scale: float, digits: int) -> str:
    mean = f"{scale * (found['mean'] or 0.0):.{digits}f}"
    if found["lower"] is None or found["upper"] is None:
        return mean
    return f"{mean} ± {scale * (found['upper'] - found['lower']) / 2:.{digits}f}"
