"""What each key of a release config is, in a sentence: for editors, by way of the JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgetl.data.sources import SOURCES

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "schema": "The version of this format.",
        "name": "The release's name, and the folder of its run: up to 64 letters, digits, '.', "
        "'_' and '-'.",
        "version": "One to four numbers, such as 1.0.0; the bundle is NAME-VERSION.edgetl.",
        "code": "The folder that python:MODULE:NAME is imported from, relative to this file.",
        "seed": "Of training, the ptq samples and the order of measurements.",
        "threads": "Threads of every computation; all cores when left out.",
        "data": "Where the labelled data comes from, and how many samples each split takes.",
        "data.source": f"{', '.join(SOURCES)}; a path is relative to this file.",
        "data.train": "Samples to train on and to draw the INT8 ranges from; all that remain when "
        "left out.",
        "data.val": "Samples that stop training early and choose between candidates.",
        "data.calib": "Samples that the temperature is fitted on.",
        "data.test": "Samples that decide the verdict, opened once, by the gate; the source's own "
        "test part when left out.",
        "data.per_class": "In place of train: so many training samples of each class; the others "
        "are not used.",
        "data.seed": "Of the draw of the splits.",
        "data.classes": "Names of the classes in place of the source's own, in label order.",
        "input": "What the classifier takes, and how a picture becomes that.",
        "input.kind": "An image, a tensor, or several of these in [input.parts.NAME].",
        "input.parts": "A table for each input, named as the data's arrays are.",
        "input.height": "Pixels that the network sees, from top to bottom.",
        "input.width": "Pixels that the network sees, from left to right.",
        "input.resize_shorter": "The shorter side is resized to this, then the middle is cut out.",
        "input.resize_to": "[height, width] that a picture is resized to before the middle is cut "
        "out.",
        "input.letterbox": "The grey, 0 to 255, of the border around a picture that keeps its "
        "proportions and loses nothing.",
        "input.interpolation": "How a picture is resized.",
        "input.antialias": "Whether resizing smooths first, as Pillow does.",
        "input.channels": "The order of the colours, or one channel of grey.",
        "input.pixel_range": "What pixels are before mean and std: 0 to 1, or 0 to 255.",
        "input.mean": "Taken from each channel; ImageNet's when left out.",
        "input.std": "Divides each channel; ImageNet's when left out.",
        "input.shape": "One sample's shape, for a tensor; without the batch.",
        "finetune": "A network for edgetl to train; or write [model] for one that is trained.",
        "finetune.architecture": "A torchvision name, timm:NAME, or python:MODULE:FACTORY.",
        "finetune.head": "The last linear layer's dotted name; found when it can be only one.",
        "finetune.weights": "imagenet, pretrained (timm's), letters (drawn on this machine), none, "
        "factory, or a .safetensors file.",
        "finetune.recipe": "What trains when: the head only, the head and then all, all block by "
        "block, all at once, a solved head and then all, or low-rank additions.",
        "finetune.device": "Where training runs; auto takes a GPU that is there.",
        "finetune.epochs": "At most this many passes over the train split.",
        "finetune.head_epochs": "Passes of the head alone, in the recipe two-stage.",
        "finetune.batch_size": "Samples a step.",
        "finetune.learning_rate": "The peak rate of the whole network.",
        "finetune.head_learning_rate": "The peak rate of the head alone.",
        "finetune.weight_decay": "The optimiser's, of weight matrices.",
        "finetune.label_smoothing": "The share of the target that all classes have in common.",
        "finetune.augment": "light shifts pictures, light-flip also mirrors them, crop-flip cuts "
        "out a part, trivial and rand are TrivialAugment and RandAugment; light for images when "
        "left out.",
        "finetune.precision": "bf16 trains under autocast; fp16 also scales the loss, on CUDA.",
        "finetune.patience": "Epochs without a better val loss after which training stops.",
        "finetune.optimizer": "What takes the steps; sgd has a momentum of 0.9.",
        "finetune.schedule": "How the learning rate falls after its warm-up.",
        "finetune.train_from": "The first module that trains in the last phase; all train when "
        "left out.",
        "finetune.layer_decay": "Multiplies the learning rate once for each block below the head.",
        "finetune.accumulate": "Batches that make one step together.",
        "finetune.ema": "Decay of the average of the weights that is kept in their place.",
        "finetune.loss": "What is minimised: cross-entropy, the focal loss, or cross-entropy of "
        "logits adjusted by how frequent each class is.",
        "finetune.focal_gamma": "Of the focal loss.",
        "finetune.logit_adjustment": "The tau of logit-adjusted.",
        "finetune.class_weights": "How rare classes count more: by one over their number, or over "
        "their effective number.",
        "finetune.sampler": "balanced draws every class equally often.",
        "finetune.mixup": "Alpha of MixUp; 0 is off.",
        "finetune.cutmix": "Alpha of CutMix; 0 is off.",
        "finetune.head_kind": "What the network ends in.",
        "finetune.head_width": "Hidden units of the head mlp.",
        "finetune.choose_weight_decay": "Choose the head's weight decay by cross-validation on the "
        "training samples.",
        "finetune.lora_rank": "The rank of the additions of the recipe lora.",
        "finetune.lora_alpha": "Their scale, over the rank.",
        "finetune.lora_layers": "Names or endings of names of the layers that get one; those of "
        "attention and multilayer perceptrons when left out.",
        "finetune.suspicious_labels": "List training images whose labels look wrong.",
        "finetune.l2_sp": "Hold the weights to what they started from.",
        "finetune.l2_sp.weight": "How strongly, of the body.",
        "finetune.l2_sp.head_weight": "How strongly the head is held to zero.",
        "finetune.keep_answers": "Keep what the starting network answers to the new images.",
        "finetune.keep_answers.weight": "How strongly.",
        "finetune.keep_answers.temperature": "Divides the logits that are compared.",
        "finetune.distillation": "Learn a teacher's answers too.",
        "finetune.distillation.teacher": "The folder of its classifier.json, relative to this "
        "file.",
        "finetune.distillation.weight": "How strongly.",
        "finetune.distillation.temperature": "Divides the logits that are compared.",
        "finetune.previous": "An earlier classifier whose classes must not be forgotten.",
        "finetune.previous.classifier": "The folder of its classifier.json, relative to this file.",
        "finetune.previous.run": "The folder of its finished run, for its data.",
        "finetune.previous.ewc": "How strongly its important weights are held; 0 is off.",
        "finetune.previous.lwf": "How strongly its answers to the new images are kept; 0 is off.",
        "finetune.previous.temperature": "Divides the logits that are compared.",
        "finetune.source": "Labelled data of another task, trained on beside the target's.",
        "finetune.source.data": "A source as in data.source.",
        "finetune.source.per_class": "Samples of each of its classes; all when left out.",
        "finetune.source.method": "Its cross-entropy by a head of its own (joint), or features "
        "made alike (dann, coral).",
        "finetune.source.weight": "How strongly.",
        "finetune.source.schedule": "How that changes as training goes on.",
        "finetune.source.batch_size": "Its samples a step; as many as the target's when left out.",
        "finetune.pretrain": 'How the letters are learnt, for weights = "letters".',
        "finetune.pretrain.per_class": "Drawn letters of each class.",
        "finetune.pretrain.epochs": "Passes over them.",
        "finetune.pretrain.batch_size": "Letters a step.",
        "finetune.pretrain.learning_rate": "The peak rate.",
        "model": "A classifier that is trained already; or write [finetune] for one to train.",
        "model.architecture": "A torchvision name, timm:NAME, or python:MODULE:FACTORY.",
        "model.weights": "A .safetensors file, a .pt or .pth state dict, or factory.",
        "model.weights_entry": "The entry of a .pt file that holds the state dict.",
        "model.weights_prefix": "Taken off every key of the state dict.",
        "model.head": "The last linear layer's dotted name; output puts the temperature behind "
        "the network.",
        "model.onnx": "An ONNX file, in place of architecture and weights.",
        "model.output": "What the ONNX file answers, when it does not say so itself.",
        "model.transform": "python:MODULE:NAME, the transform that the network was trained with: "
        "edgetl's pixels are checked against it.",
        "export": "The ONNX file, and the limits of the checks made of it.",
        "export.opset": "The ONNX file's.",
        "export.logits": "Whether the file also gives logits.",
        "export.parity_images": "Samples on which the file is compared with the reference.",
        "export.max_pixel_difference": "The worst pixel, of 0 to 255, that edgetl's preprocessing "
        "may differ by from the model's own transform.",
        "export.max_probability_difference": "What that may change a probability by.",
        "quantize": "How INT8 is made.",
        "quantize.ptq_samples": "Training samples that set the INT8 ranges.",
        "compile": "The candidates.",
        "compile.variants": "ort is ONNX Runtime, ov is OpenVINO.",
        "compile.openvino_device": "CPU, GPU, GPU.1, NPU, AUTO or AUTO:GPU,CPU.",
        "bench": "How long and how often latency is measured.",
        "bench.calls": "Calls of each variant in a round.",
        "bench.rounds": "Rounds, in each of which every variant is called.",
        "bench.max_seconds": "The budget of all rounds.",
        "gate": "What a verdict is taken against.",
        "gate.required": "The backends that must have a variant that passes; all when left out.",
        "gate.policy": "The limits of harm, each compared with a one-sided bound.",
        "gate.policy.max_accuracy_drop": "Top-1 of the reference minus the candidate's: 0.01 is "
        "one point.",
        "gate.policy.max_nll_increase": "Of the mean negative log-likelihood, in nats.",
        "gate.policy.max_brier_increase": "Of the mean Brier score, summed over classes.",
        "gate.policy.max_confidence_gap": "Of mean confidence minus accuracy, either way.",
        "gate.policy.max_log_temperature_ratio": "Of the log ratio of the temperatures that would "
        "fit candidate and reference, either way.",
        "gate.policy.max_flip_rate": "The share of samples whose top class changes.",
        "gate.policy.max_worst_class_drop": "Top-1 lost by the worst class; off when left out.",
        "gate.policy.max_slice_drop": "Top-1 lost by each slice; off when left out.",
        "gate.policy.slices": "Columns of the data, or column=value for one value; every column "
        "when left out.",
        "gate.policy.max_p50_ratio": "The candidate's median latency over the reference's.",
        "gate.policy.max_p90_ratio": "The same of the 90th percentile; off when left out.",
        "gate.policy.max_p99_ms": "The candidate's 99th percentile, in milliseconds a call; off "
        "when left out.",
        "gate.policy.max_size_mb": "The candidate's files, in MiB; off when left out.",
        "gate.policy.max_memory_mb": "Peak memory of a process that loads the candidate and "
        "answers once, in MiB; off when left out.",
        "gate.policy.alpha": "One-sided error rate of every bound.",
        "gate.policy.objective": "What latency is measured at.",
        "gate.policy.objective.batch": "Samples a call.",
        "gate.policy.objective.threads": "Threads a call; all cores when left out.",
        "bundle": "What is packed beside the winners.",
        "bundle.golden": "The golden set that a device checks itself by: real val samples, "
        "synthetic ones, or none.",
        "bundle.golden_images": "How many samples.",
        "report": "The HTML page.",
        "report.occlusion_seconds": "Time to look for what each flip was seen by; 0 leaves it out.",
        "report.waterfall_images": "Val samples whose answers are compared step by step; 0: none.",
    }
)
"""A sentence for each key by its dotted name; the parts of an input are described as the input."""

EXAMPLES: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "name": ("pets",),
        "version": ("1.0.0",),
        "data.source": ("folder:photos", "csv:labels.csv", "npz:windows.npz", "builtin:digits"),
        "data.classes": (["cat", "dog"],),
        "input.height": (96, 224),
        "input.width": (96, 224),
        "input.resize_shorter": (256,),
        "input.resize_to": ([232, 232],),
        "input.mean": ([0.485, 0.456, 0.406], [0.5]),
        "input.std": ([0.229, 0.224, 0.225], [0.5]),
        "input.shape": ([64], [6, 128]),
        "finetune.architecture": ("resnet18", "timm:resnet18.a1_in1k", "python:my_model:make"),
        "finetune.weights": ("imagenet", "letters", "weights.safetensors"),
        "model.architecture": ("resnet18", "timm:resnet18.a1_in1k", "python:my_model:make"),
        "model.weights": ("weights.safetensors", "weights.pt", "factory"),
        "model.head": ("fc", "classifier.3", "output"),
        "model.onnx": ("model.onnx",),
        "model.transform": ("python:my_model:transform",),
        "compile.openvino_device": ("CPU", "GPU", "AUTO"),
        "gate.required": (["onnxruntime"],),
        "gate.policy.slices": (["camera"], ["camera=night"]),
    }
)
"""Values that an editor may offer."""
