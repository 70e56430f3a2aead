"""Runs a backend for anybridge, as backend.proto describes it: subclass Backend, and
call serve() with it. Methods of a backend run on one asyncio loop, as many at once as
the bridge asks for."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import logging
import os
import signal
import ssl
import sys
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent / "build"))
import backend_pb2 as pb
import backend_pb2_grpc as pb_grpc

log = logging.getLogger("anybridge")


class Error(Exception):
    """What went wrong, with one of anybridge's codes ("unavailable", "invalid_argument" …)."""

    def __init__(
        self, code: str, message: str = "", uri: str = "", args: bytes = b"", kwargs: bytes = b""
    ):
        super().__init__(message or code)
        self.wire = pb.Error(code=code, message=message, uri=uri, args=args, kwargs=kwargs)


def wire_error(e: BaseException) -> pb.Error:
    if isinstance(e, Error):
        return e.wire
    if isinstance(e, asyncio.TimeoutError):
        return pb.Error(code="timeout", message="the deadline passed")
    if isinstance(e, asyncio.CancelledError):
        return pb.Error(code="canceled", message="the caller gave up")
    log.error("unexpected: %r", e, exc_info=e)
    return pb.Error(code="internal", message=repr(e))


@dataclass
class Payload:
    """args and kwargs as JSON text; b"" is none."""

    args: bytes = b""
    kwargs: bytes = b""
    details: bytes = b""


@dataclass
class Info:
    """What a backend says of itself; see backend.proto for the words."""

    kind: str
    publish: bool = False
    subscribe: list[str] = field(default_factory=list)
    call: bool = False
    register: list[str] = field(default_factory=list)
    retain: bool = False


class Backend:
    """Override what you can do. Raise Error for what goes wrong."""

    async def open(self, config: dict[str, Any]) -> Info:
        raise NotImplementedError

    async def publish(self, topic: str, payload: Payload, retain: bool) -> str:
        """Returns the event's id, or ""."""
        raise Error("unimplemented")

    async def subscribe(self, feed: Feed) -> None:
        """Afterwards feed.put() hands on what comes, until unsubscribe."""
        raise Error("unimplemented")

    async def unsubscribe(self, feed: Feed) -> None: ...

    async def call(self, procedure: str, payload: Payload) -> Payload:
        raise Error("unimplemented")

    async def register(self, feed: Feed) -> None:
        """Afterwards feed.invoke() calls the procedure, until unregister."""
        raise Error("unimplemented")

    async def unregister(self, feed: Feed) -> None: ...

    def status(self) -> tuple[str, str, dict[str, int]]:
        """State, reason and counters. It does not wait for anything."""
        return "up", "", {}

    async def close(self) -> None: ...


class Outbox:
    """What one stream has to send. None ends it."""

    def __init__(self, batch: Callable[[list[Any]], Any]):
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.put = self.queue.put_nowait
        self.batch = batch
        self.last = 0  # the id given last

    async def batches(self) -> AsyncIterator[Any]:
        while (first := await self.queue.get()) is not None:
            entries, size = [first], first.ByteSize()
            while not self.queue.empty() and len(entries) < 256 and size < 1 << 20:
                if (entry := self.queue.get_nowait()) is None:
                    self.put(None)
                    break
                entries.append(entry)
                size += entry.ByteSize()
            yield self.batch(entries)


