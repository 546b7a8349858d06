"""Which variant of a bundle to run here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from edgetl.backends import registry
from edgetl.bundle import Bundle, Manifest, ManifestVariant
from edgetl.errors import BundleError, UnavailableError, UsageError


def select_variant(
    manifest: Manifest,
    *,
    backend: str = "auto",
    variant: str | None = None,
    device: str | None = None,
) -> ManifestVariant:
    """The variant to run.

    `variant` names one, judged or not. Otherwise it is the fastest (lowest p50 of the release)
    that passed the gate, among those of `backend`; ``"auto"`` means any backend that is here.
    A variant that failed or was not judged is only taken by its name.

    `device` is where it is to run; with the backend ``"auto"``, only the variants of a backend
    that has devices are looked at.

    Raises:
        UsageError: For an unknown backend or variant, or two that do not belong together, or a
            device that the variant's backend cannot be given.
        ConfigError: For what is no name of a device.
        UnavailableError: When the backend that was asked for, or each that passed, is not here.
        BundleError: When no variant passed.
    """
    if backend != "auto" and backend not in registry.names():
        raise UsageError(
            "backend",
            got=repr(backend),
            expected=f"auto or one of {', '.join(registry.names())}",
            fix="name one of these",
        )
    if variant is not None:
        return _placed(_named(manifest, backend, variant), device)
    candidates = [_placed(one, device) for one in _of_backend(manifest, backend, device)]
    passed = sorted((one for one in candidates if one.verdict == "PASS"), key=_speed)
    if not passed:
        verdicts = ", ".join(f"{one.variant.id}: {one.verdict}" for one in candidates)
        raise BundleError(
            f"bundle {manifest.folder_name}",
            got=f"no variant that passed the gate ({verdicts})",
            expected="a variant with the verdict PASS",
            fix="name a variant to run it all the same",
        )
    if backend != "auto":
        return passed[0]
    return _first_available(manifest, passed)


def variants_of(
    bundle: Bundle, *, backend: str, variant: str | None, device: str | None = None
) -> list[ManifestVariant]:
    """Every variant that the options allow, judged or not, in the bundle's order.

    Raises:
        UsageError: When there is none.
        ConfigError: For what is no name of a device.
    """
    if variant is not None or backend not in ("auto", *registry.names()):
        return [select_variant(bundle.manifest, backend=backend, variant=variant, device=device)]
    return [_placed(one, device) for one in _of_backend(bundle.manifest, backend, device)]


def missing_backends() -> dict[str, str]:
    """Why each backend that is not here is not."""
    return {
        name: state if isinstance(state, str) else "not available"
        for name, state in registry.available().items()
        if state is not True
    }


def _named(manifest: Manifest, backend: str, variant: str) -> ManifestVariant:
    found = {one.variant.id: one for one in manifest.variants}
    if variant not in found:
        raise UsageError(
            "variant", got=repr(variant), expected=_listed(found), fix="name one of these"
        )
    if backend not in ("auto", found[variant].variant.backend):
        raise UsageError(
            "variant",
            got=f"{variant!r} with the backend {backend!r}",
            expected=f"the backend {found[variant].variant.backend!r}",
            fix="leave one of the two out",
        )
    return found[variant]


def _placed(one: ManifestVariant, device: str | None) -> ManifestVariant:
    return one if device is None else replace(one, variant=registry.on_device(one.variant, device))


def _of_backend(manifest: Manifest, backend: str, device: str | None) -> list[ManifestVariant]:
    found = [one for one in manifest.variants if backend in ("auto", one.variant.backend)]
    if backend == "auto" and device is not None:
        backend = " or ".join(registry.with_devices())
        found = [one for one in found if one.variant.backend in registry.with_devices()]
    if not found:
        raise UsageError(
            "backend",
            got=f"{backend!r}, for which the bundle has no variant",
            expected=_listed({one.variant.backend: one for one in manifest.variants}),
            fix="name one of these, or release the model for this backend",
        )
    return found


def _first_available(manifest: Manifest, passed: list[ManifestVariant]) -> ManifestVariant:
    missing = missing_backends()
    known = registry.names()
    for one in passed:
        if one.variant.backend in known and one.variant.backend not in missing:
            return one
    reasons = {
        one.variant.backend: missing.get(one.variant.backend, "not a backend of this edgetl")
        for one in passed
    }
    raise UnavailableError(
        f"bundle {manifest.folder_name}",
        got="; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
        expected="a backend of a variant that passed",
        fix="install one of these backends",
    )


def _speed(one: ManifestVariant) -> tuple[float, str]:
    # Not measured counts as slowest; the id settles ties the same way everywhere.
    return (math.inf if one.p50_ms is None else one.p50_ms, one.variant.id)


def _listed(names: Mapping[str, object]) -> str:
    return f"one of {', '.join(names)}"
