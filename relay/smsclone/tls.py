"""TLS to the upstream: verified, 1.2 or later, resuming the last session so that fresh connections are cheap."""

import ssl
from pathlib import Path


class ResumingContext(ssl.SSLContext):
    """A client's context that resumes the TLS session of the last connection.

    asyncio has no argument for a session, but both its loop and uvloop create their TLS object by :meth:`wrap_bio`, so
    the session is added there. Use it for one host only: a session implies a certificate that was verified.
    """

    _session: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Create the TLS object, with the kept session if none is given."""
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self._session)

    def keep_session(self, ssl_object: ssl.SSLObject | None) -> None:
        """Keep the session of a connection that has been answered; in TLS 1.3 there is none before.

        A session that the server accepted is used again: reading a newer one from OpenSSL costs more than it saves.
        """
        if ssl_object is None or ssl_object.session_reused:
            return
        self._session = ssl_object.session or self._session


def make_tls_context(ca_file: Path | str | None = None) -> ResumingContext:
    """Create the context for one host.

    Args:
        ca_file: certificates (PEM) to trust instead of the system's.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context
