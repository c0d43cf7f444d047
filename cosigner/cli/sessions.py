"""``cosigner login``, ``logout``, ``whoami``, ``session``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit

from ..config import ClientConfig  # noqa: TID252
from ..store import ShareStore  # noqa: TID252
from . import opening
from .moments import when

if TYPE_CHECKING:
    from protocol.accounts import Account, SessionKeyInfo

    from ..client import AsyncClient  # noqa: TID252
    from .describe import Described
    from .output import Output


async def login(options: argparse.Namespace, output: Output) -> None:
    """``cosigner login``."""
    settings = ClientConfig.load(options.config)
    token = opening.token_from(options, settings)
    async with opening.client(options, output, create=True) as client:
        with output.step("Logging in"):
            logged_in = await client.login(token)
        prompt = await _prompt(client)
    until = when(logged_in.session_key_expires_at)
    output.result(
        {
            "user_id": logged_in.user_id,
            "created": logged_in.created,
            "environment": settings.environment,
            "session_key_expires_at": until,
        },
        [
            "Logged in for the first time: this made the user." if logged_in.created else "Logged in.",
            f"user              {logged_in.user_id}",
            f"session key       on this device, good until {until}",
        ],
    )
    if prompt is not None:
        output.note(prompt)


async def _prompt(client: AsyncClient) -> str | None:
    """What an app asks of who has just logged in. That it cannot be asked for spoils no login."""
    try:
        found = await client.delegation_prompt()
    except CosignerError as error:
        return f"Nobody knows whether an app asks to sign for you: {error.message}"
    if found is None:
        return None
    return (
        f"{found.app} {'needs' if found.required else 'asks'} to sign for {len(found.wallets)} of your wallets, within limits: "
        f"`cosigner delegate approve WALLET` for {', '.join(found.wallets)}; or say no: `cosigner delegate deny`."
    )


async def logout(options: argparse.Namespace, output: Output) -> None:
    """``cosigner logout``."""
    async with opening.client(options, output) as client:
        with output.step("Revoking this device's session key"):
            await client.logout()
    output.result(
        {"logged_out": True}, ["Logged out: the session key is revoked, and gone from this device."]
    )


async def whoami(options: argparse.Namespace, output: Output) -> None:
    """``cosigner whoami``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            account = await client.account()
    data, lines = describe_account(account)
    output.result(data, lines)


async def session_list(options: argparse.Namespace, output: Output) -> None:
    """``cosigner session list``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            keys = await client.session_keys()
    data, lines = describe_session_keys(keys)
    output.result(data, lines)


async def session_revoke(options: argparse.Namespace, output: Output) -> None:
    """``cosigner session revoke``."""
    async with opening.client(options, output) as client:
        with output.step("Revoking"):
            keys = [await _full(client, text) for text in options.session_key]
            await client.revoke_session_keys(keys, **opening.given(options))
    what = f"{len(keys)} session keys" if keys else "All session keys but this device's"
    output.result(
        {"revoked": [key.hex() for key in keys] or "all others"},
        [f"{what} revoked; sessions opened with them have ended."],
    )


async def _full(client: AsyncClient, text: str) -> bytes:
    """A session key by its hexadecimal form, or the beginning of it."""
    found = [
        info.session_key for info in await client.session_keys() if info.session_key.hex().startswith(text)
    ]
    if len(found) != 1:
        raise CosignerError(
            "session_key_unknown",
            f"{len(found)} session keys begin with {text}; `cosigner session list` shows them.",
            culprit=Culprit.CLIENT,
        )
    return found[0]


def describe_account(account: Account) -> Described:
    """What the enclave keeps of a user."""
    locked, recovery = account.locked_until, account.recovery_not_before
    data: dict[str, object] = {
        "user_id": account.user_id,
        "kind": account.kind_of_user,
        "logins": [
            {"login": login.login, "issuer": login.issuer, "linked_at": when(login.linked_at)}
            for login in account.logins
        ],
        "credentials": [
            {
                "credential_id": found.credential_id.hex(),
                "type": found.type,
                "name": found.name,
                "active": found.active,
                "created_at": when(found.created_at),
            }
            for found in account.credentials
        ],
        "totp": account.totp,
        "recovery_codes_left": account.recovery_codes_left,
        "recovery_key": account.recovery_key,
        "recovery_not_before": None if recovery is None else when(recovery),
        "locked_until": None if locked is None else when(locked),
    }
    lines = [
        f"user              {account.user_id} ({account.kind_of_user})",
        *(f"login             {login.issuer} ({login.login[:16]}…)" for login in account.logins),
        *(
            f"{found.type:<17} {found.name} ({found.credential_id.hex()[:16]}…{'' if found.active else ', inactive'})"
            for found in account.credentials
        ),
        f"second factor     {f'TOTP, {account.recovery_codes_left} recovery codes left' if account.totp else 'none'}",
        f"recovery key      {'set' if account.recovery_key else 'none: set one with `cosigner recovery key`'}",
    ]
    if recovery is not None:
        lines.append(
            f"RECOVERY          under way, complete after {when(recovery)}; if this is not you: `cosigner recovery cancel`"
        )
    if locked is not None:
        lines.append(f"LOCKED            after wrong codes, until {when(locked)}")
    if not account.credentials:
        lines.append(
            "No passkey or key yet: `cosigner credential add` registers one; until then the login is all there is."
        )
    return data, lines


def describe_session_keys(keys: list[SessionKeyInfo]) -> Described:
    """The user's session keys, on all devices."""
    data: dict[str, object] = {
        "session_keys": [
            {
                "session_key": key.session_key.hex(),
                "created_at": when(key.created_at),
                "expires_at": when(key.expires_at),
                "login": key.login,
                "current": key.current,
            }
            for key in keys
        ]
    }
    lines = [
        f"{'session key':<18} {'made':<20}  {'good until':<20}",
        *(
            f"{key.session_key.hex()[:16]}…  {when(key.created_at)}  {when(key.expires_at)}{'  this device' if key.current else ''}"
            for key in keys
        ),
    ]
    return data, lines


async def receipts(options: argparse.Namespace, output: Output) -> None:
    """``cosigner audit receipts``."""
    found = ShareStore.receipts(opening.store_directory(options), options.about)
    output.result({"receipts": [str(path) for path in found]}, [str(path) for path in found])
