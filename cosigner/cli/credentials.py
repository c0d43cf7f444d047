"""``cosigner credential``, ``totp``, ``recovery``, ``wallet hand-over``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit

from .. import totp  # noqa: TID252
from ..config import ClientConfig  # noqa: TID252
from ..keys import SigningKey  # noqa: TID252
from . import opening
from .inputs import read_file
from .moments import when

if TYPE_CHECKING:
    from protocol.accounts import CredentialInfo

    from ..client import AsyncClient  # noqa: TID252
    from .describe import Described
    from .output import Output


async def credential_list(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential list``."""
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave"):
            found = await client.credentials()
    lines = [
        f"{'credential':<18} {'type':<8} {'state':<9} {'made':<20}  name",
        *(
            f"{one.credential_id.hex()[:16]}…  {one.type:<8} {'active' if one.active else 'inactive':<9} {when(one.created_at)}  {one.name}"
            for one in found
        ),
    ]
    output.result(
        {"credentials": [_described(one)[0] for one in found]},
        lines if found else ["No passkeys or keys yet. Register one: cosigner credential add"],
    )


async def credential_add(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential add``."""
    code = None
    if options.device_code:
        code = opening.secret_text(options.device_code_file, "Device code: ", "a device code")
    async with opening.client(options, output) as client:
        key = _key_to_register(options)
        with output.step("Registering the key"):
            added = await client.add_key(options.name, key, device_code=code, **opening.given(options))
    data, lines = _described(added)
    output.result(data, ["Registered.", *lines])


async def credential_rename(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential rename``."""
    async with opening.client(options, output) as client:
        chosen = await _chosen(client, options.credential)
        changed = await client.rename_credential(chosen, options.name, **opening.given(options))
    _show(output, changed, "Renamed.")


async def credential_activate(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential activate``."""
    async with opening.client(options, output) as client:
        chosen = await _chosen(client, options.credential)
        changed = await client.activate_credential(chosen, **opening.given(options))
    _show(output, changed, "Active.")


async def credential_deactivate(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential deactivate``."""
    async with opening.client(options, output) as client:
        chosen = await _chosen(client, options.credential)
        changed = await client.deactivate_credential(chosen, **opening.given(options))
    _show(output, changed, "Not active any more; `cosigner credential activate` turns it on again.")


async def credential_remove(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential remove``."""
    async with opening.client(options, output) as client:
        chosen = await _chosen(client, options.credential)
        await client.remove_credential(chosen, **opening.given(options))
    output.result({"removed": chosen.hex()}, ["Removed."])


async def credential_code(options: argparse.Namespace, output: Output) -> None:
    """``cosigner credential code``."""
    async with opening.client(options, output) as client:
        made = await client.make_device_code(**opening.given(options))
    output.result(
        {"code": made.code, "expires_at": when(made.expires_at)},
        [
            f"device code       {made.code}",
            f"good until        {when(made.expires_at)}, once, for one credential",
            "On the other device: log in as the same user, then `cosigner credential add --device-code`.",
        ],
    )


async def totp_enable(options: argparse.Namespace, output: Output) -> None:
    """``cosigner totp enable``."""
    settings = ClientConfig.load(options.config)

    def confirm(secret: bytes) -> str:
        output.note(f"secret            {totp.secret_text(secret)}")
        output.note(f"for a QR code     {totp.uri(secret, account=settings.environment, issuer='Cosigner')}")
        if options.confirm_file is not None:
            return read_file(options.confirm_file).decode("ascii", "replace")
        return opening.secret_text(None, "Code that the app shows: ", "the code")

    async with opening.client(options, output) as client:
        made = await client.enable_totp(confirm, **opening.given(options))
    _show_codes(output, made.codes, "TOTP is in force.")


async def totp_disable(options: argparse.Namespace, output: Output) -> None:
    """``cosigner totp disable``."""
    async with opening.client(options, output) as client:
        await client.disable_totp(**opening.given(options))
    output.result({"totp": False}, ["TOTP is off; its recovery codes are void."])


async def totp_codes(options: argparse.Namespace, output: Output) -> None:
    """``cosigner totp codes``."""
    async with opening.client(options, output) as client:
        codes = await client.new_recovery_codes(**opening.given(options))
    _show_codes(output, codes, "New recovery codes; the earlier ones are void.")


async def recovery_key(options: argparse.Namespace, output: Output) -> None:
    """``cosigner recovery key``."""
    async with opening.client(options, output) as client:
        key = None
        if not options.remove:
            key = SigningKey.generate()
            opening.write_key(options.out, key, options.recovery_passphrase_file)
        with output.step("Registering the public half"):
            await client.set_recovery_key(key, **opening.given(options))
            user = (await client.account()).user_id
    if key is None:
        output.result({"recovery_key": None}, ["The recovery key is taken away."])
        return
    output.result(
        {"recovery_key": key.public_key.hex(), "file": str(options.out), "user_id": user},
        [
            f"The recovery key is in {options.out}. Move the file off this device, and keep the user's id with it:",
            f"user              {user}",
        ],
    )


async def recovery_start(options: argparse.Namespace, output: Output) -> None:
    """``cosigner recovery start``."""
    _require_user(options)
    recovery = opening.read_key(options.recovery_key, options.recovery_passphrase_file)
    async with opening.client(options, output, create=True) as client:
        key = _key_to_register(options)
        with output.step("Asking for recovery"):
            done = await client.recover(options.user, recovery, options.name, key=key)
    _show_recovery(output, done.user_id, done.not_before)


async def recovery_finish(options: argparse.Namespace, output: Output) -> None:
    """``cosigner recovery finish``."""
    _require_user(options)
    async with opening.client(options, output) as client:
        with output.step("Completing the recovery"):
            done = await client.complete_recovery(options.user)
    _show_recovery(output, done.user_id, done.not_before)


async def recovery_cancel(options: argparse.Namespace, output: Output) -> None:
    """``cosigner recovery cancel``."""
    async with opening.client(options, output) as client:
        await client.cancel_recovery(**opening.given(options))
    output.result({"cancelled": True}, ["The recovery is cancelled."])


async def wallet_hand_over(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet hand-over``."""
    if not options.yes:
        raise CosignerError(
            "confirmation_missing",
            "There is no way back: afterwards this user alone can use the wallet. Say so with --yes.",
            culprit=Culprit.CLIENT,
        )
    async with opening.client(options, output) as client:
        with output.step("Handing the wallet over"):
            await client.hand_over(options.wallet, options.to, **opening.given(options))
    output.result(
        {"wallet_id": options.wallet, "owner": options.to},
        [f"Wallet {options.wallet} is user {options.to}'s from now on."],
    )


def _require_user(options: argparse.Namespace) -> None:
    if options.user is None:
        raise CosignerError(
            "usage",
            "Whom? --user ID; the id stands where the recovery key was kept, and `cosigner whoami` showed it.",
            culprit=Culprit.CLIENT,
        )


def _key_to_register(options: argparse.Namespace) -> SigningKey:
    if options.new_key is not None:
        key = SigningKey.generate()
        opening.write_key(options.new_key, key, options.new_key_passphrase_file)
        return key
    if options.register is None:
        raise CosignerError(
            "key_missing",
            "Which key? --new-key FILE makes one, --register FILE takes an existing one. (Passkeys are registered by applications: README.)",
            culprit=Culprit.CLIENT,
        )
    return opening.read_key(options.register, options.new_key_passphrase_file)


async def _chosen(client: AsyncClient, text: str) -> bytes:
    """A credential by its id in hexadecimal, the beginning of it, or its name."""
    known = await client.credentials()
    found = [
        one.credential_id for one in known if one.credential_id.hex().startswith(text) or one.name == text
    ]
    if len(found) != 1:
        raise CosignerError(
            "credential_unknown",
            f"{len(found)} credentials have the name {text!r} or an id that begins so; `cosigner credential list` shows them.",
            culprit=Culprit.CLIENT,
        )
    return found[0]


def _described(one: CredentialInfo) -> Described:
    data: dict[str, object] = {
        "credential_id": one.credential_id.hex(),
        "type": one.type,
        "name": one.name,
        "active": one.active,
        "created_at": when(one.created_at),
        "discoverable": one.discoverable,
    }
    lines = [f"{one.type:<17} {one.name}", f"credential        {one.credential_id.hex()}"]
    return data, lines


def _show(output: Output, changed: CredentialInfo, headline: str) -> None:
    data, lines = _described(changed)
    output.result(data, [headline, *lines])


def _show_codes(output: Output, codes: list[str], headline: str) -> None:
    output.result(
        {"recovery_codes": codes},
        [
            headline,
            "Recovery codes, each good once in place of a TOTP code; they are not shown again:",
            *codes,
        ],
    )


def _show_recovery(output: Output, user_id: str, not_before: int | None) -> None:
    if not_before is None:
        output.result(
            {"user_id": user_id, "complete": True},
            [
                "Recovered: the new key is the only credential, this device is logged in, and everything older is void.",
                f"user              {user_id}",
            ],
        )
        return
    output.result(
        {"user_id": user_id, "complete": False, "not_before": when(not_before)},
        [
            f"The recovery waits for its time lock, until {when(not_before)}.",
            f"Then: cosigner recovery finish --user {user_id}",
        ],
    )
