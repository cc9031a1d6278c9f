"""The pages of a server, its status for people and its metrics for Prometheus, and a web server.

The web server is for read-only pages: GET only, with bounds, on this machine by default. Requests
whose ``Host`` is a name that others control are refused: a page of another site may have made that
name point here (DNS rebinding).
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import accumulate
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

from cim_hal.errors import BindError, TargetError
from cim_hal.extras import require_extra
from cim_hal.protocol.monitoring import METRICS
from cim_hal.server.security.endpoint import is_loopback
from cim_hal.text import printable

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from cim_hal.protocol.wire.messages.status import MetricReading, MetricsReport
    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.watch.poller import History

__all__ = [
    "PREFIX",
    "Page",
    "PageServer",
    "StatusPage",
    "exposition",
    "metrics_pages",
    "parse_address",
    "require_prometheus",
]

PREFIX = "cim_hal_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 16
TIMEOUT_S = 5.0  # for a request and its answer
POLL_S = 0.05  # how soon `close` is noticed
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """One response: text, content type, and content security policy."""

    text: str
    content_type: str = "text/plain; charset=utf-8"
    policy: str = NOTHING
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


EARLY = Page("nothing is known yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


class StatusPage:
    """The status page and its data, made once for each snapshot and not for each reader."""

    def __init__(self) -> None:
        self._page = _page()
        self._status = EARLY
        self.pages: Mapping[str, Callable[[], Page]] = {
            "/": lambda: self._page,
            "/status.json": lambda: self._status,
        }

    def update(self, snapshot: StatusSnapshot, history: History) -> None:
        """Show a snapshot."""
        known = snapshot.as_json() | {"history": history.as_json()}
        self._status = Page(json.dumps(_shown(known)), "application/json; charset=utf-8")


def _shown(known: Any) -> Any:
    """Return data whose texts may be shown: a page obeys marks of direction, as terminals do."""
    match known:
        case str():
            return printable(known)
        case dict():
            return {printable(name): _shown(value) for name, value in known.items()}
        case list() | tuple():
            return [_shown(value) for value in known]
        case _:
            return known


def metrics_pages(latest: Callable[[], MetricsReport | None]) -> Mapping[str, Callable[[], Page]]:
    """Return the page of the metrics; needs the extra ``metrics``."""

    def metrics() -> Page:
        report = latest()
        return EARLY if report is None else Page(exposition(report), CONTENT_TYPE)

    return {"/": lambda: Page("see /metrics\n"), "/metrics": metrics}


def _page() -> Page:
    """Return the page with its style and script; its policy allows the browser no others."""
    folder = files("cim_hal.watch") / "page"
    html, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    text = html.replace("/* style */", style).replace("/* script */", script)
    return Page(text, "text/html; charset=utf-8", policy)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


# ---- metrics for Prometheus ---------------------------------------------------------------


def require_prometheus() -> None:
    """Raise `TargetError` unless the extra is installed."""
    require_extra("prometheus_client", "a page of metrics", TargetError)


def exposition(report: MetricsReport) -> str:
    """Return metrics in the text format of Prometheus, version 0.0.4; needs the extra."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Reported(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(report)

    registry = CollectorRegistry()
    registry.register(Reported())
    return generate_latest(registry).decode("utf-8")


def _families(report: MetricsReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    uptime = "Seconds since the server started."
    yield GaugeMetricFamily(f"{PREFIX}uptime_seconds", uptime, value=report.uptime_s)
    for reading in report.meters:
        yield _family(reading)


def _family(reading: MetricReading) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    known = METRICS.get(reading.name)  # a newer server may have more
    name, text = PREFIX + reading.name, known.help if known else reading.name
    if reading.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=reading.labels)
        bounds = [*map(repr, reading.bounds), "+Inf"]
        for labels, total, counts in reading.series:
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, total)
        return histogram
    family = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    simple = family(name, text, labels=reading.labels)
    for labels, value, _ in reading.series:
        simple.add_metric(labels, value)
    return simple


