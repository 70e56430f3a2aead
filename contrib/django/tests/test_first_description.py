"""The very first description of a bridge like this one had a Django site: a line of settings,
one of urls, and views with rpc, sub, publish and call. It works with other import lines, and
with the token and the site's own address, which the description had not thought of, in the
environment. There is nothing in INSTALLED_APPS, and no bridge.py."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from urllib.request import urlopen

import realbridge
from realbridge import TOKEN, Component, RealBridge, eventually, free_port


@unittest.skipUnless(realbridge.available(), "needs Go and the bridge's sources")
class FirstDescriptionTest(unittest.TestCase):
    def setUp(self):
        self.bridge = RealBridge()
        self.addCleanup(self.bridge.stop)
        self.component = Component(self.bridge)
        self.addCleanup(self.component.stop)
        self.port = free_port()
        # The bridge has a port of its own for this test; all else is as it is written.
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = temporary.name
        Path(folder, "our_settings.py").write_text(
            f'from first_description.settings import *\nWAMP_BRIDGE_URL = "{self.bridge.url}"\n'
        )
        path = [folder, str(Path(__file__).parent), *sys.path]
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "our_settings",
            "PYTHONPATH": os.pathsep.join(path),
            "ANYBRIDGE_TOKEN": TOKEN,
            "ANYBRIDGE_CALLBACK_URL": f"http://127.0.0.1:{self.port}/bridge/wamp/",
        }
        self.log = Path(folder, "log")
        with self.log.open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{self.port}"],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.addCleanup(realbridge.end_group, server)

    def get(self, path):
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as response:
                return json.load(response)
        except OSError:
            return None

    def test_it_works(self):
        eventually(lambda: self.get("/received/") == [])
        self.assertEqual(self.get("/vue_normale/"), {"resultat": "function of arg1"})
        eventually(lambda: self.component.heard("sujet") == [["arg1"]])

        # runserver has registered what the views declare, or does so any moment.
        eventually(lambda: self.component.call("nom_fonction_1", 1, 2) == ["result", [1, 2]])
        with self.component.client as client:
            client.publish("nom_topic_1", [3, 4])
        eventually(lambda: self.get("/received/") == [[3, 4]])
        self.assertNotIn("anybridge.E", self.log.read_text())
