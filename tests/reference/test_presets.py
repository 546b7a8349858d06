from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from torchvision import models
from torchvision.transforms import CenterCrop, Compose, Resize

from edgetl.data.preprocess import to_batch
from edgetl.errors import ConfigError, EdgetlError
from edgetl.input_json import input_from_json
from edgetl.reference import presets
from edgetl.reference.presets import input_from_timm, input_from_torchvision, main
from edgetl.spec import ImageInput

TORCHVISION = [
    "AlexNet_Weights.IMAGENET1K_V1",
    "ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
    "DenseNet121_Weights.IMAGENET1K_V1",
    "EfficientNet_B0_Weights.IMAGENET1K_V1",
    "EfficientNet_B3_Weights.IMAGENET1K_V1",
    "EfficientNet_V2_L_Weights.IMAGENET1K_V1",
    "Inception_V3_Weights.IMAGENET1K_V1",
    "MaxVit_T_Weights.IMAGENET1K_V1",
    "MobileNet_V3_Large_Weights.IMAGENET1K_V2",
    "MobileNet_V3_Large_QuantizedWeights.IMAGENET1K_QNNPACK_V1",
    "RegNet_Y_16GF_Weights.IMAGENET1K_SWAG_E2E_V1",
    "ResNet18_Weights.DEFAULT",
    "ResNet50_Weights.IMAGENET1K_V2",
    "Swin_T_Weights.IMAGENET1K_V1",
    "Swin_V2_T_Weights.IMAGENET1K_V1",
    "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1",
]
TIMM = [
    "beit_base_patch16_224.in22k_ft_in22k_in1k",
    "convnext_tiny.fb_in22k_ft_in1k_384",
    "deepseek_vit_412m.deepseek_v4_flash_vision_exp",
    "efficientnet_b0.ra_in1k",
    "eva02_tiny_patch14_336.mim_in22k_ft_in1k",
    "inception_v3.tv_in1k",
    "mobilenetv3_large_100",
    "mixer_b16_224.goog_in21k_ft_in1k",
    "resnet50.a1_in1k",
    "swin_base_patch4_window12_384.ms_in22k_ft_in1k",
    "tf_efficientnet_b4.ns_jft_in1k",
    "vit_base_patch16_224.augreg_in21k_ft_in1k",
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch16_sapiens2.fb",
    "vit_base_patch16_siglip_256.webli",
]
SIZES = [(427, 640), (301, 223), (97, 131), (224, 223)]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    # The same photos that ship inside scikit-learn, cut to odd sizes.
    photos = load_sample_images().images
    return [
        Image.fromarray(np.ascontiguousarray(photos[turn % 2][-height:, :width]))
        for turn, (height, width) in enumerate(SIZES)
    ]


def normalised(batch: np.ndarray, spec: ImageInput) -> np.ndarray:
    scaled = batch.astype(np.float32) / np.float32(255 if spec.pixel_range == "0-1" else 1)
    return (scaled - np.float32(spec.mean)) / np.float32(spec.std)


def check(pictures, spec, resize, transform) -> None:
    batch = to_batch([np.asarray(picture) for picture in pictures], spec)
    spec.tensor.check(batch)
    floats = normalised(batch, spec)
    for position, picture in enumerate(pictures):
        assert np.array_equal(batch[position], np.asarray(resize(picture)))
        wanted = transform(picture).permute(1, 2, 0).numpy()
        assert np.abs(floats[position] - wanted).max() <= 1e-6


@pytest.mark.parametrize("weights", TORCHVISION)
def test_pixels_are_those_of_torchvisions_transforms(weights, pictures) -> None:
    transform = models.get_weight(weights).transforms()
    resize = Compose(
        [
            Resize(transform.resize_size, interpolation=transform.interpolation),
            CenterCrop(transform.crop_size),
        ]
    )
    check(pictures, input_from_torchvision(weights), resize, transform)


@pytest.mark.parametrize("name", TIMM)
def test_pixels_are_those_of_timms_transform(name, pictures) -> None:
    data = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict())
    transform = create_transform(**data, is_training=False)
    resize = Compose(transform.transforms[:-2])
    check(pictures, input_from_timm(name), resize, transform)


