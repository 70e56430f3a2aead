"""A whole backend for anybridge in Python: a message system in memory, in which there is
nobody but the bridge and an echo. Begin one of your own with a copy."""

import asyncio
import json

from anybridge_plugin import Backend, Error, Feed, Info, Payload, serve


class Echo(Backend):
    def __init__(self) -> None:
        self.greeting = "hello"
        self.last_id = 0
        self.feeds: list[Feed] = []
        self.procedures: dict[str, Feed] = {}
        self.calls: set[asyncio.Task] = set()

    async def open(self, config):
        if unknown := set(config) - {"greeting"}:
            raise Error("invalid_argument", f"{min(unknown)}: unknown key")
        if not isinstance(config.get("greeting", ""), str):
            raise Error("invalid_argument", "greeting: want a text")
        self.greeting = config.get("greeting", "hello")
        every = ["exact", "prefix", "wildcard"]
        return Info("echo", publish=True, subscribe=every, call=True, register=["exact"])

    async def publish(self, topic, payload, retain):
        # The event itself does not come back: what subscribers get is the echo's own.
        self.last_id += 1
        for feed in list(self.feeds):
            if feed.matches("echo." + topic):
                await feed.put("echo." + topic, payload, f"echo-{self.last_id}")
        return str(self.last_id)

    async def subscribe(self, feed):
        self.feeds.append(feed)

    async def unsubscribe(self, feed):
        self.feeds.remove(feed)

    async def call(self, procedure, payload):
        if feed := self.procedures.get(procedure):
            return await feed.invoke(procedure, payload)
        if procedure == "greet":
            return Payload(json.dumps([self.greeting]).encode())
        raise Error("no_such_procedure", "nobody has registered " + procedure)

    async def register(self, feed):
        if feed.name in self.procedures:
            raise Error("already_exists", feed.name + " is registered already")
        self.procedures[feed.name] = feed

    async def unregister(self, feed):
        del self.procedures[feed.name]

    def status(self):
        return "up", "", {"events": self.last_id, "subscriptions_now": len(self.feeds)}


if __name__ == "__main__":
    serve(Echo())
