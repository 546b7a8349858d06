from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgetl.errors import ConfigError, UsageError
from edgetl.pipeline.config import load_config
from edgetl.pipeline.processes import ALONE, Launch, check_launch


def test_one_process_is_no_launch(tiny_config: Path) -> None:
    assert ALONE.alone and ALONE.world == 1
    check_launch(ALONE, load_config(tiny_config))


def test_it_travels_as_plain_data() -> None:
    launch = Launch(processes=2, machines=3, rank=2, address="node0:29500")
    assert Launch(**launch.to_json()) == launch and launch.world == 6 and not launch.alone


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": "node0:29500"}, "--machines N"),
        ({"rank": 1}, "--machines N"),
        ({"machines": 2}, "--address HOST:PORT"),
        ({"machines": 2, "address": "node0:29500", "rank": 2}, "0 to 1"),
        ({"machines": 2, "address": "node0:29500", "rank": -1}, "0 to 1"),
        ({"machines": 2, "address": "node0"}, "HOST:PORT"),
        ({"machines": 2, "address": ":29500"}, "HOST:PORT"),
        ({"machines": 2, "address": "node0:0"}, "HOST:PORT"),
        ({"machines": 2, "address": "node0:65536"}, "HOST:PORT"),
        ({"machines": 2, "address": "node0:²"}, "HOST:PORT"),
    ],
)
def test_what_does_not_fit_together(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Launch(**options)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_a_step_has_a_sample_for_each_process(tiny_config: Path) -> None:
    config = load_config(tiny_config)
    check_launch(Launch(processes=64), config)
    with pytest.raises(ConfigError, match="64 samples a step for 65 processes"):
        check_launch(Launch(processes=65), config)
    with pytest.raises(ConfigError, match="for 66 processes"):
        check_launch(Launch(processes=33, machines=2, address="node0:29500"), config)


def test_there_is_something_to_train(tiny_config: Path) -> None:
    config = replace(load_config(tiny_config), finetune=None)
    check_launch(ALONE, config)
    with pytest.raises(ConfigError, match="trained already"):
        check_launch(Launch(processes=2), config)
