"""The bundle: the only code that knows it on disk. Its format is docs/bundle-format.md."""

from edgetl.bundle.golden import GoldenSet, default_tolerance
from edgetl.bundle.manifest import FileEntry, GoldenFiles, Manifest, ManifestVariant
from edgetl.bundle.pack import BundleContent, pack_zip, write_bundle
from edgetl.bundle.problem import Problem
from edgetl.bundle.read import Bundle, describe_bundle, open_bundle, verify_bundle
from edgetl.bundle.tables import ConformalTable, ThresholdColumns, ThresholdTable

__all__ = [
    "Bundle",
    "BundleContent",
    "ConformalTable",
    "FileEntry",
    "GoldenFiles",
    "GoldenSet",
    "Manifest",
    "ManifestVariant",
    "Problem",
    "ThresholdColumns",
    "ThresholdTable",
    "default_tolerance",
    "describe_bundle",
    "open_bundle",
    "pack_zip",
    "verify_bundle",
    "write_bundle",
]
