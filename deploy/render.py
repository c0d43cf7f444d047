"""``python -m deploy.render``: what names measurements, from what a release ships. Nothing here talks to AWS.

``manifest``   an enclave's manifest, and its PCR16
``policy``     the policy of one environment's KMS key
``template``   ``cloudformation/key.json`` with that policy in it

The policy is rendered by ``attestation.key_policy`` and then judged by the very code by which the enclave will judge it
(``enclave.key_policy``), from the place of every release that is named: what the enclave would refuse is not printed.

Exit codes: 0 done, 1 refused, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from attestation import key_policy as renderer
from attestation import measurements
from attestation.strict_json import FileError
from enclave import key_policy as judge
from enclave.kms_errors import KmsError
from enclave.manifest import Environment, KmsEndpoint, Manifest, expected_pcr, parse
from protocol.envelope.errors import CosignerError

from . import environments

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
KEY_TEMPLATE: Final = Path(__file__).with_name("cloudformation") / "key.json"
MANIFEST_PCR: Final = 16
_HTTPS: Final = 443


class RefusedError(Exception):
    """It is not rendered; the text says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """What one release measures as. ``pcrs``: PCR0, 1, 2 (and 8, of a signed image) of the image."""

    pcrs: dict[int, bytes]
    manifest: bytes

    @property
    def pinned(self) -> dict[int, bytes]:
        """All that the key policy asks for."""
        return {**self.pcrs, MANIFEST_PCR: expected_pcr(self.manifest)}

    def environment_of(self, key_arn: str) -> Environment:
        """The environment that has this key.

        :raises RefusedError: none has, or the manifest is none.
        """
        try:
            found = parse(self.manifest).environments
        except CosignerError as error:
            raise RefusedError(f"a manifest is refused by the enclave: {error}") from None
        for environment in found:
            if environment.kms_key_arn == key_arn:
                return environment
        raise RefusedError(f"a manifest has no environment with the key {key_arn}")


def manifest(named: Sequence[Environment], *, region: str, ca_pem: str, host: str = "") -> bytes:
    """The bytes of a manifest; ``host`` is KMS's regional endpoint unless given (a VPC endpoint has a name of its own).

    :raises RefusedError: the enclave would refuse it.
    """
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = KmsEndpoint(region=region, host=host or f"kms.{region}.{suffix}", port=_HTTPS, ca_pem=ca_pem)
    raw = Manifest(version=1, environments=list(named), kms=endpoint).encode()
    try:
        parse(raw)
    except CosignerError as error:
        raise RefusedError(f"the enclave would refuse this manifest: {error}") from None
    return raw


def policy(
    key_arn: str,
    releases: Sequence[Release],
    *,
    role: str,
    editors: Sequence[str] = (),
    deleters: Sequence[str] = (),
) -> str:
    """The text of a key policy, which every one of the releases accepts.

    :raises RefusedError: a manifest does not know the key, the policy cannot be rendered, or an enclave of one of the releases would refuse it.
    """
    environments = [release.environment_of(key_arn) for release in releases]
    account = key_arn.split(":")[4]  # the manifest's parser knows the form of an ARN
    try:
        text = renderer.render(
            [release.pinned for release in releases],
            account=account,
            role=role,
            editors=editors,
            deleters=deleters,
        )
    except ValueError as error:
        raise RefusedError(str(error)) from None
    for number, (release, environment) in enumerate(zip(releases, environments, strict=True), start=1):
        ours = judge.Measurement(image=release.pcrs[0], manifest=release.pinned[MANIFEST_PCR])
        try:
            judge.judge_policy(text, ours=ours, accept_editable=environment.key_policy == "editable")
        except KmsError as error:
            raise RefusedError(
                f"an enclave of release {number} would refuse this policy for the environment {environment.id!r}, "
                f"which its manifest calls {environment.key_policy}: {error}"
            ) from None
    return text


def template(text: str, *, role: str) -> dict[str, Any]:
    """The template of the key and its role, with this policy.

    :param role: the role's ARN, without a path; the template makes a role of that name.
    """
    rendered: dict[str, Any] = json.loads(KEY_TEMPLATE.read_bytes())
    name = role.partition(":role/")[2]
    if not name or "/" in name:
        raise RefusedError(f"the template makes a role without a path, and {role} is none")
    del rendered["Parameters"]["FounderArn"]
    rendered["Parameters"]["RoleName"]["Default"] = name
    rendered["Resources"]["Key"]["DependsOn"] = "Role"  # the policy names it, and KMS looks whether it exists
    rendered["Resources"]["Key"]["Properties"]["KeyPolicy"] = json.loads(text)
    return rendered


# --- the command ----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (RefusedError, FileError) as error:
        print(f"deploy.render: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:
        print(f"deploy.render: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_OK


def _run_manifest(options: argparse.Namespace) -> None:
    ca_pem = options.ca.read_text("ascii") if options.ca else ""
    named = [environments.load(path) for path in options.environment]
    raw = manifest(named, region=options.region, ca_pem=ca_pem, host=options.kms_host or "")
    options.output.write_bytes(raw)
    print(expected_pcr(raw).hex())


def _run_policy(options: argparse.Namespace) -> None:
    print(_policy_of(options))


def _run_template(options: argparse.Namespace) -> None:
    print(json.dumps(template(_policy_of(options), role=options.role), indent=2))


def _policy_of(options: argparse.Namespace) -> str:
    releases = [
        Release(measurements.load(Path(pcrs).read_bytes()), Path(raw).read_bytes())
        for pcrs, raw in options.release
    ]
    return policy(options.key, releases, role=options.role, editors=options.editor, deleters=options.deleter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.render", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("manifest", help="write a manifest, print its PCR16")
    command.add_argument("--region", required=True)
    command.add_argument("--kms-host", metavar="NAME", help="default: the region's public endpoint")
    command.add_argument(
        "--ca", type=Path, metavar="FILE", help="the only authorities for KMS's certificate (PEM)"
    )
    command.add_argument("--output", required=True, type=Path, metavar="FILE")
    command.add_argument(
        "--environment",
        required=True,
        action="append",
        type=Path,
        metavar="FILE",
        help="an environment, as config/environment.json is one; may be repeated",
    )
    command.set_defaults(run=_run_manifest)

    for name, run, text in (
        ("policy", _run_policy, "print the policy of a key"),
        ("template", _run_template, "print the template of the key and its role, with that policy"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--key", required=True, metavar="ARN")
        command.add_argument("--role", required=True, metavar="ARN", help="the parent instances' role")
        command.add_argument(
            "--release",
            required=True,
            action="append",
            nargs=2,
            metavar=("MEASUREMENTS", "MANIFEST"),
            help="measurements.json of an image and the manifest it runs under; may be repeated",
        )
        command.add_argument(
            "--editor", action="append", default=[], metavar="ARN", help="may replace the policy"
        )
        command.add_argument(
            "--deleter", action="append", default=[], metavar="ARN", help="may schedule the key's deletion"
        )
        command.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
