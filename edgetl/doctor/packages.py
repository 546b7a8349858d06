"""Which Python packages are installed, and what each extra of edgetl still needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from urllib.parse import urlparse
from urllib.request import url2pathname

# Bring other people's tools, or all of the others.
_NOT_LISTED = ("dev", "all")

RIVALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "onnxruntime": (
            "onnxruntime-gpu",
            "onnxruntime-openvino",
            "onnxruntime-directml",
            "onnxruntime-rocm",
            "onnxruntime-migraphx",
            "onnxruntime-qnn",
            "onnxruntime-training",
            "ort-nightly",
            "ort-nightly-gpu",
        ),
        "openvino": ("openvino-nightly", "openvino-dev"),
        "opencv-python": (
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        ),
        "pillow": ("pillow-simd", "pil"),
    }
)
"""Packages that write the same files: the plain one, and those that come in its place."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One installed distribution, by its metadata alone.

    Attributes:
        name: In lower case, with hyphens.
        version: As the metadata says; empty when that is damaged.
        requires: Its requirements (PEP 508).
        folder: Where its code is; empty when that is not known.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A package that an extra of edgetl names.

    Attributes:
        extra: Such as ``cpu``; empty for what edgetl always needs.
        name: The package.
        bounds: Such as ``>=1.23``.
        version: The version that is installed; None when it is missing.
        instead: The package that is installed in its place, such as ``onnxruntime-gpu``.
    """

    extra: str
    name: str
    bounds: str
    version: str | None
    instead: str | None = None


def installed_packages() -> tuple[Installed, ...]:
    """Every distribution that this Python finds, the one that is imported first; none is imported.

    Example:
        >>> "numpy" in {one.name for one in installed_packages()}
        True
    """
    return tuple(
        Installed(
            name=normalized(name),
            version=str(one.version or ""),
            requires=tuple(one.requires or ()),
            folder=_folder(one),
        )
        for one in metadata.distributions()
        if (name := one.metadata["Name"])
    )


def normalized(name: str) -> str:
    """A package's name as the packaging specification compares it.

    Example:
        >>> normalized("Typing_Extensions")
        'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(installed: Sequence[Installed]) -> tuple[Need, ...]:
    """What edgetl and its extras need, in the order of its metadata, and what there is of it.

    Empty when edgetl runs from a folder that was never installed: its metadata names the extras.

    Example:
        >>> here = (Installed(name="edgetl", version="1", requires=('a>=2; extra == "x"',)),)
        >>> needs(here)
        (Need(extra='x', name='a', bounds='>=2', version=None, instead=None),)
    """
    versions = {one.name: one.version for one in reversed(installed)}
    own = next((one for one in installed if one.name == "edgetl"), None)
    found = []
    for text in own.requires if own else ():
        requirement, _, marker = text.partition(";")
        named = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        part = extra.group(1) if extra else ""
        if named is None or normalized(named.group()) == "edgetl" or part in _NOT_LISTED:
            continue
        name = normalized(named.group())
        instead = next((one for one in RIVALS.get(name, ()) if one in versions), None)
        if name in versions:
            instead = None
        found.append(
            Need(
                extra=part,
                name=name,
                bounds=requirement[named.end() :].strip(" ()"),
                version=versions.get(instead or name),
                instead=instead,
            )
        )
    return tuple(found)


def pip_line(extra: str) -> str:
    """What installs an extra.

    Example:
        >>> pip_line("cpu")
        "pip install 'edgetl[cpu]'"
    """
    return f"pip install 'edgetl[{extra}]'" if extra else "pip install --upgrade edgetl"


def _folder(one: metadata.Distribution) -> str:
    # An editable install's metadata lies in site-packages, and its code elsewhere.
    written = one.read_text("direct_url.json")
    if written:
        try:
            facts = json.loads(written)
        except ValueError:
            facts = {}
        if facts.get("dir_info", {}).get("editable") is True:
            return url2pathname(urlparse(str(facts.get("url", ""))).path)
    return str(one.locate_file(""))