# ---- the web server -----------------------------------------------------------------------


def parse_address(text: str, *, public: bool = False) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    `BindError` if it is malformed, or if other machines reach it and it is not to be `public`.
    """
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise BindError(f"{text!r} is not an address", hint="write 127.0.0.1:8080", endpoint=text)
    if not (public or is_loopback(host)):
        raise BindError(
            f"{text} is open to other machines, and this page asks nobody who they are",
            hint="use 127.0.0.1, with an SSH tunnel or a proxy that asks for passwords; or add "
            "--public on a trusted network",
            endpoint=text,
        )
    return host, port


class PageServer:
    """Answers ``GET`` with the page that a function returns for a path; a context manager.

    The address is host and port, 0 for a free one; `url` is that of the pages. `pages` are called
    in threads of this server. `BindError` if the address cannot be bound.
    """

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Callable[[], Page]]) -> None:
        handler = type("Handler", (_Handler,), {"pages": dict(pages)})
        try:
            self._server = _BoundedServer(address, handler)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            raise BindError(
                f"cannot listen on {where}: {error.strerror}",
                hint="choose another port, or port 0 for a free one",
                endpoint=where,
            ) from None
        host, port = self._server.server_address[:2]
        shown = f"[{host}]" if ":" in str(host) else host
        self.url = f"http://{shown}:{port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[POLL_S], name="cim-hal pages", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _BoundedServer(ThreadingHTTPServer):
    """Takes a bounded number of connections, each for a bounded time.

    Where there is no room for a new one, the oldest is closed: a page takes milliseconds, so that
    one is of a client that does not finish its request, or does not read.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._mutex = threading.Lock()  # of the connections: the oldest first, and their deadlines
        self._connections: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name, unlike `HTTPServer`."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "cim-hal", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        with self._mutex:
            self._connections[request] = time.monotonic() + TIMEOUT_S
            while len(self._connections) > MAX_CONNECTIONS:
                self._end(next(iter(self._connections)))
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close connections that took too long; called between connections, and every `POLL_S`."""
        now = time.monotonic()
        with self._mutex:
            for request in [each for each, end in self._connections.items() if end <= now]:
                self._end(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was answered."""
        with self._mutex:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def _end(self, request: socket.socket) -> None:
        """Let the thread that reads or writes a connection fail; it closes it."""
        del self._connections[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log it for debugging only: browsers close connections all the time."""
        del request
        log.debug("a page was not delivered to %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, Callable[[], Page]]] = {}
    timeout = TIMEOUT_S  # of one read or write; StreamRequestHandler sets it

    def do_GET(self) -> None:
        """Answer a request."""
        page = self.pages.get(urlsplit(self.path).path)
        if not _is_ours(self.headers.get("Host", "")):
            page = Page("not a name of this machine\n", status=HTTPStatus.MISDIRECTED_REQUEST)
        elif page is None:
            page = Page("there is no such page\n", status=HTTPStatus.NOT_FOUND)
        else:
            page = page()
        self._send(page)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request, or one of another method."""
        del explain
        status = HTTPStatus(code)
        page = Page(f"{status.phrase}\n", status=status)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # any method but GET
            status = HTTPStatus.METHOD_NOT_ALLOWED
            page = Page("only GET\n", status=status, headers={"Allow": "GET"})
        log.debug("a request for a page was refused: %s %s", code, message)
        self.close_connection = True
        self._send(page)

    def version_string(self) -> str:
        """Return a name that does not reveal the version of Python."""
        return "cim-hal"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has there
        """Log a request through `logging`."""
        log.debug("%s " + format, self.address_string(), *args)

    def _send(self, page: Page) -> None:
        body = page.text.encode("utf-8")
        self.send_response(page.status)
        own = {"Content-Type": page.content_type, "Content-Security-Policy": page.policy}
        for name, value in {**HEADERS, **own, **page.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _is_ours(host: str) -> bool:
    """Return whether the name that the browser used is one that nobody else controls."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
