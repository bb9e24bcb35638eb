"""TLS certificate of the server."""

from __future__ import annotations

import ssl

from ingot.errors import UsageError
from ingot.server.config import ServerConfig


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """Return the context of the configured certificate; None where the server speaks plain HTTP.

    Raises:
        UsageError: the files are missing, do not belong together or are not PEM.
    """
    if config.tls_cert is None:
        if config.tls_key is not None:
            raise UsageError("needs a certificate", where="tls_key", fix="add --tls-cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_password() -> str:
        raise ValueError("it is encrypted")

    try:
        context.load_cert_chain(config.tls_cert, config.tls_key, no_password)
    except (OSError, ValueError) as error:
        named = getattr(error, "filename", None) or config.tls_key or config.tls_cert
        raise UsageError(
            f"cannot be used for TLS ({getattr(error, 'reason', None) or error})",
            where=named,
            fix="give a certificate (--tls-cert) and its key without a password (--tls-key), PEM",
        ) from error
    return context