class Feed:
    """A subscription or a registration of the bridge: name, match ("exact", "prefix" or
    "wildcard") and invoke are what it asked for."""

    def __init__(self, asked: pb.Feed, outbox: Outbox, waiting: dict[int, asyncio.Future[Payload]]):
        self.id, self.name, self.match, self.invoke_policy = (
            asked.id,
            asked.name,
            asked.match,
            asked.invoke,
        )
        self.credit, self.closed = asked.credit, False
        self._outbox, self._waiting = outbox, waiting
        self._queue: deque[Any] = deque()
        self._room = asyncio.Event()
        self._room.set()

    def matches(self, name: str) -> bool:
        if self.match == "prefix":
            return name.startswith(self.name)
        if self.match != "wildcard":
            return name == self.name
        pattern, parts = self.name.split("."), name.split(".")
        return len(pattern) == len(parts) and all(
            p == n or not p and n for p, n in zip(pattern, parts)
        )

    async def put(self, topic: str, payload: Payload, event_id: str = "") -> None:
        """Hands an event on; waits while the bridge is slow."""
        await self._send(
            pb.Event(
                id=self.id,
                topic=topic,
                args=payload.args,
                kwargs=payload.kwargs,
                details=payload.details,
                event_id=event_id,
            )
        )

    async def invoke(self, procedure: str, payload: Payload) -> Payload:
        """Calls the procedure behind a registration. Cancel the task to cancel the call."""
        self._outbox.last += 1
        number = self._outbox.last
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send(
                pb.Invocation(
                    id=number,
                    feed=self.id,
                    procedure=procedure,
                    args=payload.args,
                    kwargs=payload.kwargs,
                    details=payload.details,
                )
            )
            return await answer
        except asyncio.CancelledError:
            self._outbox.put(pb.InvocationBatch(canceled=[number]))
            raise
        finally:
            self._waiting.pop(number, None)

    async def _send(self, entry: Any) -> None:
        await self._room.wait()
        if self.closed:
            raise Error("unavailable", "the bridge has closed this feed")
        self._queue.append(entry)
        self.pump()

    def pump(self) -> None:
        while self._queue and self.credit > 0:
            entry = self._queue.popleft()
            name = entry.topic if isinstance(entry, pb.Event) else entry.procedure
            self.credit -= (
                128 + len(name.encode()) + len(entry.args) + len(entry.kwargs) + len(entry.details)
            )
            self._outbox.put(entry)
        if len(self._queue) < 1000 or self.closed:
            self._room.set()
        else:
            self._room.clear()


