"""TLS that ends in the enclave: which authorities are believed, and nothing from the environment."""

from __future__ import annotations

import ssl

import botocore.httpsession


class TlsError(Exception):
    """What is at the other end of the tunnel is not the service that was asked for."""


def client_context(ca_pem: str | None) -> ssl.SSLContext:
    """A context that requires a certificate for the host's name.

    :param ca_pem: the only authorities to accept; ``None``: the public ones that botocore ships.
    :raises TlsError: ``ca_pem`` holds none.
    """
    # Not create_default_context: that one reads SSLKEYLOGFILE and the system's certificates.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # requires a certificate and checks its host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_pem is not None:
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, ValueError) as error:
            raise TlsError("the certificate authorities to trust cannot be read") from error
    else:
        context.load_verify_locations(cafile=botocore.httpsession.get_cert_path(verify=True))
    return context
