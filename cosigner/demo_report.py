"""The demonstration's report, for a person."""

from __future__ import annotations

import textwrap
from typing import Any

from . import demo_delegation


def describe(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    attestation = report["attestation"]
    lines = [
        "Enclave attested (mock attestation: the simulator's root signed this, not AWS)",
        f"  module            {attestation['module_id']}",
        f"  image, PCR0       {attestation['pcrs']['0']}",
        f"  manifest, PCR16   {attestation['pcrs']['16']}",
        f"  root              {attestation['root_sha256']}",
        f"  age               {attestation['age_s']} s",
        "",
        "Logged in with a JWT; a session key of this device speaks for the user from now on",
        f"  user              {report['login']['user_id']}",
        f"  session key       {report['login']['session_key']}",
        f"  passkey           {report['passkey']['credential_id']} (virtual: a real one lives in a device)",
    ]
    for wallet, signature in zip(report["wallets"], report["signatures"], strict=True):
        lines += [
            "",
            f"{wallet['chain'].capitalize()}: a wallet by distributed key generation, and one co-signed transaction",
            f"  wallet            {wallet['wallet_id']} ({wallet['suite']}, epoch {wallet['epoch']})",
            f"  address           {wallet['address']}",
            f"  transaction       {_shortened(signature['payload'])}",
            f"  signature         {_shortened(signature['signature'])}",
            f"  verified by       {signature['verified_by']}",
            f"  time, traffic     {signature['ms']} ms, {_traffic(signature)}",
        ]
    refusal, step_up, audit, life = report["refusal"], report["step_up"], report["audit"], report["life"]
    lines += [
        "",
        f"Refused by the enclave: {_ether(refusal['wei'])} ether, which is more than any rule of the policy lets go",
        f"  code              {refusal['code']}",
        *(
            f"  {'reason' if not number else '':<18}{line}"
            for number, line in enumerate(_wrapped(refusal["message"]))
        ),
        "",
        f"Allowed with the passkey: {_ether(step_up['wei'])} ether, which the session key alone may not send",
        f"  action signed     {step_up['action']}",
        f"  signature         {_shortened(step_up['signature'])}",
        f"  verified by       {step_up['verified_by']}",
        "",
        *demo_delegation.lines(report["delegation"]),
        "",
        "A wallet's life: the Ethereum wallet's shares renewed, its device lost, and another device in its place",
        f"  refresh           epoch {life['refresh']['epoch']}, {life['refresh']['ms']} ms, {_traffic(life['refresh'])}",
        f"  backup            {life['backup']['backup_id']} at the service, under a passcode; read back and proved",
        f"  recovery          epoch {life['recovery']['epoch']}, {life['recovery']['ms']} ms, {_traffic(life['recovery'])}",
        f"  address           {life['address']}, as before",
        f"  signature there   {_shortened(life['signature']['signature'])}",
        f"  verified by       {life['signature']['verified_by']}",
        f"  the lost device   {life['lost_device']['code']}: its share signs nothing any more",
        "",
        "Receipts and the host's log, verified offline",
        f"  log               {audit['entries']} entries: {audit['allowed']} allowed, {audit['denied']} denied; nothing altered, dropped or forked",
        f"  receipts          {audit['receipts']} of both devices, all in the log",
    ]
    return lines


def _ether(wei: int) -> str:
    return f"{wei / 10**18:g}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100)


def _traffic(signature: dict[str, Any]) -> str:
    return f"{signature['bytes_sent']} bytes sent, {signature['bytes_received']} received"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:48]}…{text[-16:]} ({len(text) // 2} bytes)"  # noqa: PLR2004
