"""A stand-in for the Kubernetes API server: answers TokenReviews over TLS as a test says, and counts them."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

ACCOUNT = "system:serviceaccount:orders:api"


def make_token(
    subject: str = ACCOUNT, audience: object = ("relay",), *, seconds: float = 3600, mark: str = "canary-signature-9Z"
) -> str:
    """A token that looks like a projected one; nobody signed it, the API server's word is all that counts."""
    claims = {"iss": "https://kubernetes.default.svc", "sub": subject, "aud": audience, "exp": time.time() + seconds}
    parts = ({"alg": "RS256", "kid": "1"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, mark))


@dataclass
class ApiServer:
    """What a test sees of the server, and what it may change at any time."""

    directory: Path
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Token → ``status`` of its review; a token that is not here is not authenticated."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all reviews."""
    callers: list[str] = field(default_factory=list)
    """What stood in ``Authorization`` each time."""
    fault: str | None = None
    """``500``, ``403``, ``429``, ``garbage``, ``other_kind``, ``close``, ``large`` or ``redirect``."""
    gate: threading.Event = field(default_factory=threading.Event)
    """While cleared, nothing is answered."""
    url: str = ""

    def __post_init__(self) -> None:
        self.gate.set()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.token_file.write_text("own-token-1\n")

    @property
    def token_file(self) -> Path:
        """The relay's own token."""
        return self.directory / "token"

    @property
    def ca_file(self) -> Path:
        """Who vouches for the server."""
        return self.directory / "ca.crt"

    def accept(self, token: str, username: str = ACCOUNT, audiences: tuple[str, ...] = ("relay",)) -> None:
        """Let a token be good."""
        self.verdicts[token] = {
            "authenticated": True,
            "user": {"username": username, "uid": "0192", "groups": ["system:serviceaccounts"]},
            "audiences": list(audiences),
        }

    def settings(self) -> str:
        """The relay's settings for it, as TOML."""
        return f'[kubernetes]\napi_url = "{self.url}"\ntoken_file = "{self.token_file}"\nca_file = "{self.ca_file}"\n'


def _make_handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append(body)
            server.callers.append(self.headers["Authorization"])
            server.gate.wait(60)
            if server.fault == "close":
                self.close_connection = True
                return
            status, answer = _answer(server, body)
            self.send_response(status)
            if server.fault == "redirect":
                self.send_header("Location", f"{server.url}/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _answer(server: ApiServer, body: dict[str, Any]) -> tuple[int, bytes]:
    fault = server.fault
    if fault is not None and fault.isdigit():
        return int(fault), b'{"kind": "Status", "status": "Failure"}'
    if fault == "redirect":
        return 307, b""
    if fault == "garbage":
        return 201, b"<html>" + b"[" * 2000
    if fault == "large":
        return 201, b" " * 1_000_000
    status = server.verdicts.get(body["spec"]["token"], {"error": "invalid bearer token"})
    kind = "Status" if fault == "other_kind" else "TokenReview"
    return 201, json.dumps(
        {"apiVersion": body["apiVersion"], "kind": kind, "spec": body["spec"], "status": status}
    ).encode()


@contextmanager
def running_api_server(directory: Path, *, host: str = "127.0.0.1") -> Iterator[ApiServer]:
    """A server that listens on loopback, with a certificate for ``host``."""
    server = ApiServer(directory)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(server.ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(server))
    listener.daemon_threads = True
    listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    server.url = f"https://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
