"""The component that the Autobahn|Python programs share.

It offers the procedures and topics which tests/peer_test.go lists, below a name of
its own, and does what it reads on its standard input, one JSON object per line. It
tells what happens on its standard output, likewise. Only the event loop differs
between asyncio and Twisted: that is what the two programs beside this one add.
"""

import json

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import (
    CallOptions,
    CallResult,
    PublishOptions,
    RegisterOptions,
    SubscribeOptions,
)

from lines import tell
from values import describe, tag, untag


def transport(want):
    """The configuration of the transport for autobahn's Component."""
    # Reconnect soon and for ever: tests kill the router under the component.
    config = {"type": want["transport"], "url": want["url"],
              "initial_retry_delay": 0.1, "max_retry_delay": 0.5, "max_retries": -1}
    if want["transport"] == "websocket":
        config["serializers"] = [want["serializer"]]
    else:
        config["serializer"] = want["serializer"]
    return config


class Drill:
    """Everything the component does, on whichever event loop.

    never() must return something to await that ends only by being cancelled, with
    an exception of the type cancelled.
    """

    def __init__(self, want, component, never, cancelled):
        self.name = want["name"]
        self.never = never
        self.cancelled = cancelled
        self.session = None
        self.calls = {}
        self.leaving = False
        component.on("join", self.joined)
        component.on("leave", self.left)

    async def joined(self, session, details):
        with_details = RegisterOptions(details=True)
        await session.register(self.echo, self.name + ".echo")
        await session.register(self.describe, self.name + ".describe")
        await session.register(self.refuse, self.name + ".refuse")
        await session.register(self.crash, self.name + ".crash")
        await session.register(self.who, self.name + ".who", options=with_details)
        await session.register(self.hang, self.name + ".hang")
        await session.register(self.count, self.name + ".count", options=with_details)
        await session.register(self.who, self.name + ".family",
                               options=RegisterOptions(match="prefix", details=True))
        await session.register(self.who, self.name + "..leaf",
                               options=RegisterOptions(match="wildcard", details=True))
        for label, topic, match in [("news", ".news", "exact"),
                                    ("wire", ".wire", "prefix"),
                                    ("sport", "..sport", "wildcard")]:
            await session.subscribe(self.receiver(label), self.name + topic,
                                    options=SubscribeOptions(match=match, details=True))
        self.session = session
        tell("ready", session=details.session, authid=details.authid, authrole=details.authrole)

    def left(self, session, details):
        self.session = None
        tell("left", reason=details.reason)

    # The procedures.

    def echo(self, *args, **kwargs):
        return CallResult(*args, **kwargs)

    def describe(self, *args, **kwargs):
        return [describe(args), describe(kwargs)]

    def refuse(self, *args, **kwargs):
        raise ApplicationError("com.example.error.refused", *args, **kwargs)

    def crash(self, *args, **kwargs):
        raise RuntimeError("the program broke")

    def who(self, *args, details=None, **kwargs):
        return {"procedure": details.procedure, "caller": details.caller,
                "caller_authid": details.caller_authid,
                "caller_authrole": details.caller_authrole}

    async def hang(self, *args, **kwargs):
        tell("hanging", args=tag(args))
        try:
            await self.never()
        except self.cancelled:
            tell("cancelled", args=tag(args))
            raise

    def count(self, to, details=None):
        if details.progress:
            for n in range(1, to + 1):
                details.progress(n)
        return to

    def receiver(self, label):
        def received(*args, details=None, **kwargs):
            tell("event", subscription=label, topic=details.topic,
                 publication=details.publication, publisher=details.publisher,
                 publisher_authid=details.publisher_authid, retained=bool(details.retained),
                 args=tag(args), kwargs=tag(kwargs), text=describe(args))
        return received

    # What the test asks for.

    async def obey(self, line):
        """Do one command; the answer carries its id."""
        order = json.loads(line)
        try:
            await getattr(self, "do_" + order["do"])(order)
        except ApplicationError as e:
            tell("error", id=order["id"], error=e.error, args=tag(e.args), kwargs=tag(e.kwargs or {}))
        except self.cancelled:
            tell("error", id=order["id"], error="cancelled here")
        except Exception as e:  # the test must hear of it, whatever it is
            tell("error", id=order["id"], error=type(e).__name__, args=[str(e)])
        finally:
            self.calls.pop(order["id"], None)

    async def do_call(self, order):
        args, kwargs = untag(order.get("args") or []), untag(order.get("kwargs") or {})
        wanted = dict(order.get("options") or {})
        if wanted.pop("receive_progress", False):
            wanted["on_progress"] = lambda *a, **k: tell("progress", id=order["id"], args=tag(a), kwargs=tag(k))
        else:
            wanted["details"] = True  # so that [] and [null] can be told apart
        call = self.session.call(order["uri"], *args, options=CallOptions(**wanted), **kwargs)
        self.calls[order["id"]] = call
        result = await call
        if not isinstance(result, CallResult):
            result = CallResult(result)
        tell("result", id=order["id"], args=tag(result.results), kwargs=tag(result.kwresults),
             text=describe(result.results))

    async def do_cancel(self, order):
        self.calls[order["call"]].cancel()

    async def do_publish(self, order):
        args, kwargs = untag(order.get("args") or []), untag(order.get("kwargs") or {})
        wanted = {"acknowledge": True, **(order.get("options") or {})}
        done = await self.session.publish(order["uri"], *args, options=PublishOptions(**wanted), **kwargs)
        tell("published", id=order["id"], publication=done.id)
