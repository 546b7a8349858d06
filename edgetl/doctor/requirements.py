"""Versions that a package in use does not go with, by its own metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgetl.doctor.finding import Finding
from edgetl.doctor.packages import RIVALS, Installed, needs, normalized

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Everything in the environment shares these, so everybody's bounds on them count.
_SHARED = ("numpy", "protobuf")


def unmet_requirements(installed: Sequence[Installed]) -> list[Finding]:
    """Packages of edgetl's extras whose versions are not what one of them requires.

    Looked at are the requirements of edgetl, of the packages that its extras name, and everybody's
    on numpy and protobuf. What is not installed is not looked for. Versions are compared by the
    `packaging` library, which each runtime brings; without it nothing is compared.

    Example:
        >>> unmet_requirements([
        ...     Installed(name="numpy", version="2.4.0"),
        ...     Installed(name="edgetl", version="1", requires=("openvino; extra == 'o'",)),
        ...     Installed(name="openvino", version="1", requires=("numpy<2.4",)),
        ... ])[0].fix
        "pip install 'numpy<2.4'"
    """
    try:
        import packaging.requirements  # noqa: F401
    except ModuleNotFoundError:
        return []
    listed = {need.name for need in needs(installed)}
    in_use = {"edgetl", *listed, *(rival for name in listed for rival in RIVALS.get(name, ()))}
    first = {one.name: one for one in reversed(installed)}
    found: dict[str, Finding] = {}
    for one in first.values():
        for text in one.requires:
            requirement = _read(text)
            if requirement is None:
                continue
            name = normalized(requirement.name)
            if one.name not in in_use and name not in _SHARED:
                continue
            target = _in_place(name, first)
            any_extra = one.name == "edgetl" and name in listed
            if target is not None and not _fits(requirement, target, any_extra):
                wanted = f"{target.name}{requirement.specifier}"
                found.setdefault(wanted, _finding(one, target, wanted))
    return list(found.values())


def _read(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _in_place(name: str, first: dict[str, Installed]) -> Installed | None:
    return next((first[one] for one in (name, *RIVALS.get(name, ())) if one in first), None)


def _fits(requirement: Requirement, target: Installed, any_extra: bool) -> bool:
    from packaging.markers import UndefinedEnvironmentName
    from packaging.version import InvalidVersion, Version

    marker = requirement.marker
    try:
        # An extra of edgetl counts as soon as its package is here.
        applies = marker is None or marker.evaluate({"extra": ""})
        if not applies and not (any_extra and "extra" in str(marker)):
            return True
        return requirement.specifier.contains(Version(target.version), prereleases=True)
    except (InvalidVersion, UndefinedEnvironmentName):
        # A version that no one can compare is not known to be wrong.
        return True


def _finding(one: Installed, target: Installed, wanted: str) -> Finding:
    return Finding(
        kind="problem",
        subject=target.name,
        got=f"version {target.version or 'unknown'}",
        expected=f"{wanted}, which {one.name} {one.version} requires",
        fix=f"pip install '{wanted}'",
    )
