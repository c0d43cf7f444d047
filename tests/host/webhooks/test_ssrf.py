"""Where a webhook may not go, by the names under which the attacks are known."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.errors import HostError
from host.webhooks.endpoint import Endpoint
from host.webhooks.ssrf import Rules, judge, may_dial, target
from tests.host.webhooks.receiver import Receiver

STRICT = Rules()
MOCK = Rules(allow_private=True)

FORBIDDEN = {
    "nobody's": ["1::1", "200::1", "4000::1", "8000::1", "e000::1"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"],
    "metadata": ["169.254.169.254", "169.254.170.2", "169.254.169.123", "fd00:ec2::254", "fe80::a9fe:a9fe"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "broadcast": ["255.255.255.255", "240.0.0.1"],
    "mapped": [
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:a9fe:a9fe",
        "::ffff:0:7f00:1",
    ],
    "compatible": ["::127.0.0.1", "::8.8.8.8"],
    "nat64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1"],
    "6to4": ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"],
    "teredo": ["2001:0:808:808::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "site-local": ["fec0::1"],
    "discard": ["100::1"],
    "ietf": ["192.0.0.170", "192.88.99.1"],
    "segment-routing": ["5f00::1"],
    "scoped": ["fe80::1%eth0", "2606:4700::1111%eth0"],
    "not an address": [
        "",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "8.8.8.8 ",
        "8.8.8.8:80",
    ],
}
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:81b::200e"]


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_addresses_outside_of_the_public_internet_are_refused(kind: str) -> None:
    for address in FORBIDDEN[kind]:
        assert not may_dial(address, STRICT), address
        for addresses in ([address], [PUBLIC[0], address], [address, PUBLIC[0]]):
            with pytest.raises(HostError) as caught:
                judge(addresses, STRICT)
            assert caught.value.code == "webhook_address_refused"


def test_public_addresses_are_dialled_and_a_name_without_one_is_not() -> None:
    assert judge(PUBLIC, STRICT) == PUBLIC
    with pytest.raises(HostError):
        judge([], STRICT)


def test_mock_mode_reaches_private_networks_and_still_not_the_metadata_service() -> None:
    for address in (*FORBIDDEN["loopback"], *FORBIDDEN["private"], *PUBLIC):
        assert may_dial(address, MOCK), address
    for kind in ("metadata", "unspecified", "multicast", "mapped", "nat64", "6to4", "not an address"):
        for address in FORBIDDEN[kind]:
            assert not may_dial(address, MOCK), address


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_whatever_disguise_is_refused(address: Any) -> None:
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    for disguise in (
        f"::ffff:{high:x}:{low:x}",
        f"::{high:x}:{low:x}",
        f"::ffff:0:{high:x}:{low:x}",
        f"64:ff9b::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        str(number),
        hex(number),
    ):
        assert not may_dial(disguise, STRICT), disguise


@pytest.mark.parametrize(
    "url",
    [
        "http://developer.example/",
        "ftp://developer.example/",
        "https:developer.example",
        "https:///path",
        "https://",
        "//developer.example/",
        "https://user@developer.example/",
        "https://user:word@developer.example/",
        "https://developer.example:443@127.0.0.1/",
        "https://developer.example\\@127.0.0.1/",
        "https://developer.example#@127.0.0.1/",
        "https://developer.example/#fragment",
        "https://developer.example/a b",
        "https://developer.example/a\r\nx-injected: 1",
        "https://developer.example/a\tb",
        "https://developer.example/\x00",
        "https://developer.example/ä",
        "https://dévéloper.example/",
        "https://Developer.example/",
        "https://developer.example./",
        "https://-developer.example/",
        "https://developer..example/",
        "https://developer_one.example/",
        "https://localhost/",
        "https://metadata/",
        "https://127.0.0.1/",
        "https://8.8.8.8/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://developer.example:80/",
        "https://developer.example:8443/",
        "https://developer.example:0443/",
        "https://developer.example:0/",
        "https://developer.example:65536/",
        "https://developer.example:/",
        "https://developer.example:-1/",
        "https://developer.example:４４３/",
        "https://" + "a." * 127 + "example/",
        "https://" + "a" * 64 + ".example/",
    ],
)
def test_urls_that_are_not_plain_are_refused(url: str) -> None:
    with pytest.raises(HostError) as caught:
        target(url, STRICT)
    assert caught.value.code == "webhook_url_refused"


def test_plain_urls_come_apart() -> None:
    found = target("https://hooks.developer.example/a/b%20c?d=e&f", STRICT)
    assert (found.host, found.port, found.path, found.authority) == (
        "hooks.developer.example",
        443,
        "/a/b%20c?d=e&f",
        "hooks.developer.example",
    )
    assert target("https://developer.example", STRICT).path == "/"
    assert target("https://developer.example?x", STRICT).path == "/?x"
    assert target("https://developer.example:443/", STRICT).authority == "developer.example"
    other = target("https://developer.example:8443/", Rules(ports=frozenset({8443})))
    assert (other.port, other.authority) == (8443, "developer.example:8443")
    assert target("https://localhost:5/", MOCK).port == 5


def test_http_is_for_mock_mode() -> None:
    found = target("http://localhost/x", MOCK)
    assert (found.port, found.tls, found.authority) == (80, False, "localhost")
    assert target("http://localhost:8000/x", MOCK).authority == "localhost:8000"
    with pytest.raises(HostError):
        target("http://developer.example/", Rules(ports=frozenset({80})))


def post(rules: Rules, url: str, resolve: Any, receiver: Receiver) -> int:
    async def run() -> int:
        tls = ssl.create_default_context(cafile=receiver.ca_file)
        endpoint = Endpoint(rules=rules, tls=tls, resolve=resolve, timeout=10)
        try:
            return await endpoint.post(url, b"{}", {})
        finally:
            await endpoint.close()

    return asyncio.run(run())


def test_dns_rebinding_a_name_is_asked_for_once_and_the_judged_address_is_dialled() -> None:
    """The second answer would be the instance's metadata service; nobody asks for it. TLS and Host still carry the name."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with Receiver(names=("hooks.developer.example",)) as receiver:
        url = f"https://hooks.developer.example:{receiver.port}/x"
        assert post(MOCK, url, resolve, receiver) == 200
        assert asked == ["hooks.developer.example"]
        assert receiver.taken[0].headers["host"] == f"hooks.developer.example:{receiver.port}"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_public_name_with_a_private_address_is_not_connected_to(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", address]

    with Receiver(names=("hooks.developer.example",)) as receiver:
        rules = Rules(ports=frozenset({receiver.port}))
        with pytest.raises(HostError) as caught:
            post(rules, f"https://hooks.developer.example:{receiver.port}/", resolve, receiver)
        assert caught.value.code == "webhook_address_refused"
        assert receiver.taken == []


def test_a_certificate_of_another_name_or_authority_ends_the_attempt() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with (
        Receiver(names=("other.example",)) as receiver,
        Receiver(names=("hooks.developer.example",)) as stranger,
    ):
        for port in (receiver.port, stranger.port):
            with pytest.raises(HostError) as caught:
                post(MOCK, f"https://hooks.developer.example:{port}/", resolve, receiver)
            assert caught.value.code == "webhook_failed"
            assert "TLS" in caught.value.message
        assert receiver.taken == stranger.taken == []


def test_a_name_server_that_hangs_is_asked_once_and_holds_up_nobody() -> None:
    asked = 0

    async def run(receiver: Receiver) -> None:
        nonlocal asked

        async def resolve(host: str, port: int) -> list[str]:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            return []

        tls = ssl.create_default_context(cafile=receiver.ca_file)
        endpoint = Endpoint(rules=MOCK, tls=tls, resolve=resolve, timeout=0.1)
        results = await asyncio.gather(
            *(endpoint.post(f"https://localhost:{receiver.port}/", b"{}", {}) for _ in range(5)),
            return_exceptions=True,
        )
        assert {getattr(result, "code", None) for result in results} == {"webhook_failed"}
        assert asked == 1

    with Receiver() as receiver:
        asyncio.run(run(receiver))
