import os
from anybridge_flask import AnyBridge
from flask import Flask

app = Flask(__name__)
app.config["ANYBRIDGE"] = {"URL": "http://127.0.0.1:8181/", "TOKEN": os.environ["ANYBRIDGE_TOKEN"], "CALLBACK_URL": "http://127.0.0.1:8000/wamp/"}
bridge = AnyBridge(app)

@bridge.rpc("com.example.add2")
def add2(a, b): return a + b
