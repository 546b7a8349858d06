"""Names of architectures, judged without torch."""

from __future__ import annotations

import pytest

from edgetl.errors import ConfigError
from edgetl.reference.architectures import check_architecture, known_head, mlp_widths
from edgetl.spec import ImageInput, TensorInput


def test_widths_are_read_in_order() -> None:
    assert mlp_widths("mlp:10") == (10,)
    assert mlp_widths("mlp:64,32,16") == (64, 32, 16)
    assert mlp_widths("mlp:65536") == (65536,)


@pytest.mark.parametrize(
    "architecture",
    [
        "mlp:",
        "mlp:0",
        "mlp:-4",
        "mlp:010",
        "mlp:10,",
        "mlp:,10",
        "mlp: 10",
        "mlp:10.0",
        "mlp:1e3",
        "mlp:1_0",
        "mlp:٣",
        "mlp:65537",
        "mlp:" + "9" * 1000,
        "mlp:" + ",".join(["8"] * 17),
    ],
)
def test_bad_widths_are_refused_with_an_example(architecture: str) -> None:
    with pytest.raises(ConfigError, match=r"expected 'mlp:WIDTHS'.*mlp:64,32"):
        check_architecture(architecture, TensorInput(shape=(4,)))


def test_an_mlp_of_any_widths_takes_a_tensor() -> None:
    with pytest.raises(ConfigError, match="a tensor input"):
        check_architecture("mlp:10", ImageInput(height=28, width=28))
    assert known_head("mlp:10") == "head"


def test_what_is_nearly_mlp_is_told_so() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mlp'"):
        check_architecture("mlpp:10", TensorInput(shape=(4,)))
