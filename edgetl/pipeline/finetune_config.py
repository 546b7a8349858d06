"""A config for `edgetl finetune DATA`: what was seen in the data, what was chosen, and why."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.data.sources import is_source, unknown_source
from edgetl.errors import ConfigError, UsageError
from edgetl.pipeline.init import NewConfig, compose
from edgetl.pipeline.init_model import ModelPlan, choose_model
from edgetl.pipeline.init_splits import SplitPlan, choose_splits
from edgetl.pipeline.init_survey import PartFacts, Survey, survey_source
from edgetl.pipeline.recipe_choice import ASKED, Chosen, TrainFacts, choose_recipe
from edgetl.pipeline.toml_text import comment, entry
from edgetl.reference.architectures import TIMM, is_mlp
from edgetl.reference.user_code import USER_CODE

COMMAND = "edgetl finetune"
_WIDTH = 96
_FILES = {".csv": "csv", ".npz": "npz"}
_WEIGHTS_FILE = (
    "import sys; from torchvision.models import get_model_weights; "
    "print(get_model_weights(sys.argv[1]).DEFAULT.url.rpartition('/')[2])"
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line decides; None leaves it to the data.

    Attributes:
        architecture, weights, recipe, epochs, batch_size: Keys of ``[finetune]``.
        size: The picture's height and width.
        seed: Of training.
        settings: Further keys of ``[finetune]``.
    """

    architecture: str | None = None
    weights: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    size: int | None = None
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of ``[finetune]`` that are decided.

        Raises:
            UsageError: For a key that is decided twice.
        """
        named = {
            "architecture": self.architecture,
            "weights": self.weights,
            "recipe": self.recipe,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }
        given = {key: value for key, value in named.items() if value is not None}
        twice = given.keys() & self.settings.keys()
        if twice:
            key = min(twice)
            raise UsageError(
                f"--set {key}",
                got=f"given beside --{key.replace('_', '-')}",
                expected="each key once",
                fix="keep the one that is meant",
            )
        return given | dict(self.settings)


@dataclass(frozen=True, kw_only=True)
class FinetunePlan:
    """A config for a dataset, and what was chosen for it.

    Attributes:
        new: The config.
        facts: What the rules looked at.
        choices: The values of ``[finetune]``, by key, with the reason of each.
    """

    new: NewConfig
    facts: TrainFacts
    choices: Mapping[str, Chosen]


def source_of(data: str) -> str:
    """A source out of what a person names: a source, a folder of classes, a CSV or npz file.

    Raises:
        DataError: When it is none of these, with the nearest.
        UsageError: When nothing is there.

    Example:
        >>> source_of("builtin:digits")
        'builtin:digits'
    """
    if is_source(data):
        return data
    path = Path(data)
    if path.is_dir():
        return f"folder:{data}"
    if path.suffix.lower() in _FILES and path.is_file():
        return f"{_FILES[path.suffix.lower()]}:{data}"
    if ":" in data:
        raise unknown_source(data)
    raise UsageError(
        data,
        got="another kind of file" if path.exists() else "nothing there",
        expected="a folder with one folder a class, a .csv or .npz file, a source such as "
        "builtin:digits or idx:DIR, or a config (.toml)",
        fix="correct the path",
    )


def plan_finetune(source: str, *, wishes: Wishes, base: Path, name: str) -> FinetunePlan:
    """Survey a dataset and choose how to train on it. Nothing is written or downloaded.

    Args:
        source: As ``[data] source`` has it.
        wishes: What is decided already.
        base: The config's folder.
        name: The release's name.

    Raises:
        DataError: When the data cannot be read or split.
        ConfigError: When what was asked for does not fit the data.
        UsageError: For a key that is decided twice.
    """
    decided = wishes.keys
    survey = survey_source(source)
    part = survey.single
    if part is None:
        raise ConfigError(
            f"data {source}",
            got=f"several inputs: {', '.join(survey.parts)}",
            expected="one input: edgetl trains networks of one",
            fix="train it with your own code, then: edgetl init --data … --model …",
        )
    architecture = _architecture(part, decided)
    weights = _weights(survey, part, str(architecture.value), decided)
    splits = choose_splits(survey.drawn)
    facts = train_facts(survey, splits, flat=is_mlp(str(architecture.value)))
    choice = choose_recipe(
        facts,
        weights=str(weights.value),
        recipe=decided.get("recipe"),
        batch_size=decided.get("batch_size"),
    )
    keys = {"architecture": architecture, "weights": weights, **choice.keys}
    keys |= {key: Chosen.by_wish(value) for key, value in decided.items()}
    plan = ModelPlan(
        model=tuple(_section(keys)),
        input=_input(survey, part, str(architecture.value), wishes.size),
    )
    top = () if wishes.seed is None else (entry("seed", wishes.seed, ASKED),)
    new = compose(survey, splits, plan, base=base, name=name, command=COMMAND, top=top)
    return FinetunePlan(new=new, facts=facts, choices=keys)


def train_facts(survey: Survey, splits: SplitPlan, *, flat: bool = False) -> TrainFacts:
    """How many training samples each class will have: splits are stratified.

    Args:
        survey: Of the data, with one input.
        splits: Their sizes.
        flat: Whether the network takes pictures as plain tensors.
    """
    drawn = survey.drawn
    given = drawn.given_split
    labels = drawn.labels
    if given is not None and "train" in given:
        labels = labels[np.array([part == "train" for part in given])]
    counts = Counter(labels.tolist())
    share = splits.train / max(1, len(labels))
    sizes = sorted(max(1, round(counts[at] * share)) for at in range(len(drawn.classes)))
    part = survey.single
    assert part is not None
    return TrainFacts(
        kind="tensor" if flat else part.kind,
        images=splits.train,
        rarest=sizes[0],
        typical=sizes[len(sizes) // 2],
        commonest=sizes[-1],
        strokes=_usual_weights(survey) == "letters",
    )


def _usual_weights(survey: Survey) -> str:
    """What `edgetl init` would start from: "letters" for what is small and grey."""
    table = tomllib.loads("\n".join(_usual(survey).model))
    return str(table["finetune"]["weights"])


def _usual(survey: Survey) -> ModelPlan:
    return choose_model(survey, model=None, weights=None, base=Path())


def _architecture(part: PartFacts, decided: Mapping[str, Any]) -> Chosen:
    if "architecture" in decided:
        return Chosen.by_wish(decided["architecture"])
    if part.kind == "tensor":
        return Chosen(value="mlp", why="it takes tensors of any shape; or python:MODULE:FACTORY")
    return Chosen(
        value="resnet18",
        why="small, and every backend runs it; `edgetl choose` measures others on this device",
    )


def _weights(
    survey: Survey, part: PartFacts, architecture: str, decided: Mapping[str, Any]
) -> Chosen:
    if "weights" in decided:
        return Chosen.by_wish(decided["weights"])
    if part.kind == "tensor" or is_mlp(architecture):
        return Chosen(value="none", why="there are no weights for tensors: it learns from nothing")
    if architecture.startswith(USER_CODE):
        return Chosen(value="none", why='write "factory" when the function loads weights')
    if architecture.startswith(TIMM):
        return Chosen(value="pretrained", why="timm's own, downloaded once")
    if _usual_weights(survey) == "letters":
        return Chosen(
            value="letters",
            why="learnt here from drawn letters, once: these pictures are as small, and as grey",
        )
    if is_cached(architecture):
        return Chosen(value="imagenet", why="torchvision's download lies in torch's cache")
    return Chosen(
        value="none",
        why="ImageNet's weights are not in torch's cache, and nothing is downloaded unasked: "
        "--weights imagenet does it once, and is usually much better",
    )


def is_cached(architecture: str) -> bool:
    """Whether torchvision's default weights of an architecture were downloaded before.

    torchvision alone knows the file's name: where a file could be it, a process is asked.
    """
    home = os.environ.get("TORCH_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    )
    folder = Path(home).expanduser() / "hub" / "checkpoints"
    if not any(folder.glob(f"{architecture}*.pth")):
        return False
    asked = subprocess.run(
        [sys.executable, "-c", _WEIGHTS_FILE, architecture],
        capture_output=True,
        text=True,
        check=False,
    )
    name = asked.stdout.strip()
    return asked.returncode == 0 and bool(name) and (folder / name).is_file()


def _input(survey: Survey, part: PartFacts, architecture: str, size: int | None) -> tuple[str, ...]:
    if is_mlp(architecture) and part.kind == "image":
        return _flat(survey, size)
    named = architecture if part.kind == "image" else None
    if architecture.startswith(USER_CODE):
        named = None
    lines = _usual(survey).input if named in (None, "resnet18") else _published(survey, named)
    if size is None:
        return lines
    if part.kind == "tensor":
        raise _no_size(size, f"tensors of {list(part.shape)}")
    table = tomllib.loads("\n".join(lines))["input"]
    scale = size / table["height"]
    table |= {"height": size, "width": size}
    if "resize_shorter" in table:
        table["resize_shorter"] = max(size, round(table["resize_shorter"] * scale))
    if "resize_to" in table:
        table["resize_to"] = [max(size, round(side * scale)) for side in table["resize_to"]]
    why = {"height": ASKED}
    return ("[input]", *(entry(key, value, why.get(key, "")) for key, value in table.items()))


def _published(survey: Survey, name: str | None) -> tuple[str, ...]:
    return choose_model(survey, model=name, weights=None, base=Path()).input


def _flat(survey: Survey, size: int | None) -> tuple[str, ...]:
    """An MLP takes pictures as the tensors that they are, where all are of one shape."""
    images = survey.drawn.images
    if size is not None:
        raise _no_size(size, "an mlp, which takes pictures as they are")
    if not isinstance(images, np.ndarray) or survey.single is None or images.shape[1:] == (1, 1):
        raise ConfigError(
            "architecture",
            got="an mlp for pictures in files of their own",
            expected="pictures of one shape in one file, such as idx:DIR, or a network for images",
            fix="leave --architecture out",
        )
    shape = [int(side) for side in images.shape[1:]]
    return ("[input]", entry("kind", "tensor"), entry("shape", shape, "as the pictures are"))


def _no_size(size: int, got: str) -> UsageError:
    return UsageError(
        f"--size {size}", got=got, expected="pictures that are resized", fix="leave --size out"
    )


def _section(keys: Mapping[str, Chosen]) -> Iterator[str]:
    yield "[finetune]"
    tables = {key: one.value for key, one in keys.items() if isinstance(one.value, dict)}
    for key, one in keys.items():
        if key in tables:
            continue
        if one.asked:
            yield entry(key, one.value, ASKED)
        else:
            yield from map(comment, textwrap.wrap(one.why, _WIDTH))
            yield entry(key, one.value)
    for key, table in tables.items():
        yield f"[finetune.{key}]"
        yield from (entry(inner, value, ASKED) for inner, value in table.items())
