"""``cosigner delegate``: let an app sign within limits, see what was let, and end it."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import policy
from policy import phrases
from protocol.delegation import PingWebhook, RevokeDelegationAsAdministrator, SetDelegationSettings
from protocol.envelope.errors import CosignerError, Culprit
from protocol.hybrid import EncryptionKey

from ..delegation import Limits  # noqa: TID252
from ..delegation.files import new_encryption_key, settings_from, settings_json  # noqa: TID252
from ..session_keys import now_ms  # noqa: TID252
from . import opening
from .inputs import read_file
from .moments import when
from .renewals import apart_from, plan_from
from .rules import approve

if TYPE_CHECKING:
    from protocol.delegation import DelegationInfo

    from .output import Output


async def delegate_approve(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate approve``."""
    limits = _limits(options)
    async with opening.client(options, output) as client:
        asked = (await client.delegation_settings()).settings
        wallet, _ = await client.wallet_status(options.wallet)
        plan, apart = plan_from(options), apart_from(options, wallet.parties)
        output.note(
            f"{asked.app} asks to sign for wallet {options.wallet} for {options.days} days, within these limits."
        )
        with output.step("Giving the app a share of its own, and this device a new one"):
            made = await client.approve_delegation(
                options.wallet,
                limits,
                app=asked.app,
                lifetime=timedelta(days=options.days),
                backup=plan,
                apart=apart,
                **opening.given(options),
            )
    output.result(_data(made), ["Approved.", *_lines(made)])


