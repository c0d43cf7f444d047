"""`python -m attestation policy`: write policies from measurements."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from attestation import key_policy, measurements, policy_file
from attestation.cli import options as opts
from attestation.eif import EifError, measure
from attestation.policy import AWS_NITRO_ROOT_G1, DEFAULT_MAX_AGE, Release, TrustPolicy
from attestation.strict_json import FileError

_DESCRIPTION: Final = """\
Write a trust policy (for `verify --policy`), or with --kms the key policy of an AWS KMS key, that trusts these images
and no others. Each image is a release of its own: its PCRs count only together. The policy goes to standard output.
"""
_EPILOG: Final = """\
exit status: 0 written; 1 an input is refused (nothing is written); 2 bad usage

examples:
  python -m attestation policy {command} {file} --pcr 16=HEX > trust.json
  python -m attestation policy {command} {file} --pcr 16=HEX --kms --account 111122223333 \\
      --role arn:aws:iam::111122223333:role/enclave-host > key-policy.json

Without --editor nobody can change the key policy any more. KMS accepts that only with
`aws kms put-key-policy --bypass-policy-lockout-safety-check`, and there is no way back.
"""


def add_to(commands: opts.Commands) -> None:
    """Add the commands `policy from-eif` and `policy from-measurements`."""
    group = commands.add_parser(
        "policy",
        help="write a trust policy or a KMS key policy",
        description=_DESCRIPTION,
        allow_abbrev=False,
    )
    sources: opts.Commands = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, file, help_, load in (
        ("from-eif", "IMAGE", "from enclave image files", _from_eif),
        (
            "from-measurements",
            "FILE",
            "from measurements files, as an image build writes them",
            _from_measurements,
        ),
    ):
        command = opts.add_command(
            sources,
            name,
            _runner(load),
            help_=help_,
            description=_DESCRIPTION,
            epilog=_EPILOG.format(command=name, file=file),
        )
        command.add_argument("files", metavar=file, nargs="+", help="one for each release")
        _add_options(command)


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pcr",
        metavar="N=HEX",
        type=opts.pcr,
        action="append",
        default=[],
        help="require this PCR beside those of the image, such as 16 (the manifest) or 3 (the IAM role); in a trust "
        "policy the same N again allows either value",
    )
    trust = command.add_argument_group("trust policy")
    trust.add_argument(
        "--name", action="append", help="name of the release, for people; once for each file, in order"
    )
    trust.add_argument(
        "--root-sha256",
        metavar="HEX",
        type=opts.fingerprint,
        action="append",
        help="trust the root with this SHA-256 instead of AWS Nitro Enclaves Root G1 (repeatable)",
    )
    trust.add_argument(
        "--max-age",
        metavar="SECONDS",
        type=opts.seconds,
        help=f"how old a live document may be (default: {DEFAULT_MAX_AGE.seconds})",
    )
    kms = command.add_argument_group("key policy")
    kms.add_argument("--kms", action="store_true", help="write a key policy for AWS KMS; needs --pcr 16=HEX")
    kms.add_argument("--account", metavar="DIGITS", help="the AWS account of the key and the roles")
    kms.add_argument("--role", metavar="ARN", action="append", help="who calls KMS for enclaves (repeatable)")
    kms.add_argument(
        "--editor", metavar="ARN", action="append", help="who may change the policy later (repeatable)"
    )
    kms.add_argument("--deleter", metavar="ARN", action="append", help="who may delete the key (repeatable)")


MANIFEST_PCR: Final = 16
Pcrs = dict[int, bytes]
Load = Callable[[argparse.ArgumentParser, str], Pcrs]


def _from_eif(parser: argparse.ArgumentParser, name: str) -> Pcrs:
    with opts.opened(parser, name) as file:
        return dict(measure(file).pcrs)


def _from_measurements(parser: argparse.ArgumentParser, name: str) -> Pcrs:
    return measurements.load(opts.read(parser, name, measurements.MAX_BYTES))


def _runner(load: Load) -> Callable[[argparse.ArgumentParser, argparse.Namespace], int]:
    def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
        _check_usage(parser, options)
        releases = []
        for name in options.files:
            try:
                releases.append(load(parser, name))
            except (EifError, FileError) as error:
                print(f"{name} is refused: {error}", file=sys.stderr)
                return 1
        for index, _ in options.pcr:
            if any(index in release for release in releases):
                parser.error(f"PCR{index} is a property of the image, and cannot be given with --pcr")
        try:
            print((_key_policy if options.kms else _trust_policy)(releases, options))
        except FileError as error:
            parser.error(error.message)
        except ValueError as error:
            parser.error(str(error))
        return 0

    return run


def _check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    others = ("name", "root_sha256", "max_age") if options.kms else ("account", "role", "editor", "deleter")
    for name in others:
        if getattr(options, name) is not None:
            kind = "without" if options.kms else "with"
            parser.error(f"--{name.replace('_', '-')} goes {kind} --kms")
    if options.kms and not (options.account and options.role):
        parser.error("--kms needs --account and --role")
    if options.kms and MANIFEST_PCR not in dict(options.pcr):
        parser.error(f"--kms needs --pcr {MANIFEST_PCR}=HEX, or any manifest would do")
    if options.name is not None and len(options.name) != len(options.files):
        parser.error("--name is given once for each file, or not at all")
    if options.kms and len({index for index, _ in options.pcr}) != len(options.pcr):
        parser.error("with --kms every PCR has one value: render a policy for each manifest")
    if options.files.count("-") > 1:
        parser.error("standard input can be read once")


def _trust_policy(releases: list[Pcrs], options: argparse.Namespace) -> str:
    names = options.name or [""] * len(releases)
    policy = TrustPolicy(
        roots=frozenset(options.root_sha256 or {AWS_NITRO_ROOT_G1}),
        releases=tuple(Release(name=name, pcrs=pcrs) for name, pcrs in zip(names, releases, strict=True)),
        pcrs=opts.pcr_sets(options.pcr),
        max_age=DEFAULT_MAX_AGE if options.max_age is None else timedelta(seconds=options.max_age),
    )
    return policy_file.dump(policy).rstrip("\n")


def _key_policy(releases: list[Pcrs], options: argparse.Namespace) -> str:
    return key_policy.render(
        [{**pcrs, **dict(options.pcr)} for pcrs in releases],
        account=options.account,
        role=options.role,
        editors=options.editor or (),
        deleters=options.deleter or (),
    )
