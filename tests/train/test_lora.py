"""LoRA trains small matrices, and leaves a plain network with the same answers."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, ModelError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.head_kinds import give_head
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, ImageInput, TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune
from edgetl.train.lora import LoraNetwork, is_lora, with_lora
from edgetl.train.progress import TrainProgress

IMAGE = ImageInput(height=32, width=32)
TENSOR = TensorInput(shape=(6,))
BLOCK = "encoder.layers.encoder_layer_0"


def _vit() -> nn.Module:
    """A small one of the class that vit_b_16 is."""
    torch.manual_seed(0)
    return VisionTransformer(
        image_size=32,
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=3,
    )


def _timm() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer as TimmVit

    torch.manual_seed(0)
    return TimmVit(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=3)


def _mlp() -> nn.Module:
    torch.manual_seed(0)
    return build_network("mlp", 3, TENSOR)


def _with(network: nn.Module, **changes: object) -> LoraNetwork:
    options: dict[str, object] = {"rank": 2, "alpha": 4.0, "layers": None}
    return with_lora(network, **{**options, **changes})  # type: ignore[arg-type]


def _data(input: ClassifierInput) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (12, 3, 32, 32) if isinstance(input, ImageInput) else (12, 6)
    return torch.randn(shape, generator=generator), torch.arange(12) % 3


def _train(lora: LoraNetwork, input: ClassifierInput, steps: int = 5) -> float:
    x, y = _data(input)
    optimizer = torch.optim.AdamW(lora.set_trainable(), lr=0.02)
    loss = torch.tensor(math.nan)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(lora.network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize(
    ("make", "head", "input", "adapted"),
    [
        (
            _vit,
            "heads.head",
            IMAGE,
            (f"{BLOCK}.self_attention", f"{BLOCK}.mlp.0", f"{BLOCK}.mlp.3"),
        ),
        (
            _timm,
            "head",
            IMAGE,
            ("blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"),
        ),
        (_mlp, "head", TENSOR, ("body.1",)),
    ],
    ids=["torchvision-vit", "timm-vit", "mlp"],
)
def test_merged_it_is_the_plain_network_with_the_trained_answers(
    make: object, head: str, input: ClassifierInput, adapted: tuple[str, ...]
) -> None:
    network = make().eval()  # type: ignore[operator]
    plain = {name: value.clone() for name, value in network.state_dict().items()}
    x, _ = _data(input)
    with torch.no_grad():
        before = network(x)
    lora = _with(network, head=head, input=input)
    assert lora.network is network and lora.layers[: len(adapted)] == adapted
    with torch.no_grad():
        assert torch.allclose(network(x), before, atol=1e-6)
    first, last = _train(lora, input, steps=1), _train(lora, input, steps=8)
    assert last < first
    with torch.no_grad():
        unmerged = network(x)
    assert not torch.allclose(unmerged, before, atol=1e-2)
    state = lora.plain_state()
    assert any(is_lora(name) for name, _ in network.named_parameters())
    merged = lora.merge()
    assert merged is network and not any(is_lora(name) for name, _ in network.named_parameters())
    with torch.no_grad():
        assert torch.allclose(merged(x), unmerged, atol=1e-5)
    # In the plain network's order too: a file of weights keeps it.
    assert list(merged.state_dict()) == list(plain) == list(state)
    for name, value in merged.state_dict().items():
        assert value.shape == plain[name].shape and torch.equal(value, state[name])
    make().load_state_dict(merged.state_dict())  # type: ignore[operator]
    moved = {name.rpartition(".")[0] for name in plain if not torch.equal(plain[name], state[name])}
    assert {name.removesuffix(".out_proj") for name in moved} == {*lora.layers, head}
    biases = [name for name in plain if name.endswith("bias") and not name.startswith(head)]
    assert all(torch.allclose(plain[name], state[name], atol=1e-6) for name in biases)


def test_only_the_matrices_and_the_head_train() -> None:
    network = _mlp()
    lora = _with(network, head="head", input=TENSOR, rank=3)
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    sizes = {name: tuple(each.shape) for name, each in network.named_parameters()}
    assert trained == {
        *(f"body.{at}.lora_{side}.default.weight" for at in (1, 3) for side in "AB"),
        "head.weight",
        "head.bias",
    }
    assert sizes["body.1.lora_A.default.weight"] == (3, 6)
    assert len(lora.set_trainable()) == len(trained)


def test_it_is_the_papers_formula() -> None:
    network = _mlp()
    weight = network.body[1].weight.detach().clone()  # type: ignore[index, union-attr]
    lora = _with(network, head="head", input=TENSOR, rank=2, alpha=6.0, layers=("body.1",))
    matrices = dict(network.named_parameters())
    a, b = (matrices[f"body.1.lora_{side}.default.weight"] for side in "AB")
    assert not bool(b.any()) and bool(a.any())
    with torch.no_grad():
        b.fill_(0.1)
    want = weight + (6.0 / 2) * (b @ a).detach()
    assert torch.allclose(lora.merge().state_dict()["body.1.weight"], want, atol=1e-6)


def test_the_same_seed_gives_the_same_matrices_and_a_copy_stays_apart() -> None:
    ends = []
    for _ in range(2):
        lora = _with(_mlp(), head="head", input=TENSOR)
        _train(lora, TENSOR)
        ends.append(lora.plain_state())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    network = _mlp()
    lora = _with(network, head="head", input=TENSOR)
    other = copy.deepcopy(network)
    _train(lora, TENSOR)
    assert not torch.equal(other.head.weight, network.head.weight)  # type: ignore[union-attr, arg-type]


def test_an_attentions_frozen_weights_do_not_drift_beyond_rounding() -> None:
    """peft adds the matrices to an attention's weights before each call and takes them away."""
    network = _vit()
    lora = _with(network, head="heads.head", input=IMAGE, layers=("self_attention",))
    attention = network.get_submodule(f"{BLOCK}.self_attention")
    before = attention.in_proj_weight.detach().clone()
    _train(lora, IMAGE, steps=60)
    # 1e-5 of weights of size 0.1 after 60 steps: a float32 rounding a call.
    assert torch.allclose(attention.in_proj_weight, before, atol=1e-6)  # type: ignore[arg-type]


