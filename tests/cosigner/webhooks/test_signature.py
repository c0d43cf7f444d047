"""Who may say that something happened: signatures over raw bytes, their forms, and their age."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosigner.webhooks import WebhookRefused, verify
from cosigner.webhooks.signature import MAX_BODY
from tests.cosigner.webhooks.sent import by_hand, sent
from tests.host.webhooks.arrivals import NOW, SECRET
from tests.host.webhooks.test_canonical import round_trip, through_node

AT = NOW // 1000
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()


def refused(code: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(WebhookRefused) as caught:
        verify(*arguments, **{"tolerance": None, "now": AT, **options})
    assert caught.value.code == code
    assert caught.value.status == 401 or code == "webhook_too_large"


def test_what_the_host_signs_is_accepted() -> None:
    headers, body = sent()
    verify(SECRET, headers, body, tolerance=None)
    verify(SECRET, headers, body, tolerance=300, now=AT)
    verify(SECRET, {name.upper(): value for name, value in headers.items()}, body, tolerance=300, now=AT)
    verify([OTHER, SECRET], headers, body, tolerance=300, now=AT)


def test_what_dynamic_signs_is_accepted_without_a_time() -> None:
    body = b'{"any":"body"}'
    verify(SECRET, by_hand(body), body, tolerance=None)
    refused("signature_missing", SECRET, by_hand(body), body, tolerance=300)


def test_a_receiver_that_writes_the_json_again_before_it_hashes_agrees() -> None:
    """Dynamic's sample receiver hashes ``JSON.stringify(JSON.parse(body))``; by ECMA-262's rules, and by Node.js where there is one."""
    headers, body = sent(data={"memo": "ä \u2028 \x01 \U0001f600 </script>", "n": [0, -5, 9007199254740991]})
    for again in {round_trip(body), *(through_node([body]) or [])}:
        digest = hmac.new(SECRET.encode(), again, hashlib.sha256).hexdigest()
        assert headers["x-dynamic-signature-256"] == f"sha256={digest}"


@given(st.data())
def test_every_byte_of_the_body_counts(data: st.DataObject) -> None:
    headers, body = sent(data={"walletId": "w"})
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused("signature_wrong", SECRET, headers, bytes(changed))
    refused("signature_wrong", SECRET, headers, body + b" ")
    refused("signature_wrong", SECRET, headers, body[:-1])


def test_the_same_json_in_other_bytes_is_refused() -> None:
    headers, body = sent()
    refused("signature_wrong", SECRET, headers, json.dumps(json.loads(body)).encode())


def test_another_secret_signs_nothing() -> None:
    headers, body = sent(secret=OTHER)
    for secrets in (SECRET, [SECRET], [], SECRET.removeprefix("whsec_"), SECRET + " ", ""):
        refused("signature_wrong", secrets, headers, body)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "sha256=00",
        "sha256=" + "0" * 63,
        "sha256=" + "0" * 65,
        "sha256=" + "g" * 64,
        "sha1=" + "0" * 40,
        "0" * 64,
        "sha256=" + "0" * 64 + "\n",
        "sha256=" + "\u0660" * 64,
        "sha256=" + "\ud800" * 64,
        "SHA256=" + "0" * 64,
    ],
)
def test_a_signature_of_another_length_or_form_is_a_refusal_and_no_exception(signature: str) -> None:
    """Node's timingSafeEqual throws where lengths differ; the documented sample receiver dies of it."""
    _, body = sent()
    refused("signature_malformed", SECRET, {"x-dynamic-signature-256": signature}, body)


def test_upper_case_hexadecimal_is_another_form() -> None:
    headers, body = sent()
    value = headers["x-dynamic-signature-256"]
    refused("signature_malformed", SECRET, {"x-dynamic-signature-256": "sha256=" + value[7:].upper()}, body)


def test_a_header_that_is_missing_or_there_twice_is_refused() -> None:
    headers, body = sent()
    refused("signature_missing", SECRET, {}, body)
    refused("signature_missing", SECRET, {"x-dynamic-signature": headers["x-dynamic-signature-256"]}, body)
    twice = {**headers, "X-Dynamic-Signature-256": "sha256=" + "0" * 64}
    refused("signature_malformed", SECRET, twice, body)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        rest = {other: value for other, value in headers.items() if other != name}
        verify(SECRET, rest, body, tolerance=None)
        refused("signature_missing", SECRET, rest, body, tolerance=300)


def test_a_replay_outside_of_the_window_is_refused_in_either_direction() -> None:
    headers, body = sent()
    for now in (AT - 300, AT, AT + 300):
        verify(SECRET, headers, body, tolerance=300, now=now)
    for now in (AT - 301, AT + 301, AT + 10**9):
        refused("signature_stale", SECRET, headers, body, tolerance=300, now=now)


def test_a_replay_with_a_new_time_or_id_is_refused() -> None:
    headers, body = sent()
    later = AT + 5000
    refused(
        "signature_wrong",
        SECRET,
        {**headers, "webhook-timestamp": str(later)},
        body,
        tolerance=300,
        now=later,
    )
    refused("signature_wrong", SECRET, {**headers, "webhook-id": "another"}, body, tolerance=300)
    other, _ = sent(at=later)
    refused(
        "signature_wrong",
        SECRET,
        {**headers, "webhook-signature": other["webhook-signature"]},
        body,
        tolerance=300,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "1e9"),
        ("webhook-timestamp", " 1"),
        ("webhook-timestamp", "9" * 13),
        ("webhook-timestamp", "\u0661"),
        ("webhook-id", ""),
        ("webhook-id", "a b"),
        ("webhook-id", "x" * 129),
    ],
)
def test_times_and_ids_have_a_form(name: str, value: str) -> None:
    headers, body = sent()
    refused("signature_malformed", SECRET, {**headers, name: value}, body, tolerance=300)


def test_of_several_standard_signatures_one_must_fit_and_only_version_1_counts() -> None:
    headers, body = sent()
    good = headers["webhook-signature"]
    verify(SECRET, {**headers, "webhook-signature": f"v1a,AAAA v1,AAAA {good}"}, body, tolerance=300, now=AT)
    for spoilt in (
        good.replace("v1,", "v2,"),
        "v1,",
        "v1",
        good[:-4],
        "v1,AAAA",
        good + "A",
        "v1,ä",
        f"{'v1,AAAA ' * 8}{good}",
    ):
        refused("signature_wrong", SECRET, {**headers, "webhook-signature": spoilt}, body, tolerance=300)


def test_the_standard_signature_is_the_specifications_own() -> None:
    """The example of Standard Webhooks' specification and libraries: the secret is base64 after its prefix."""
    from host.webhooks import signing

    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    made = signing.headers(secret, body, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", seconds=1614265330)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    verify(secret, made, body, tolerance=5, now=1614265330)


def test_a_secret_that_is_no_base64_has_dynamics_signature_alone() -> None:
    from host.webhooks import signing

    secret, body = "whsec_not-base64-at-all!", b"{}"
    made = signing.headers(secret, body, message_id="m", seconds=1)
    assert list(made) == ["x-dynamic-signature-256"]
    verify(secret, made, body, tolerance=None)
    headers, body = sent()
    refused("signature_wrong", [secret], headers, body, tolerance=300)


def test_a_body_that_is_too_large_is_not_even_hashed() -> None:
    refused("webhook_too_large", SECRET, {}, bytes(MAX_BODY + 1))
