"""`edgetl gate --unlabelled`: what inputs certify that nobody labelled."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_file
from edgetl.cli.gate_command import (
    Judgement,
    console_of,
    load_policy_of,
    load_predictions,
    loading_of,
    progress,
    show,
)
from edgetl.cli.tensor_file import read_tensor
from edgetl.errors import UsageError
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.gate.certificate_render import CertificateDocument


def gate_unlabelled(options: argparse.Namespace) -> int:
    """Certify; 0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
    with extra("gate"):
        from edgetl.gate.certificate_render import (
            certificate_json,
            certificate_junit,
            certificate_markdown,
        )
    _check(options)
    document = _document(options)
    return show(
        options,
        Judgement(
            document=certificate_json(document),
            junit=certificate_junit(document),
            markdown=certificate_markdown(document),
            exit_code=document.exit_code,
        ),
    )


def _document(options: argparse.Namespace) -> CertificateDocument:
    if options.predictions is not None:
        return _of_predictions(options)
    from edgetl.pipeline.unlabelled import certify_bundles, certify_run

    if options.config is not None:
        check_file(options.config, "a release config (TOML)")
        with console_of(options).progress() as listen:
            return certify_run(
                options.config,
                options.unlabelled,
                read_tensor=read_tensor,
                out=options.out,
                listen=listen,
            )
    old, new = options.bundles
    policy, loading = load_policy_of(options), loading_of(options)
    with progress(options) as tell:
        return certify_bundles(
            old,
            new,
            options.unlabelled,
            policy,
            read_tensor=read_tensor,
            loading=loading,
            tell=tell,
        )


def _of_predictions(options: argparse.Namespace) -> CertificateDocument:
    from edgetl.gate.certificate import certify
    from edgetl.gate.certificate_render import CertificateDocument, CertifiedVariant

    reference, candidate = load_predictions(options)
    policy = load_policy_of(options)
    first, second = options.predictions
    return CertificateDocument(
        policy=policy,
        reference=str(first),
        data=str(first),
        data_hash=reference.data_hash(),
        variants=(
            CertifiedVariant(
                id=options.variant or second.stem,
                backend="stored",
                precision="unknown",
                file=str(second),
                certificate=certify(reference, candidate, policy),
            ),
        ),
    )


def _check(options: argparse.Namespace) -> None:
    from edgetl.cli.gate_parser import WITHOUT_FOLDER

    has_folder = options.unlabelled is not WITHOUT_FOLDER
    if has_folder == (options.predictions is not None):
        raise UsageError(
            "edgetl gate --unlabelled",
            got="a folder beside --predictions" if has_folder else "no folder",
            expected="a folder of inputs with CONFIG or --bundles, none with --predictions",
            fix="--unlabelled DIR, or --unlabelled --predictions REF.npz CAND.npz",
        )
    given = [name for name in ("policy", "variant") if getattr(options, name) is not None]
    if options.bench is not None or (options.config is not None and given):
        raise UsageError(
            f"edgetl gate --{'bench' if options.bench is not None else given[0]}",
            got="given beside --unlabelled",
            expected="the config's own policy and winners, and no measurement",
            fix="leave it out",
        )
