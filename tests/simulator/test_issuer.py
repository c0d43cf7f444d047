"""The mock issuer: stock libraries believe its tokens, KMS wraps its keys, and an enclave logs users in by them."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt as pyjwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag

from enclave.authn.jwks_fetching import RETRY_MS
from enclave.authn.logins import Logins
from enclave.manifest import TrustedIssuer
from enclave.tunnel import Tunnel
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError
from simulator.issuer import HOST, ISSUER, IssuerSimulator, KeyRing
from simulator.issuer.keys import FILE
from simulator.kms import KmsSimulator
from tests.support.tunnel_port import TunnelPort

NOW_S = 1_900_000_000


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    state = tmp_path_factory.mktemp("kms")
    with KmsSimulator(state) as running:
        ca_file = state / "ca.pem"
        ca_file.write_bytes(running.ca_pem)
        client = boto3.client(
            "kms",
            region_name=running.region,
            endpoint_url=running.url,
            verify=str(ca_file),
            aws_access_key_id="AKIDISSUER",
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        yield client


@pytest.fixture(scope="module")
def key_arn(kms) -> str:
    return kms.create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def issuer(tmp_path: Path, kms, key_arn) -> Iterator[IssuerSimulator]:
    with IssuerSimulator(tmp_path, kms, key_arn, environment="sandbox", clock=lambda: NOW_S + 0.5) as running:
        yield running


def ask(issuer, path, request=None):
    """(status, JSON) over HTTPS."""
    context = ssl.create_default_context(cadata=issuer.ca_pem.decode())
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    data = request if request is None or isinstance(request, bytes) else json.dumps(request).encode()
    try:
        with opener.open(issuer.url + path, data, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def stock_claims(issuer, token, **options):
    """As PyJWT reads a token, with a key of the published set."""
    _, published = ask(issuer, "/.well-known/jwks.json")
    key = pyjwt.PyJWKSet.from_dict(published)[pyjwt.get_unverified_header(token)["kid"]]
    unchecked = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    return pyjwt.decode(
        token, key, ["RS256"], audience="cosigner", issuer=ISSUER, options=unchecked, **options
    )


def test_the_stock_library_believes_a_token(issuer):
    status, answer = ask(issuer, "/token", {"sub": "alice"})
    assert status == 200
    claims = stock_claims(issuer, answer["token"])
    assert claims.pop("jti")
    assert claims == {
        "iss": ISSUER,
        "sub": "alice",
        "aud": ["cosigner"],
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 600,
        "scope": "user:basic",
        "environment_id": "sandbox",
    }
    assert answer["expires_at"] == NOW_S + 600
    assert pyjwt.get_unverified_header(answer["token"]) == {
        "alg": "RS256",
        "kid": answer["kid"],
        "typ": "JWT",
    }


def test_a_request_may_ask_for_other_claims(issuer):
    request = {
        "sub": "bob",
        "scopes": ["user:basic", "requiresAdditionalAuth"],
        "audience": "cosigner",
        "environment_id": "",
        "lifetime": -5,
        "claims": {"last_verified_credential_id": "c", "nbf": 5},
    }
    claims = stock_claims(issuer, ask(issuer, "/token", request)[1]["token"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == (
        "bob",
        "cosigner",
        "user:basic requiresAdditionalAuth",
    )
    assert (claims["exp"], claims["nbf"], claims["last_verified_credential_id"]) == (NOW_S - 5, 5, "c")
    assert "environment_id" not in claims


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"sub": ""},
        {"sub": 5},
        {"sub": "a", "scope": "x"},
        {"sub": "a", "lifetime": "5"},
        {"sub": "a", "lifetime": True},
        {"sub": "a", "lifetime": 10**9},
        {"sub": "a", "scopes": "x"},
        {"sub": "a", "claims": []},
        [],
        b"{",
        b"\xff",
        b"[" * 20_000,
    ],
)
def test_a_request_that_is_none_is_refused(issuer, request_):
    status, answer = ask(issuer, "/token", request_)
    assert (status, answer["error"]) == (400, "invalid_request")


def test_other_paths_are_not_found(issuer):
    assert ask(issuer, "/")[0] == ask(issuer, "/token")[0] == ask(issuer, "/jwks", {})[0] == 404


def test_the_published_set_holds_no_private_member(issuer):
    _, published = ask(issuer, "/.well-known/jwks.json")
    assert [set(key) for key in published["keys"]] == [{"kty", "n", "e", "kid", "use", "alg"}]


def test_rotation_keeps_the_old_keys_for_a_while_or_not(issuer):
    def kids():
        return [key["kid"] for key in ask(issuer, "/.well-known/jwks.json")[1]["keys"]]

    (first,) = kids()
    second = ask(issuer, "/rotate", {})[1]["kid"]
    assert kids() == [second, first]
    assert ask(issuer, "/token", {"sub": "a"})[1]["kid"] == second
    third, fourth = (ask(issuer, "/rotate", {"keep": True})[1]["kid"] for _ in range(2))
    assert kids() == [fourth, third, second]
    fifth = ask(issuer, "/rotate", {"keep": False})[1]["kid"]
    assert kids() == [fifth]
    assert ask(issuer, "/rotate", {"keep": "yes"})[0] == 400


def test_keys_outlive_a_restart_and_are_wrapped_by_kms(tmp_path, kms, key_arn):
    first = KeyRing(tmp_path, kms, key_arn)
    first.rotate()
    again = KeyRing(tmp_path, kms, key_arn)
    assert again.public_set == first.public_set
    assert again.signing.private.private_numbers() == first.signing.private.private_numbers()
    stored = (tmp_path / FILE).read_bytes()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in stored
    assert set(json.loads(stored)) == {"version", "data_key", "keys"}


def test_without_its_kms_key_the_file_opens_for_nobody(tmp_path, kms, key_arn):
    KeyRing(tmp_path, kms, key_arn)
    other = kms.create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(ClientError):
        KeyRing(tmp_path, kms, other)


def test_a_changed_file_is_refused(tmp_path, kms, key_arn):
    KeyRing(tmp_path, kms, key_arn)
    stored = json.loads((tmp_path / FILE).read_bytes())
    stored["keys"][0]["kid"] = "renamed"
    (tmp_path / FILE).write_text(json.dumps(stored))
    with pytest.raises(InvalidTag):
        KeyRing(tmp_path, kms, key_arn)


def test_an_enclave_logs_users_in_by_it_through_rotation(issuer, tmp_path):
    trusted = TrustedIssuer(
        issuer=ISSUER,
        audiences=["cosigner"],
        environment="sandbox",
        algorithms=["RS256"],
        jwks="",
        url=f"https://{HOST}/.well-known/jwks.json",
        ca_pem=issuer.ca_pem.decode(),
        grace_s=600,
        scopes=["user:basic"],
        forbidden_scopes=["requiresAdditionalAuth"],
    )

    def token(**request):
        return ask(issuer, "/token", {"sub": "alice", **request})[1]["token"]

    async def scenario(dial):
        logins = Logins([trusted], dial)
        now_ms = NOW_S * 1000 + 500
        first = token()
        login = await logins.verify(first, now_ms=now_ms)
        assert (login.subject, login.expires_at_ms) == ("alice", (NOW_S + 600) * 1000)
        await asyncio.to_thread(ask, issuer, "/rotate", {"keep": True})
        second = token()
        with pytest.raises(CosignerError):
            await logins.verify(second, now_ms=now_ms)  # not that soon
        for one in (second, first):
            assert await logins.verify(one, now_ms=now_ms + RETRY_MS) == login
        with pytest.raises(CosignerError) as caught:
            await logins.verify(token(scopes=["user:basic", "requiresAdditionalAuth"]), now_ms=now_ms)
        assert caught.value.code == "jwt_invalid"

    with TunnelPort(str(tmp_path / "tunnel"), issuer.port) as port:
        asyncio.run(scenario(Tunnel(Address.parse(f"unix:{tmp_path}/tunnel")).dial))
        assert set(port.destinations) == {(HOST, 443)}


def test_the_command_serves_until_it_is_stopped(tmp_path):
    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments, "--state", str(tmp_path), "--json"], stdout=subprocess.PIPE
        )
        return process, json.loads(process.stdout.readline())

    kms_process, kms_ready = start("simulator.kms")
    try:
        process, ready = start(
            "simulator.issuer", "--kms", kms_ready["url"], "--audience", "a", "--audience", "b"
        )
        try:
            context = ssl.create_default_context(cafile=ready["ca_file"])
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(ready["url"] + "/token", b'{"sub":"carol"}', timeout=10) as answer:
                token = json.load(answer)["token"]
            with opener.open(ready["url"] + ready["jwks_path"], timeout=10) as answer:
                keys = pyjwt.PyJWKSet.from_dict(json.load(answer))
            claims = pyjwt.decode(
                token, keys.keys[0], ["RS256"], audience="b", issuer=ready["issuer"], leeway=30
            )
            assert (claims["sub"], claims["aud"]) == ("carol", ["a", "b"])
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            process.stdout.close()
    finally:
        kms_process.send_signal(signal.SIGTERM)
        assert kms_process.wait(20) == 0
        kms_process.stdout.close()
