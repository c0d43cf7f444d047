"""Where a webhook may go. Its URL was written by somebody else: it must not reach into the operator's own network.

The URL is parsed strictly, its name is resolved once, every address that it has is judged, and the connection is made to the address
that was judged, not to the name: a name server that answers differently the next time (DNS rebinding) is not asked again. TLS still checks
the name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from host.errors import HostError
from protocol.envelope.errors import Culprit, Reaction

HTTPS_PORT: Final = 443
_HTTP_PORT: Final = 80
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"({_LABEL}\.)*{_LABEL}\Z")
_TARGET: Final = re.compile(r"[!-\"$-\[\]-~]*\Z")  # printable ASCII without "#" and "\\"
_MAX_NAME: Final = 253

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's registries of special-purpose addresses, and what carries another address within. Python's own opinion (`is_global`) is asked as
# well; it differs from version to version.
_REFUSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: the instance's metadata service, container credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # broadcast among them
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local
        "100::/64",
        "2001::/23",  # Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",  # unique local: fd00:ec2::254 among them
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
# What IANA has handed out (RFC 4291 §2.4). Nobody on the Internet has another one; a private network, or its own NAT64, may.
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_OWN: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
_NEVER: Final = ipaddress.ip_address("fd00:ec2::254")  # the metadata service, within fc00::/7


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be tried.

    :ivar path: path and query, as they go into the request line. :ivar tls: false in mock mode only.
    """

    host: str
    port: int
    path: str
    tls: bool = True

    @property
    def authority(self) -> str:
        """For the header ``Host``."""
        return (
            self.host if self.port == (HTTPS_PORT if self.tls else _HTTP_PORT) else f"{self.host}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed.

    :ivar ports: beside 443.
    :ivar allow_private: mock mode: ``http``, loopback and private addresses, names of one label, any port. Link-local addresses never.
    """

    ports: frozenset[int] = frozenset()
    allow_private: bool = False


def target(url: str, rules: Rules) -> Target:
    """Judge a URL.

    :raises HostError: ``webhook_url_refused``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("it is no URL") from None
    tls = parts.scheme == "https"
    if not tls and not (parts.scheme == "http" and rules.allow_private):
        raise _refused("it is not https")
    if port is None:
        port = HTTPS_PORT if tls else _HTTP_PORT
    if "@" in parts.netloc or "#" in url or not _TARGET.match(url):
        raise _refused("it has a user, a fragment or a character that URLs do not have")
    if parts.netloc not in {host, f"{host}:{port}"}:
        raise _refused("its host and port are not in their plain form")
    _check_name(host, rules)
    if port != HTTPS_PORT and port not in rules.ports and not rules.allow_private:
        raise _refused(f"its port is not {HTTPS_PORT}")
    path = parts.path or "/"
    return Target(host, port, f"{path}?{parts.query}" if parts.query else path, tls)


def judge(addresses: list[str], rules: Rules) -> list[str]:
    """The addresses of a name, if all of them may be dialled: one that may not is no accident.

    :raises HostError: ``webhook_address_refused``.
    """
    if not addresses or not all(may_dial(address, rules) for address in addresses):
        raise HostError(
            "webhook_address_refused",
            "The endpoint's name has an address outside of the public Internet, or none.",
            culprit=Culprit.NETWORK,
            reaction=Reaction.RETRY,
        )
    return addresses


def may_dial(address: str, rules: Rules) -> bool:
    """Whether a webhook may be sent to an IP address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if getattr(ip, "scope_id", None) is not None:  # an address of one network interface
        return False
    if rules.allow_private and ip != _NEVER and _within(ip, _OWN):
        return True
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:  # noqa: PLR2004  (the protocol's)
        return False
    return ip.is_global and not ip.is_multicast and not _within(ip, _REFUSED)


def _within(ip: IPAddress, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def _check_name(host: str, rules: Rules) -> None:
    if len(host) > _MAX_NAME or not _NAME.match(host):
        raise _refused("its host is no lower-case name")
    if rules.allow_private:
        return
    label = host.rpartition(".")[2]
    if "." not in host or label.isdigit() or label.startswith("0x"):  # also 127.1, 2130706433 and 0x7f.1
        raise _refused("its host is no name of a domain")


def _refused(reason: str) -> HostError:
    return HostError(
        "webhook_url_refused",
        f"The endpoint's URL cannot be used: {reason}.",
        culprit=Culprit.CLIENT,
    )
