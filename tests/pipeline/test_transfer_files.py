from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.letters import render_letters
from edgetl.files import sha256_file, write_json
from edgetl.pipeline.config import load_config
from edgetl.pipeline.graph import STAGES, key_inputs
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.sections import (
    DistillationSection,
    FinetuneSection,
    PreviousSection,
    SourceSection,
)
from edgetl.pipeline.transfer_files import term_files
from edgetl.reference.description import (
    ClassifierDescription,
    WeightsRecord,
    description_to_json,
)
from edgetl.spec import Head, TensorInput

PLAIN = FinetuneSection(architecture="mlp", weights="none")
CODE = Path("code")


def write_source(path: Path, *, seed: int) -> Path:
    letters = render_letters(2, seed=seed, size=8)
    np.savez(path, images=letters.images, labels=letters.labels)
    return path


def test_a_training_without_tables_has_no_files() -> None:
    assert term_files(PLAIN, CODE) == {}


def test_the_sources_files_are_hashed(tmp_path: Path) -> None:
    path = write_source(tmp_path / "letters.npz", seed=0)
    section = replace(PLAIN, source=SourceSection(data=f"npz:{path}"))

    assert term_files(section, CODE) == {"source letters.npz": sha256_file(path)}


def test_a_teachers_and_a_previous_classifiers_files_are_hashed(tmp_path: Path) -> None:
    run, teacher = tmp_path / "run", tmp_path / "teacher"
    for file in (
        teacher / "classifier.json",
        teacher / "model.onnx",
        run / "finetune/classifier.json",
        run / "finetune/model.safetensors",
        run / "data/splits.json",
        run / "data/train.npz",
        run / "data/test.npz",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))
    section = replace(
        PLAIN,
        distillation=DistillationSection(teacher=str(teacher)),
        previous=PreviousSection(classifier=str(run), run=str(run)),
    )

    assert set(term_files(section, CODE)) == {
        "teacher classifier.json",
        "teacher model.onnx",
        "previous finetune/classifier.json",
        "previous finetune/model.safetensors",
        "previous data/splits.json",
        "previous data/train.npz",
        "previous run data/splits.json",
        "previous run data/train.npz",
    }


def test_the_code_of_a_teacher_is_hashed_with_what_it_imports(tmp_path: Path) -> None:
    """The teacher's answers come from it, and the student may be another architecture."""
    teacher, code = tmp_path / "teacher", tmp_path / "code"
    description = ClassifierDescription(
        architecture="python:mine:make",
        input=TensorInput(shape=(4,)),
        head=Head(layer="head", classes=("a", "b")),
    )
    teacher.mkdir()
    record = WeightsRecord(size=1, sha256="0" * 64)
    write_json(teacher / "classifier.json", description_to_json(description, record))
    code.mkdir()
    (code / "mine.py").write_text("import parts")
    (code / "parts.py").write_text("WIDTH = 3")
    section = replace(PLAIN, distillation=DistillationSection(teacher=str(teacher)))

    files = term_files(section, code)

    assert files["teacher code mine.py"] == sha256_file(code / "mine.py")
    assert files["teacher code parts.py"] == sha256_file(code / "parts.py")


def test_what_is_missing_is_left_for_the_terms_to_refuse(tmp_path: Path) -> None:
    section = replace(
        PLAIN,
        source=SourceSection(data=f"npz:{tmp_path / 'none.npz'}"),
        distillation=DistillationSection(teacher=str(tmp_path / "none")),
        previous=PreviousSection(classifier=str(tmp_path / "none")),
    )

    assert term_files(section, CODE) == {}


@pytest.fixture
def keyed(tiny_config: Path, tmp_path: Path) -> tuple[Path, RunFolder]:
    folder = RunFolder(tmp_path / "run")
    made = folder.stage("data")
    made.mkdir(parents=True)
    folder.write_record(made, key="0", inputs={}, seconds=0.0)
    return tiny_config, folder


def test_changed_source_data_redoes_the_training_and_nothing_before_it(
    keyed: tuple[Path, RunFolder], tmp_path: Path
) -> None:
    path, folder = keyed
    config = load_config(path)
    assert config.finetune is not None
    source = write_source(tmp_path / "letters.npz", seed=0)
    section = replace(config.finetune, source=SourceSection(data=f"npz:{source}"))
    joint = replace(config, finetune=section)
    stages = {stage.name: stage for stage in STAGES}

    def keys() -> list[object]:
        return [key_inputs(stages[name], joint, folder) for name in ("data", "finetune")]

    before = keys()
    assert keys() == before
    write_source(source, seed=1)
    after = keys()

    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_method_its_weight_and_its_size_are_in_the_key(
    keyed: tuple[Path, RunFolder],
) -> None:
    path, folder = keyed
    config = load_config(path)
    assert config.finetune is not None
    stage = next(stage for stage in STAGES if stage.name == "finetune")
    sources = [
        None,
        SourceSection(data="builtin:letters"),
        SourceSection(data="builtin:letters", weight=0.5),
        SourceSection(data="builtin:letters", method="dann"),
        SourceSection(data="builtin:letters", schedule="ramp"),
        SourceSection(data="builtin:letters", per_class=20),
        SourceSection(data="builtin:letters", batch_size=8),
    ]

    keys = [
        str(
            key_inputs(
                stage,
                replace(config, finetune=replace(config.finetune, source=source)),
                folder,
            )
        )
        for source in sources
    ]

    assert len(set(keys)) == len(sources)
