"""TLS towards the upstream: verified, 1.2 or later, the last session resumed so that fresh connections stay cheap."""

import ssl
from pathlib import Path


class ResumingContext(ssl.SSLContext):
    """A client's context that offers the session of the last connection to the next.

    asyncio has no argument for a session; both its loop and uvloop make their TLS object by :meth:`wrap_bio`, which is
    therefore the place to put it. For one host only: a session stands for a certificate that was checked.
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
        """See ``ssl.SSLContext.wrap_bio``."""
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self._session)

    def keep_session(self, ssl_object: ssl.SSLObject | None) -> None:
        """Remember a connection's session, once it has been answered: in TLS 1.3 there is none before.

        A session that was taken is offered again; reading the next one out of OpenSSL costs more than it brings.
        """
        if ssl_object is None or ssl_object.session_reused:
            return
        self._session = ssl_object.session or self._session


def make_tls_context(ca_file: Path | str | None = None) -> ResumingContext:
    """Make the context for one host.

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
