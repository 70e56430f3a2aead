"""A web app for the README's tour: it knows HTTP and JSON, and nothing of WAMP.
The bridge calls /greet as a procedure and posts events to /greeted."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8000


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(f"{self.path} {message['type']}: args={message['args']}", flush=True)
        answer = b""
        if self.path == "/greet":
            answer = json.dumps(f"Hello, {message['args'][0]}!").encode()
        self.send_response(200 if answer else 204)
        if answer:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), App)
    print(f"web app ready on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