class Service(pb_grpc.BackendServicer):
    def __init__(self, backend: Backend):
        self.backend = backend
        self.is_open = False
        self.limit, self.most = 16 << 20, 16384
        self.feeds: list[
            tuple[Feed, Callable[[Any], None]]
        ] = []  # with what tells the bridge their end

    async def Open(
        self, request: pb.OpenRequest, context: grpc.aio.ServicerContext
    ) -> pb.OpenResponse:
        self.limit = request.max_entry_bytes or self.limit
        self.most = request.max_in_flight or self.most
        try:
            config = json.loads(request.config or b"{}")
            if not isinstance(config, dict):
                raise Error("invalid_argument", "the section is no object")
            info = await self.backend.open(config)
        except json.JSONDecodeError as e:
            return await self.fail(
                context, Error("invalid_argument", f"the section is no JSON: {e}")
            )
        except Exception as e:
            return await self.fail(context, e)
        can = pb.Capabilities(
            publish=info.publish,
            subscribe=info.subscribe,
            call=info.call,
            register=info.register,
            retain=info.retain,
        )
        return pb.OpenResponse(kind=info.kind, can=can)

    async def fail(self, context: grpc.aio.ServicerContext, e: Exception) -> Any:
        """Ends with google.rpc.Status{code, message, details: [Any{type, Error}]}, put together by hand."""
        error = wire_error(e)

        def item(number: int, value: bytes) -> bytes:
            size, head = len(value), bytearray([number << 3 | 2])
            while size > 127:
                head.append(size & 127 | 128)
                size >>= 7
            return bytes(head) + bytes([size]) + value

        detail = item(1, b"type.googleapis.com/anybridge.plugin.v1.Error") + item(
            2, error.SerializeToString()
        )
        status = b"\x08\x02" + item(2, error.message.encode()) + item(3, detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.UNKNOWN, error.message)

    async def answer(self, work: Awaitable[Any], reply: Any, nanos: int, running: int) -> Any:
        """Awaits the work and puts what it comes to into the reply."""
        try:
            if running > self.most:
                asyncio.ensure_future(work).cancel()
                raise Error("too_many_requests", "too much is in flight")
            result = await asyncio.wait_for(work, nanos / 1e9 if nanos else None)
            if isinstance(result, Payload):
                if len(result.args) + len(result.kwargs) + len(result.details) > self.limit:
                    raise Error("too_large", "the result is too large")
                reply.args, reply.kwargs, reply.details = result.args, result.kwargs, result.details
            elif result:
                reply.event_id = result
        except BaseException as e:  # also of a task that was cancelled
            reply.error.CopyFrom(wire_error(e))
        return reply

    async def exchange(
        self,
        requests: Any,
        outbox: Outbox,
        entries: str,
        work: Callable[[Any], Awaitable[Any]],
        reply: Any,
    ) -> Any:
        """Serves Publish and Call: each entry becomes a task, and its end a reply."""
        tasks: dict[int, asyncio.Task[Any]] = {}

        async def read() -> None:
            async for batch in requests:
                for entry in getattr(batch, entries):
                    task = asyncio.create_task(
                        self.answer(
                            work(entry), reply(id=entry.id), entry.timeout_nanos, len(tasks)
                        )
                    )
                    tasks[entry.id] = task
                    task.add_done_callback(lambda t, i=entry.id: finished(t, i))
                for number in batch.cancel:
                    if number in tasks:
                        tasks[number].cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await asyncio.sleep(0)
            outbox.put(None)

        def finished(task: asyncio.Task[Any], number: int) -> None:
            tasks.pop(number, None)
            canceled = reply(
                id=number, error=pb.Error(code="canceled", message="the caller gave up")
            )
            outbox.put(canceled if task.cancelled() else task.result())

        reader = asyncio.create_task(read())
        async for batch in outbox.batches():
            yield batch
        await reader

    async def Publish(self, requests: Any, context: Any) -> Any:
        def work(e: pb.Event) -> Awaitable[str]:
            return self.backend.publish(e.topic, Payload(e.args, e.kwargs), e.options.retain)

        outbox = Outbox(lambda replies: pb.PublishReplyBatch(replies=replies))
        async for batch in self.exchange(requests, outbox, "events", work, pb.PublishReply):
            yield batch

    async def Call(self, requests: Any, context: Any) -> Any:
        def work(c: pb.Call) -> Awaitable[Payload]:
            return self.backend.call(c.procedure, Payload(c.args, c.kwargs))

        outbox = Outbox(lambda replies: pb.CallReplyBatch(replies=replies))
        async for batch in self.exchange(requests, outbox, "calls", work, pb.CallReply):
            yield batch

    async def serve_feeds(self, requests: Any, kind: Any, open_: Any, close: Any) -> Any:
        """Serves Subscribe and Register. The outbox holds whole batches, and single entries."""
        waiting: dict[int, asyncio.Future[Payload]] = {}
        feeds: dict[int, Feed] = {}

        def merge(entries: list[Any]) -> Any:
            out = kind()
            for entry in entries:
                if isinstance(entry, kind):
                    out.MergeFrom(entry)
                else:
                    (out.events if isinstance(entry, pb.Event) else out.invocations).append(entry)
            return out

        outbox = Outbox(merge)

        async def begin(feed: Feed) -> None:
            reply = pb.FeedReply(id=feed.id)
            credit, feed.credit = feed.credit, 0  # nothing may go out before the reply
            try:
                await open_(feed)
                self.feeds.append((feed, lambda reply: outbox.put(kind(ended=[reply]))))
            except BaseException as e:
                reply.error.CopyFrom(wire_error(e))
                feeds.pop(feed.id, None)
            outbox.put(kind(opened=[reply]))
            feed.credit += credit
            feed.pump()

        async def read() -> None:
            async for batch in requests:
                for asked in batch.open:
                    feeds[asked.id] = Feed(asked, outbox, waiting)
                    await begin(feeds[asked.id])
                for credit in batch.credit:
                    if credit.id in feeds:
                        feeds[credit.id].credit += credit.bytes
                        feeds[credit.id].pump()
                for number in batch.close:
                    if feed := feeds.pop(number, None):
                        feed.closed = True
                        feed.pump()
                        self.feeds = [f for f in self.feeds if f[0] is not feed]
                        await close(feed)
                for answer in getattr(batch, "answers", ()):
                    future = waiting.pop(answer.id, None)
                    if future and not future.done():
                        e = answer.error
                        if answer.HasField("error"):
                            future.set_exception(Error(e.code, e.message, e.uri, e.args, e.kwargs))
                        else:
                            future.set_result(Payload(answer.args, answer.kwargs, answer.details))
            outbox.put(None)

        reader = asyncio.create_task(read())
        async for batch in outbox.batches():
            yield batch
        await reader

    async def Subscribe(self, requests: Any, context: Any) -> Any:
        async for batch in self.serve_feeds(
            requests, pb.EventBatch, self.backend.subscribe, self.backend.unsubscribe
        ):
            yield batch

    async def Register(self, requests: Any, context: Any) -> Any:
        async for batch in self.serve_feeds(
            requests, pb.InvocationBatch, self.backend.register, self.backend.unregister
        ):
            yield batch

    async def Status(self, request: Any, context: Any) -> pb.StatusResponse:
        state, reason, counters = self.backend.status()
        return pb.StatusResponse(state=state, reason=reason, counters=counters)

    async def Close(self, request: Any, context: Any) -> pb.CloseResponse:
        await self.backend.close()
        for feed, end in self.feeds:
            end(pb.FeedReply(id=feed.id))
        return pb.CloseResponse()


