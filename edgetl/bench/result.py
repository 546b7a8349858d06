"""The result of a bench: `edgetl.bench/1`, a JSON file with its raw samples beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.bench.cells import (
    Cell,
    Control,
    cell_from_json,
    cell_of,
    cell_to_json,
    control_from_json,
)
from edgetl.bench.compare import Pair, ratio
from edgetl.bench.footprint import Footprint
from edgetl.bench.measure import CONTROL, Samples, Seconds
from edgetl.bench.npz import read_npz, write_npz
from edgetl.bench.scenarios import SCENARIO
from edgetl.errors import DataError, GateError
from edgetl.files import parse_json, write_json

__all__ = ["SCHEMA", "BenchResult", "Cell", "Control", "Run", "result_of"]

SCHEMA = "edgetl.bench/1"
CONTROL_MARGIN = 0.05
_MAX_JSON = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One interleaved run, as `edgetl.bench.measure.interleave` returns it, with its setting.

    `reference` names the side that the others are compared with.
    """

    samples: Samples
    batch: int
    threads: int
    reference: str = "reference"
    control_of: str | None = None

    @property
    def file(self) -> str:
        """The name of its samples file."""
        return f"samples-b{self.batch}-t{self.threads}.npz"


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchResult:
    """What was measured on one machine: cells, the control and the samples they come from.

    Attributes:
        machine: Of `edgetl.bench.machine.machine_facts`, with ``warnings`` (a list of texts).
        samples: File name -> side -> float64 [rounds, calls], seconds.
        reference_id: What the reference computes and with which PyTorch, as a hash: two results
            with the same one have a yardstick in common. None when it is not known.
    """

    machine: Mapping[str, Any]
    cells: tuple[Cell, ...]
    control: Control | None
    samples: Mapping[str, Mapping[str, Seconds]]
    reference_id: str | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What disturbed the measurement: a control unequal to itself, and the warnings."""
        found = [f"while latency was measured, {text}" for text in self.machine.get("warnings", ())]
        if self.control is not None and not self.control.equivalent:
            one = self.control
            found.insert(
                0,
                f"{one.of} measured beside itself gave a ratio of {one.estimate:.3f} "
                f"[{one.lower:.3f}, {one.upper:.3f}], not equal within {one.margin:.0%}: the "
                "machine was too noisy for such differences of latency",
            )
        return tuple(found)

    def cell(self, variant: str, *, batch: int, threads: int | None = None) -> Cell:
        """The cell of a variant in the closed loop, where sides are compared.

        `threads` may be left out when only one count was measured.

        Raises:
            GateError: When it was not measured so, or several cells fit.
        """
        found = [
            cell
            for cell in self.cells
            if (cell.variant, cell.batch, cell.scenario) == (variant, batch, SCENARIO)
            and threads in (None, cell.threads)
        ]
        if len(found) == 1:
            return found[0]
        measured = (f"{c.variant} at batch {c.batch}, {c.threads} threads" for c in self.cells)
        raise GateError(
            "bench result",
            got=f"{len(found) or 'no'} cells of '{variant}' at batch {batch} and "
            f"{threads or 'any number of'} threads",
            expected="one of " + "; ".join(measured),
            fix="measure the variant at the policy's objective, or name the threads",
        )

    def pair(
        self,
        variant: str,
        against: str = "reference",
        *,
        batch: int = 1,
        threads: int | None = None,
    ) -> Pair:
        """Two sides of one run, with their samples; `threads` as for `cell`.

        Raises:
            GateError: When either was not measured at this batch and thread count.
        """
        ours = self.cell(variant, batch=batch, threads=threads)
        theirs = self.cell(against, batch=batch, threads=ours.threads)
        if ours.samples != theirs.samples:
            raise GateError(
                "bench result",
                got=f"'{variant}' and '{against}' from different runs",
                expected="sides of one interleaved run",
                fix="measure the two together",
            )
        sides = self.samples[ours.samples]
        return Pair(
            name=variant,
            against=against,
            seconds=sides[variant],
            against_seconds=sides[against],
            batch=batch,
            threads=ours.threads,
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON document, docs/schemas/bench-1.json."""
        return {
            "schema": SCHEMA,
            "machine": dict(self.machine),
            "cells": [cell_to_json(cell) for cell in self.cells],
            "control": None if self.control is None else asdict(self.control),
            "reference_id": self.reference_id,
        }

    def beside(self, stem: str) -> BenchResult:
        """The same result with samples files that begin with `stem`: two may share a folder."""
        return replace(
            self,
            cells=tuple(replace(cell, samples=f"{stem}.{cell.samples}") for cell in self.cells),
            samples={f"{stem}.{name}": sides for name, sides in self.samples.items()},
        )

    def save(self, path: Path) -> None:
        """Write the JSON file, and the samples files into the same folder before it."""
        for name, sides in self.samples.items():
            write_npz(path.parent / name, sides)
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> BenchResult:
        """Read what `save` wrote; the files are not trusted.

        Raises:
            GateError: When a file is missing or damaged, or cells and samples do not fit together.
        """
        path = Path(path)
        if not path.is_file() or path.stat().st_size > _MAX_JSON:
            raise _not_a_result(path, "no such file, or one over 16 MiB")
        try:
            document = parse_json(path.read_bytes(), str(path))
            if document["schema"] != SCHEMA:
                raise _not_a_result(path, f"schema {document['schema']!r:.60}")
            cells = tuple(cell_from_json(value) for value in document["cells"])
            control = control_from_json(document["control"]) if document["control"] else None
            machine = dict(document["machine"])
            reference_id = document.get("reference_id")
        except DataError as error:
            raise _not_a_result(path, error.got) from error
        except (KeyError, TypeError, ValueError) as error:
            raise _not_a_result(path, f"{type(error).__name__}: {error}") from error
        if not isinstance(machine.get("packages", {}), dict):
            raise _not_a_result(path, "packages that are no table")
        if not isinstance(machine.get("warnings", []), list):
            raise _not_a_result(path, "warnings that are no list")
        samples = {name: read_npz(path.parent / name) for name in {c.samples for c in cells}}
        for cell in cells:
            array = samples[cell.samples].get(cell.variant)
            if array is None or array.shape != (cell.rounds, cell.calls) or not _times(array):
                raise _not_a_result(path, f"no samples of '{cell.variant}' in {cell.samples}")
        return cls(
            machine=machine,
            cells=cells,
            control=control,
            samples=samples,
            reference_id=None if reference_id is None else str(reference_id),
        )


