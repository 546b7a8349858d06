"""States on disk: whole, of this run, and restored in the layout they had."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from edgetl.errors import CheckpointError
from edgetl.train.recipes import build_optimizer
from edgetl.train.state import (
    EpochRecord,
    best_record,
    best_weights,
    load_state,
    restore_optimizer,
    save_state,
)


def _record(epoch: int, nll: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        phase="all",
        loss=0.1 + 0.2,
        learning_rate=1e-3 / 3,
        top1=0.5,
        nll=nll,
        ece=0.1,
        entropy=0.2,
    )


def _trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(
        memory_format=torch.channels_last
    )
    optimizer = build_optimizer(network, learning_rate=0.1, weight_decay=0.1)
    _step(network, optimizer)
    return network, optimizer


def _step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(1)
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_run_takes_the_very_next_step(tmp_path: Path) -> None:
    network, optimizer = _trained()
    save_state(tmp_path, "d", [_record(1, 0.3)], network.state_dict(), optimizer)
    state = load_state(tmp_path, "d")
    assert state is not None and state.records == (_record(1, 0.3),)
    again = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(
        memory_format=torch.channels_last
    )
    again.load_state_dict(state.weights)
    fresh = build_optimizer(again, learning_rate=0.1, weight_decay=0.1)
    restore_optimizer(fresh, state.optimizer)
    moments = fresh.state[again[0].weight]
    assert moments["exp_avg"].stride() == again[0].weight.stride()
    _step(network, optimizer)
    _step(again, fresh)
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    for parameter, other in zip(network.parameters(), again.parameters(), strict=True):
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(fresh.state[other][key], value)


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    network, optimizer = _trained()
    records: list[EpochRecord] = []
    for epoch, nll in enumerate([0.5, 0.2, 0.4, 0.3], start=1):
        records.append(_record(epoch, nll))
        with torch.no_grad():
            next(network.parameters()).fill_(epoch)
        save_state(tmp_path, "d", records, network.state_dict(), optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002", "epoch-0004"]
    assert best_record(records).epoch == 2
    assert float(best_weights(tmp_path, records)["0.weight"].flatten()[0]) == 2


def test_another_runs_states_and_half_written_ones_are_removed(tmp_path: Path) -> None:
    network, optimizer = _trained()
    save_state(tmp_path, "d", [_record(1, 0.3)], network.state_dict(), optimizer)
    (tmp_path / ".epoch-0002.abc").mkdir()
    assert load_state(tmp_path, "d") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]
    assert load_state(tmp_path, "e") is None
    assert not list(tmp_path.iterdir())
    assert load_state(tmp_path / "nowhere", "d") is None


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("fault", ["flip", "cut", "gone"])
def test_damage_is_named_and_never_trained_on(tmp_path: Path, name: str, fault: str) -> None:
    network, optimizer = _trained()
    save_state(tmp_path, "d", [_record(1, 0.3)], network.state_dict(), optimizer)
    path = tmp_path / "epoch-0001" / name
    data = bytearray(path.read_bytes())
    if fault == "gone":
        path.unlink()
    else:
        # The last byte of state.json is a newline: the one before it closes the document.
        data[-2] ^= 1
        path.write_bytes(data if fault == "flip" else data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_state(tmp_path, "d")


def test_terms_an_average_and_a_scale_come_back_as_they_were(tmp_path: Path) -> None:
    network, optimizer = _trained()
    average = {"0.weight": torch.randn(2), "n_averaged": torch.tensor(7)}
    terms = {"0.own.weight": torch.randn(3, 2)}
    record = dataclasses.replace(_record(1, 0.3), terms={"joint": 0.1 + 0.2})
    save_state(
        tmp_path,
        "d",
        [record],
        network.state_dict(),
        optimizer,
        average=average,
        terms=terms,
        scaler={"scale": 1024.0, "_growth_tracker": 3},
    )
    state = load_state(tmp_path, "d")
    assert state is not None and state.records == (record,)
    for got, want in ((state.average, average), (state.terms, terms)):
        assert got.keys() == want.keys()
        assert all(torch.equal(got[name], want[name]) for name in want)
    assert state.scaler == {"scale": 1024.0, "_growth_tracker": 3}
    assert best_weights(tmp_path, [record]).keys() == {"0.weight"}
    (tmp_path / "epoch-0001" / "average.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="average"):
        load_state(tmp_path, "d")