def serve(backend: Backend) -> None:
    """Is the plugin's main: it returns when the bridge is done with it."""
    if os.environ.get("ANYBRIDGE_PLUGIN") != "backend":
        sys.exit(
            "This program is a backend for anybridge: put its path into the bridge's configuration."
        )
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines())
    logging.basicConfig(level=os.environ.get("ANYBRIDGE_LOG_LEVEL", "INFO"), handlers=[handler])
    threading.Thread(target=exit_with_bridge, daemon=True).start()
    asyncio.run(run(backend))


class JSONLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        return json.dumps({"level": level, "msg": super().format(record)})


def exit_with_bridge() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


async def run(backend: Backend) -> None:
    key, cert = self_signed()
    limits = [
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.max_send_message_length", 64 << 20),
    ]
    server = grpc.aio.server(options=limits)
    pb_grpc.add_BackendServicer_to_server(Service(backend), server)
    over = asyncio.Event()

    async def shutdown(_request: bytes, _context: Any) -> bytes:
        over.set()
        return b""

    async def health(_request: bytes, _context: Any) -> bytes:
        return b"\x08\x01"  # HealthCheckResponse{status: SERVING}

    for service, method, f in (
        ("plugin.GRPCController", "Shutdown", shutdown),
        ("grpc.health.v1.Health", "Check", health),
    ):
        handlers = {method: grpc.unary_unary_rpc_method_handler(f)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    folder = Path(os.environ["PLUGIN_UNIX_SOCKET_DIR"])  # nobody else can look into it
    plain, path = folder / f"plain{os.getpid()}", folder / f"plugin{os.getpid()}"
    server.add_insecure_port(f"unix:{plain}")
    await server.start()
    front = await asyncio.start_unix_server(
        lambda r, w: relay(r, w, plain), path, ssl=context(key, cert, folder)
    )
    der = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    print(f"1|1|unix|{path}|grpc|{der}", flush=True)
    await over.wait()
    await server.stop(1)
    front.close()


def context(
    key: ec.EllipticCurvePrivateKey, cert: x509.Certificate, folder: Path
) -> ssl.SSLContext:
    """TLS is done here because the one inside grpc does not know the bridge's kind of key (P-521)."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cadata=os.environ["PLUGIN_CLIENT_CERT"])
    tls.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile(dir=folder) as file:  # ssl reads no other
        no = serialization.NoEncryption()
        file.write(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no)
        )
        file.write(cert.public_bytes(serialization.Encoding.PEM))
        file.flush()
        tls.load_cert_chain(file.name)
    return tls


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: Path) -> None:
    """Carries one connection of the bridge to grpc's own socket."""
    inner_reader, inner_writer = await asyncio.open_unix_connection(to)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))


def self_signed() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return key, builder.sign(key, hashes.SHA256())
