"""Outgoing connections: the host opens a byte tunnel to a destination; TLS to it ends in the enclave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.messages import Fault, TunnelOpen, TunnelReply

if TYPE_CHECKING:
    import socket

    from protocol.envelope.address import Address

_DIAL_TIMEOUT: Final = 10.0  # seconds


class Tunnel:
    """Dials destinations through the host's tunnel port."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def dial(self, host: str, port: int) -> socket.socket:
        """Open a byte stream to ``host``:``port``; blocking, for boto3's threads.

        :raises OSError: the host cannot be reached, or it refused the destination, or answered nonsense.
        """
        sock = self._address.dial_blocking(_DIAL_TIMEOUT)
        try:
            sock.sendall(frames.pack(cbor.encode(TunnelOpen(host=host, port=port))))
            raw = frames.read_blocking(sock, culprit=Culprit.HOST)
            reply: TunnelReply = cbor.decode(raw, TunnelReply, culprit=Culprit.HOST)  # type: ignore[arg-type]
        except ProtocolError as error:
            sock.close()
            msg = f"the host's tunnel port answered nonsense: {error}"
            raise ConnectionError(msg) from None
        except BaseException:
            sock.close()
            raise
        if isinstance(reply, Fault):
            sock.close()
            msg = f"the host refused a tunnel to {host}:{port}: {reply.message} [{reply.code}]"
            raise ConnectionRefusedError(msg)
        return sock
