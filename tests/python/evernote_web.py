"""evernote.py as a web application that knows nothing but HTTP.

A server of the standard library, put on the WAMP network by two requests to the
bridge: /register/ for the three procedures, /subscribe/ for the topic.
"""

import http.server
import json
import sys
import threading
import urllib.request

import triggers
from lines import settings, tell

want = settings()


def bridge(path, body):
    """One request to the bridge; its answer."""
    request = urllib.request.Request(
        want["bridge"] + path, json.dumps({"token": want["token"], **body}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def call(procedure, *args):
    return bridge("/call/" + procedure + "/", {"params": args})["args"][0]


def token(user_id):
    return triggers.token_of(database(), user_id)


def trigger(trigger_id):
    return triggers.trigger_of(database(), trigger_id)


def save(stuff):
    row = call("eu.trigger-happy.evernote.token", stuff["user_id"])
    triggers.save_note(database(), stuff, row[0], call("eu.trigger-happy.evernote.trigger", stuff["trigger_id"]))


def on_item(stuff):
    answer = call("eu.trigger-happy.evernote.save", stuff)
    tell("saved", answer=answer, notes=triggers.notes_of(database(), stuff["user_id"]))


def database():
    return triggers.open_database(want["database"])


VIEWS = {"/token/": token, "/trigger/": trigger, "/save/": save, "/item/": on_item}


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(VIEWS[self.path](*body["args"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), App)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = "http://127.0.0.1:%d" % server.server_port
bridge("/register/", {"endpoints": {
    "eu.trigger-happy.evernote.token": here + "/token/",
    "eu.trigger-happy.evernote.trigger": here + "/trigger/",
    "eu.trigger-happy.evernote.save": here + "/save/",
}})
bridge("/subscribe/", {"endpoints": {"eu.trigger-happy.rss": here + "/item/"}})
tell("ready", procedures=3)
sys.stdin.read()  # until the test closes the pipe