def result_of(
    runs: Sequence[Run],
    *,
    machine: Mapping[str, Any],
    footprints: Mapping[str, Footprint] | None = None,
    control_margin: float = CONTROL_MARGIN,
    reference_id: str | None = None,
) -> BenchResult:
    """Turn interleaved runs into a result.

    Args:
        runs: Each with its own batch and threads.
        machine: Facts and warnings.
        footprints: Of the sides whose cold start was measured, by name.
        control_margin: What the control is judged by.
        reference_id: As `BenchResult` has it.

    Returns:
        The result; its control is that of the first run that has one.

    Raises:
        GateError: When two runs share batch and threads.
    """
    if len({run.file for run in runs}) != len(runs):
        raise GateError(
            "bench runs",
            got="two with the same batch and threads",
            expected="one run for each batch and thread count",
            fix="measure all sides of a setting in one run",
        )
    return BenchResult(
        machine=dict(machine),
        cells=tuple(cell for run in runs for cell in _cells(run, footprints or {})),
        control=next((_control(run, control_margin) for run in runs if run.control_of), None),
        samples={run.file: dict(run.samples.seconds) for run in runs},
        reference_id=reference_id,
    )


def _cells(run: Run, footprints: Mapping[str, Footprint]) -> list[Cell]:
    reference = run.samples.seconds.get(run.reference)
    return [
        cell_of(
            name,
            seconds,
            batch=run.batch,
            threads=run.threads,
            against=None if name == run.reference else reference,
            footprint=footprints.get(name),
            settled=run.samples.settled[name],
            samples=run.file,
        )
        for name, seconds in run.samples.seconds.items()
        if name != CONTROL
    ]


def _control(run: Run, margin: float) -> Control:
    assert run.control_of is not None
    found = ratio(run.samples[CONTROL], run.samples[run.control_of], confidence=0.90)
    return Control(
        of=run.control_of,
        batch=run.batch,
        threads=run.threads,
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        margin=margin,
        equivalent=found.within(margin),
    )


def _times(array: NDArray[Any]) -> bool:
    return array.dtype == np.float64 and bool((np.isfinite(array) & (array > 0)).all())


def _not_a_result(path: Path, got: str) -> GateError:
    return GateError(
        str(path),
        got=got,
        expected="a result that `edgetl bench` wrote, with its samples beside it",
        fix="measure again",
    )
