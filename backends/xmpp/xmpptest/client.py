"""An XMPP client for tests: it reads commands as JSON lines and writes what happens.

Each command {"id", "do", …} is answered by {"id", "ok"} or {"id", "error"}; messages and
presences that come in are written as {"event", …} with their XML.
"""

import asyncio
import json
import sys

import slixmpp
from slixmpp.xmlstream import ET, tostring

XML = dict[str, str]


def write(record: dict) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid: str, password: str, ca: str) -> None:
        super().__init__(jid, password)
        for plugin in ("xep_0004", "xep_0030", "xep_0045", "xep_0050", "xep_0060", "xep_0199"):
            self.register_plugin(plugin)
        self.ca_certs = ca
        self.ready = asyncio.Event()
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_all_auth", lambda _: write({"event": "failed"}))
        self.register_handler(
            slixmpp.xmlstream.handler.Callback(
                "all messages",
                slixmpp.xmlstream.matcher.MatchXPath("{jabber:client}message"),
                lambda m: write(
                    {
                        "event": "message",
                        "type": m["type"],
                        "from": str(m["from"]),
                        "body": m["body"],
                        "xml": tostring(m.xml),
                    }
                ),
            )
        )
        self.add_event_handler(
            "presence", lambda p: write({"event": "presence", "from": str(p["from"]), "type": p["type"]})
        )

    async def started(self, _: object) -> None:
        self.send_presence()
        await self.plugin["xep_0199"].ping(self.boundjid.domain)  # answered after the presence
        self.ready.set()

    async def iq(self, command: XML) -> dict:
        """Sends an IQ with the payload given and returns the whole answer."""
        iq = self.make_iq(ito=command["to"], itype=command["type"])
        iq.append(ET.fromstring(command["xml"]))
        try:
            answer = await iq.send(timeout=30)
        except slixmpp.exceptions.IqError as error:
            answer = error.iq
        return {"xml": tostring(answer.xml)}

    async def join(self, command: XML) -> dict:
        await self.plugin["xep_0045"].join_muc_wait(command["room"], command["nick"], timeout=30)
        return {}

    async def send_text(self, command: XML) -> dict:
        self.send_message(mto=command["to"], mbody=command["body"], mtype=command["type"])
        return {}

    async def send_xml(self, command: XML) -> dict:
        self.send_raw(command["xml"])
        return {}

    async def execute(self, command: XML) -> dict:
        """Executes a command the way a person does: it fills in the form that comes."""
        adhoc = self.plugin["xep_0050"]
        first = await adhoc.send_command(command["to"], command["node"], flow=False)
        form = first["command"]["form"]
        fields = form.get_fields()
        answers = self.plugin["xep_0004"].make_form(ftype="submit")
        for name, value in command["fields"].items():
            assert name in fields, fields
            answers.add_field(var=name, value=value)
        last = await adhoc.send_command(
            command["to"],
            command["node"],
            action="complete",
            payload=answers.xml,
            sessionid=first["command"]["sessionid"],
            flow=False,
        )
        return {"status": last["command"]["status"], "notes": last["command"]["notes"], "xml": tostring(last.xml)}

    async def commands(self, command: XML) -> dict:
        items = await self.plugin["xep_0050"].get_commands(command["to"])
        return {"nodes": [item[1] for item in items["disco_items"]["items"]]}

    async def offer(self, command: XML) -> dict:
        """Offers a command that asks for a text and returns it in capitals."""

        def ask(_iq: object, session: dict) -> dict:
            form = self.plugin["xep_0004"].make_form("form", "Shout")
            form.add_field(var="text", ftype="text-single", label="What?")
            session["payload"] = form
            session["next"] = done
            session["has_next"] = False
            session["allow_complete"] = True
            return session

        def done(payload: object, session: dict) -> dict:
            form = self.plugin["xep_0004"].make_form("result", "Shouted")
            form.add_field(var="shout", ftype="text-single", value=payload["values"]["text"].upper())
            session["payload"] = form
            session["next"] = None
            session["has_next"] = False
            return session

        self.plugin["xep_0050"].add_command(node=command["node"], name=command["node"], handler=ask)
        return {"jid": str(self.boundjid)}


async def main() -> None:
    jid, password, host, port, ca = sys.argv[1:]
    client = Client(jid, password, ca)
    client.connect(host, int(port))
    await asyncio.wait_for(client.ready.wait(), 30)
    write({"event": "ready", "jid": str(client.boundjid)})
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def run(command: dict) -> None:
        try:
            answer = await getattr(client, command["do"])(command)
            write({"id": command["id"], "ok": True, **answer})
        except Exception as error:
            write({"id": command["id"], "error": repr(error)})

    tasks = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(run(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