async def delegate_list(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate list``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            found = await client.delegations(options.wallet)
    lines = [line for one in found for line in [*_lines(one), ""]][:-1]
    output.result(
        {"delegations": [_data(one) for one in found]}, lines or ["This wallet has no delegations."]
    )


async def delegate_revoke(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate revoke``."""
    async with opening.client(options, output) as client:
        with output.step("Revoking"):
            if options.administrator:
                await client.revoke_delegation_as_administrator(
                    options.wallet, options.delegation, **opening.given(options)
                )
            else:
                await client.revoke_delegation(options.wallet, options.delegation, **opening.given(options))
    output.result(
        {"wallet": options.wallet, "shareSetId": options.delegation, "revoked": True},
        ["Revoked: the share that it signed with is destroyed, and its app is told."],
    )


async def delegate_tighten(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate tighten``."""
    async with opening.client(options, output) as client:
        found = _named(await client.delegations(options.wallet), options.delegation)
        expires_at = found.expires_at
        if options.days is not None:
            expires_at = min(expires_at, found.created_at + options.days * 86_400_000)
        await client.tighten_delegation(
            options.wallet,
            options.delegation,
            read_file(options.rules),
            expires_at=expires_at,
            **opening.given(options),
        )
        found = _named(await client.delegations(options.wallet), options.delegation)
    output.result(_data(found), ["Tightened.", *_lines(found)])


async def delegate_deny(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate deny``."""
    async with opening.client(options, output) as client:
        await client.deny_delegation(denied=not options.undo, **opening.given(options))
    output.result(
        {"denied": not options.undo},
        ["Taken back." if options.undo else "Remembered: apps are told not to ask this user."],
    )


async def delegate_settings(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate settings``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            found = await client.delegation_settings()
    settings = found.settings
    data = settings_json(settings) | {"version": found.version, "denied": found.denied}
    lines = [
        f"delegated access  {'enabled' if settings.enabled else 'not enabled'}",
        f"app               {settings.app}",
        f"webhooks go to    {settings.endpoint or 'nowhere'}",
        f"settings          {'of the manifest' if found.version == 0 else f'version {found.version}, set by administrators'}",
        *(f"key {key.kid:<17} {key.state}" for key in settings.keys),
    ]
    output.result(data, lines)


async def delegate_configure(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate configure``."""
    settings = settings_from(read_file(options.file))
    async with opening.client(options, output) as client:
        with output.step("Replacing the settings"):
            done = await client.configure_delegation(
                settings, new_secret=options.new_secret, **opening.given(options)
            )
    lines = [f"Settings of version {done.version} are in force. Webhook {done.webhook_id}."]
    data: dict[str, object] = {"version": done.version, "webhookId": done.webhook_id}
    if done.webhook_secret:
        opening.write_new(options.secret_out, (done.webhook_secret + "\n").encode())
        data["secretFile"] = str(options.secret_out)
        lines.append(f"The webhook secret is in {options.secret_out}; it is not shown again.")
    output.result(data, lines)


async def delegate_ping(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate ping``."""
    async with opening.client(options, output) as client:
        await client.ping_webhook(**opening.given(options))
    output.result({"pinged": True}, ["The host sends `ping` to the endpoint."])


async def delegate_keygen(options: argparse.Namespace, output: Output) -> None:
    """``cosigner delegate keygen``."""
    with output.step("Making a key"):
        private, key = new_encryption_key()
    opening.write_new(options.out, private)
    public = EncryptionKey.from_der(key.public_key, key.kid).pem.decode()
    output.result(
        {"kid": key.kid, "publicKey": public, "file": str(options.out)},
        [
            f"The private key is in {options.out}. Keep it at the developer's; it opens every share that is delegated to it.",
            f"For the settings: kid {key.kid}",
            public.rstrip(),
        ],
    )


async def approve_settings(options: argparse.Namespace, output: Output) -> None:
    """``cosigner approve delegation-settings``."""
    request = SetDelegationSettings(settings_from(read_file(options.file)), version=0, new_secret=False)
    await approve(options, output, request)


async def approve_revocation(options: argparse.Namespace, output: Output) -> None:
    """``cosigner approve delegation-revocation``."""
    await approve(options, output, RevokeDelegationAsAdministrator(options.wallet, options.delegation))


async def approve_ping(options: argparse.Namespace, output: Output) -> None:
    """``cosigner approve delegation-ping``."""
    await approve(options, output, PingWebhook())


def _limits(options: argparse.Namespace) -> Limits | bytes:
    if options.rules is not None:
        if any(given is not None for given in (options.max_per_call, options.total, options.max_signatures)):
            raise CosignerError(
                "usage",
                "Limits come from --rules or from --max-per-call, --total and --max-signatures.",
                culprit=Culprit.CLIENT,
            )
        return read_file(options.rules)
    if options.max_per_call is None or options.total is None:
        raise CosignerError(
            "usage",
            "Say what the app may spend: --max-per-call and --total, or a file with --rules.",
            culprit=Culprit.CLIENT,
        )
    return Limits(
        max_per_call=options.max_per_call,
        total=options.total,
        window=options.window,
        addresses=options.address,
        chain_ids=options.chain_id,
        max_signatures=options.max_signatures,
        signatures_window=options.signatures_window,
    )


def _named(found: list[DelegationInfo], share_set_id: str) -> DelegationInfo:
    for one in found:
        if one.terms.share_set_id == share_set_id:
            return one
    raise CosignerError("delegation_unknown", "This wallet has no such delegation.", culprit=Culprit.CLIENT)


def _data(info: DelegationInfo) -> dict[str, object]:
    return {
        "wallet": info.wallet_id,
        "shareSetId": info.terms.share_set_id,
        "app": info.terms.app,
        "state": _state(info),
        "createdAt": when(info.created_at),
        "expiresAt": when(info.expires_at),
        "revokedBy": info.revoked_by or None,
        "kid": info.terms.kid,
        "rules": json.loads(info.terms.rules),
        "tightened": json.loads(info.tightened) if info.tightened else None,
    }


def _state(info: DelegationInfo) -> str:
    if info.revoked_at is not None:
        return "revoked"
    return "active" if now_ms() < info.expires_at else "expired"


def _lines(info: DelegationInfo) -> list[str]:
    ended = "" if info.revoked_at is None else f", revoked {when(info.revoked_at)} by the {info.revoked_by}"
    lines = [
        f"{info.terms.app}  {info.terms.share_set_id}",
        f"  wallet   {info.wallet_id}",
        f"  since    {when(info.created_at)}{ended}",
        f"  until    {when(info.expires_at)}",
    ]
    for title, content in (("approved", info.terms.rules), ("tightened", info.tightened)):
        if content:
            words = phrases.layer_in_words(policy.parse_layer(content))
            lines += [f"  {title}", *(f"    {line}" for line in words)]
    return lines