def test_the_models_tried_are_of_every_way_and_filter() -> None:
    specs = [*map(input_from_timm, TIMM), *map(input_from_torchvision, TORCHVISION)]
    assert {spec.interpolation for spec in specs} == {"bilinear", "bicubic"}
    assert any(spec.letterbox == 128 for spec in specs)
    assert any(spec.resize_to for spec in specs) or any(
        spec.resize_shorter is None and spec.letterbox is None for spec in specs
    )
    assert any(spec.height != spec.width for spec in specs)
    assert any(spec.mean == (0.5,) * 3 for spec in specs)


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({"crop_mode": "squash", "crop_pct": 0.9}, {"resize_to": (248, 248)}),
        ({"crop_mode": "squash", "crop_pct": 1.0}, {"resize_to": None, "resize_shorter": None}),
        ({"crop_mode": "center", "crop_pct": 0.95}, {"resize_shorter": 235}),
        ({"crop_mode": "border", "crop_pct": 1.0}, {"letterbox": 128}),
        ({"interpolation": "lanczos"}, {"interpolation": "lanczos"}),
    ],
    ids=str,
)
def test_every_timm_setting_gives_timms_pixels(changes, way, pictures) -> None:
    data = timm_data() | changes
    spec = presets._from_data_config("made", data)
    assert {key: getattr(spec, key) for key in way} == way
    transform = create_transform(**data, is_training=False)
    check(pictures, spec, Compose(transform.transforms[:-2]), transform)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop_mode": "border", "crop_pct": 0.9}, "border"),
        ({"crop_mode": "border", "mean": (0.485, 0.456, 0.406)}, "coloured"),
        ({"input_size": (3, 256, 192)}, "256 × 192"),
        ({"input_size": (1, 28, 28)}, "1 channels"),
        ({"interpolation": "random"}, "random"),
        ({"interpolation": "hamming"}, "hamming"),
    ],
    ids=str,
)
def test_what_an_image_input_cannot_say_is_refused(changes, said) -> None:
    with pytest.raises(ConfigError, match=said):
        presets._from_data_config("made", timm_data() | changes)


def timm_data() -> dict[str, object]:
    return {
        "input_size": (3, 224, 224),
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "crop_pct": 1.0,
        "crop_mode": "center",
    }


@pytest.mark.parametrize(
    ("read", "name", "near"),
    [
        (
            input_from_torchvision,
            "ResNet18_Weights.IMAGENET1K_V9",
            "ResNet18_Weights.IMAGENET1K_V1",
        ),
        (input_from_torchvision, "resnet19", "ResNet34_Weights.IMAGENET1K_V1"),
        (input_from_torchvision, "Resnet18_Weights.IMAGENET1K_V1", "ResNet18_Weights."),
        (input_from_torchvision, "", "such as"),
        (input_from_torchvision, "a.b.c", "such as"),
        (input_from_timm, "resnet50.a1_in1", "resnet50.a1_in1k"),
        (input_from_timm, "resnet5O", "resnet50"),
        (input_from_timm, "", "such as"),
        (input_from_timm, "hf-hub:someone/something", "such as"),
        (input_from_timm, "../resnet50", "such as"),
    ],
)
def test_unknown_names_get_near_ones(read, name, near) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name)
    assert near in caught.value.expected


def test_weights_that_do_not_classify_images_are_refused() -> None:
    for weights in ("R3D_18_Weights.KINETICS400_V1", "FCOS_ResNet50_FPN_Weights.COCO_V1"):
        with pytest.raises(ConfigError, match="image classifier"):
            input_from_torchvision(weights)


def test_the_module_prints_one_line(capsys) -> None:
    assert main(["torchvision", "ResNet18_Weights.IMAGENET1K_V1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    wanted = ImageInput(height=224, width=224, resize_shorter=256)
    assert input_from_json(json.loads(line)["input"]) == wanted


def test_the_module_prints_an_error_in_four_parts(capsys) -> None:
    assert main(["timm", "resnet5O"]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said.keys() == {"error", "subject", "got", "expected", "fix"}
    assert said["error"] == "ConfigError" and issubclass(ConfigError, EdgetlError)
