"""Clients of IRC and XMPP on plain sockets: they print what they hear, with who said it.

python chat.py irc PORT NICK CHANNELS [TEXT]    says TEXT in the first channel
python chat.py xmpp PORT NAME PASSWORD ROOM
"""

import base64
import re
import socket
import sys


def say(text):
    print(text, flush=True)


def irc(port, nick, channels, text=None):
    with socket.create_connection(("127.0.0.1", int(port))) as server:
        server.sendall(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n".encode())
        for line in server.makefile(encoding="utf-8", errors="replace", newline="\r\n"):
            line = line.rstrip("\r\n")
            if line.startswith("PING "):
                server.sendall(f"PONG {line[5:]}\r\n".encode())
            elif re.match(r":\S+ 001 ", line):
                server.sendall(f"JOIN {channels}\r\n".encode())
            elif joined := re.match(r":\S+ 366 \S+ (\S+)", line):
                say(f"{nick} is in {joined[1]}")
                if text and joined[1] == channels.split(",")[0]:
                    server.sendall(f"PRIVMSG {joined[1]} :{text}\r\n".encode())
            elif message := re.match(r":([^!]+)!\S+ PRIVMSG (\S+) :?(.*)", line):
                say(f"{message[2]} <{message[1]}> {message[3]}")


def xmpp(port, name, password, room):
    domain = room.partition("@rooms.")[2]
    login = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
    start = (
        f"<stream:stream to='{domain}' version='1.0' xmlns='jabber:client'"
        " xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
    steps = [  # what the server says, and what is answered
        ("</stream:features>", f"<auth xmlns='{sasl}' mechanism='PLAIN'>{login}</auth>"),
        ("<success", start),
        (
            "</stream:features>",
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        ),
        (
            "id='bind'",
            f"<presence to='{room}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
        ),
    ]
    with socket.create_connection(("127.0.0.1", int(port))) as server:
        server.sendall(start.encode())
        heard = ""
        for wanted, answer in steps:
            while wanted not in heard:
                heard += receive(server)
            heard = heard.partition(wanted)[2]
            server.sendall(answer.encode())
        while "code='110'" not in heard:  # our own presence: we are in
            heard += receive(server)
        say(f"{name} is in {room}")
        while True:
            while "</message>" not in heard:
                heard += receive(server)
            message, _, heard = heard.partition("</message>")
            who = re.search(r"from='[^']*/([^']*)'", message)
            body = re.search(r"<body>(.*?)</body>", message, re.DOTALL)
            if who and body:
                say(f"{room} <{who[1]}> {body[1]}")


def receive(server):
    if data := server.recv(65536):
        return data.decode()
    raise SystemExit("the server has closed the connection")


if __name__ == "__main__":
    {"irc": irc, "xmpp": xmpp}[sys.argv[1]](*sys.argv[2:])
