"""The parsers of webhooks: events of an enclave, URLs and answers at the host, everything that comes in at a developer's."""

from __future__ import annotations

import json
from functools import cache

from cosigner import webhooks as kit
from host.errors import HostError
from host.webhooks import payload
from host.webhooks.connection import AnswerError, _Answer
from host.webhooks.events import read
from host.webhooks.ssrf import Rules, may_dial
from host.webhooks.ssrf import target as judge_url
from protocol import hybrid
from protocol.envelope.errors import ProtocolError
from protocol.hybrid import DecryptionKey
from tests.cosigner.webhooks.sent import by_hand, sent
from tests.fuzz.targets import target
from tests.host.webhooks.arrivals import NOW, SECRET, outbox_event
from tests.host.webhooks.test_canonical import AWKWARD, round_trip

_DATA = [json.dumps(value).encode() for value in AWKWARD]


@target(HostError, seeds=lambda: _DATA)
def webhook_data(data: bytes) -> None:
    """Whatever is accepted survives a JavaScript receiver."""
    event = read(outbox_event(data=data), now=NOW).event
    body = payload.body(event, message_id="m", webhook_id="w", environment_name="e", redelivery=False)
    assert round_trip(body) == body


@target(HostError, seeds=lambda: [b"https://hooks.developer.example/a?b=c", b"https://developer.example:443"])
def webhook_url(data: bytes) -> None:
    found = judge_url(data.decode("latin-1"), Rules())
    assert found.tls
    assert found.port == 443
    assert found.path.startswith("/")
    assert found.host.encode() in data
    assert not set(found.path + found.host) & set(" \r\n\t@#\\\x00") - {"@"}
    assert not may_dial(found.host, Rules(allow_private=True))  # a name, never an address


@target(
    AnswerError,
    seeds=lambda: [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 204 \r\n\r\n",
    ],
)
def webhook_answer(data: bytes) -> None:
    answer = _Answer()
    answer.feed(data[:5])
    answer.feed(data[5:])
    assert answer.status == 0 or 200 <= answer.status < 1000
    assert answer.status or not answer.complete


@cache
def _sent() -> list[tuple[dict[str, str], bytes]]:
    return [sent(), sent("ping", {})]


@target(
    kit.WebhookRefused, seeds=lambda: [headers["webhook-signature"].encode() for headers, _ in _sent()[:1]]
)
def webhook_signature(data: bytes) -> None:
    headers, body = _sent()[0]
    forged = {**headers, "webhook-signature": data.decode("latin-1")}
    kit.verify(SECRET, forged, body, tolerance=300, now=NOW // 1000)
    assert headers["webhook-signature"].encode() in data, "a forged signature"


@target(
    kit.WebhookRefused,
    seeds=lambda: [headers["x-dynamic-signature-256"].encode() for headers, _ in _sent()[:1]],
)
def webhook_dynamic_signature(data: bytes) -> None:
    headers, body = _sent()[0]
    kit.verify(SECRET, {"x-dynamic-signature-256": data.decode("latin-1")}, body, tolerance=None)
    assert headers["x-dynamic-signature-256"].encode() == data, "a forged signature"


@target(kit.WebhookRefused, seeds=lambda: [body for _, body in _sent()])
def webhook_body(data: bytes) -> None:
    kit.verify(SECRET, by_hand(data), data, tolerance=None)
    event = kit.parse(data)
    if event.event_name == kit.CREATED:
        kit.created(event)
    if event.event_name == kit.REVOKED:
        kit.revoked(event)


@cache
def _key() -> DecryptionKey:
    return DecryptionKey.generate(2048)


@cache
def _envelopes() -> list[bytes]:
    return [json.dumps(_key().public("k").encrypt(b"content").fields()).encode()]


@target(ProtocolError, seeds=_envelopes)
def hybrid_envelope(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    assert _key().decrypt(hybrid.parse(value)) == b"content", "a forged envelope"


@target(ProtocolError, seeds=lambda: [_key().public("k").der])
def hybrid_public_key(data: bytes) -> None:
    found = hybrid.EncryptionKey.from_der(data, "k")
    assert found.der == data