def test_layers_are_found_by_the_end_of_their_names() -> None:
    network = _timm()
    lora = _with(network, head="head", input=IMAGE, layers=("qkv", "blocks.1.mlp.fc1"))
    assert lora.layers == ("blocks.0.attn.qkv", "blocks.1.attn.qkv", "blocks.1.mlp.fc1")
    with pytest.raises(ConfigError, match=r"'fc9'.*among 'blocks\.0\.attn\.qkv'.* more"):
        _with(_timm(), head="head", input=IMAGE, layers=("fc9",))
    with pytest.raises(ConfigError, match="'head', which is no linear layer"):
        _with(_timm(), head="head", input=IMAGE, layers=("head",))
    with pytest.raises(ConfigError, match="name the whole module, not its out_proj"):
        _with(_vit(), head="heads.head", input=IMAGE, layers=("out_proj",))


def test_layers_whose_weights_are_read_past_them_are_not_adapted() -> None:
    network = build_network("swin_t", 3, IMAGE)
    with pytest.raises(ConfigError, match=r"reads the weights of 'features\.1\.0\.attn\.qkv'"):
        _with(network, head="head", input=IMAGE, layers=("qkv",))
    lora = _with(network, head="head", input=IMAGE)
    assert lora.layers and not any(".attn." in name for name in lora.layers)


def test_the_whole_of_a_new_head_trains_and_none_of_it_is_adapted() -> None:
    network = _mlp()
    layer = give_head(network, "head", "mlp", width=4)
    lora = _with(network, head=layer, input=TENSOR)
    assert lora.layers == ("body.1", "body.3")
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert {"head.hidden.weight", "head.linear.bias"} <= trained


def test_a_network_without_such_layers_and_bad_numbers_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(2, 3))
    with pytest.raises(ModelError, match=r"no linear layer but the head '3'.*two-stage"):
        _with(network, head="3", input=IMAGE)
    for rank in (0, -1, 2.0):
        with pytest.raises(ConfigError, match="lora_rank"):
            _with(_mlp(), head="head", input=TENSOR, rank=rank)
    for alpha in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="lora_alpha"):
            _with(_mlp(), head="head", input=TENSOR, alpha=alpha)


def test_nan_is_not_merged() -> None:
    network = _mlp()
    lora = _with(network, head="head", input=TENSOR)
    with torch.no_grad():
        next(p for name, p in network.named_parameters() if is_lora(name)).fill_(math.nan)
    with pytest.raises(ModelError, match=r"LoRA: got .*NaN"):
        lora.merge()


@pytest.mark.parametrize("stopped", [False, True], ids=["whole", "resumed"])
def test_training_stores_a_plain_network(stopped: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    part = SplitPart(
        ids=tuple(f"{index:064x}" for index in range(24)),
        labels=np.arange(24) % 3,
        images=rng.normal(size=(24, 6)).astype(np.float32)
        + np.eye(3, 6, dtype=np.float32)[np.arange(24) % 3] * 4,
    )
    torch.manual_seed(3)
    start = build_network("mlp", 3, TENSOR)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    config = FinetuneConfig(
        architecture="mlp",
        weights=str(tmp_path / "start.safetensors"),
        recipe="lora",
        epochs=3,
        batch_size=8,
        learning_rate=0.02,
        lora_rank=2,
        device="cpu",
    )

    def run(out: str, interrupt: bool = False) -> Path:
        def stop(told: TrainProgress) -> None:
            if interrupt and told.epoch == 2 and told.record is not None:
                raise KeyboardInterrupt

        finetune(
            config,
            part,
            part,
            input=TENSOR,
            classes=("a", "b", "c"),
            out=tmp_path / out,
            progress=stop,
        )
        return tmp_path / out

    if stopped:
        with pytest.raises(KeyboardInterrupt):
            run("one", interrupt=True)
    network, _ = load_classifier(run("one"))
    state, before = network.state_dict(), start.state_dict()
    assert list(state) == list(before)
    moved = {name for name in before if not torch.equal(before[name], state[name])}
    assert moved == {"body.1.weight", "body.3.weight", "head.weight", "head.bias"}
    if stopped:
        whole = run("two") / "model.safetensors"
        assert whole.read_bytes() == (tmp_path / "one" / "model.safetensors").read_bytes()
        return
    # The figures of the kept epoch are those of the network that is stored, merged.
    history = json.loads((tmp_path / "one" / "history.json").read_text())
    best = history["epochs"][history["best_epoch"] - 1]
    with torch.no_grad():
        raw = network(torch.from_numpy(np.asarray(part.images)))
    nll = nn.functional.cross_entropy(raw, torch.from_numpy(part.labels))
    assert best["nll"] == pytest.approx(float(nll), rel=1e-4) and best["phase"] == "lora"
