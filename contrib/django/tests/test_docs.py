"""What docs/django.md and docs/authentication.md show is put together, and works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import anybridge
import pytest

from anybridge_django import checks
from realbridge import RealBridge, available, end, eventually, free_port

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SETTINGS = """\
import os
from project.settings import *
ROOT_URLCONF = "urls"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ("shop", "anybridge_django")]
DATABASES = {"default": DATABASES["default"]}
DATABASES["default"]["NAME"] = os.environ.get("SITE_DATABASE", ":memory:")
ALLOWED_HOSTS = ["localhost", "testserver"]
"""
URLS = """\
from django.urls import include, path
urlpatterns = []
"""
MODELS = """\
from django.db import models
class Product(models.Model):
    name = models.CharField(max_length=50)
    left = models.IntegerField(default=0)
"""
PREPARE = """\
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create_superuser("alice")
User.objects.create_user("bob")
call_command("anybridge_sync")
"""


def files(page):
    """The snippets of a page that say which file they are of."""
    found = {}
    for name, text in BLOCK.findall((DOCS / page).read_text()):
        found[name] = found.get(name, "") + text
    return found


def write(folder, texts):
    for name, text in texts.items():
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        if path.parent != Path(folder):
            Path(path.parent, "__init__.py").touch()
        path.write_text(text)


def run(folder, *command, **environ):
    path = os.pathsep.join([str(folder), str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings",
            "ANYBRIDGE_TOKEN": "a-token",
            "PYTHONPATH": path,
            **environ,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_django_page(tmp_path):
    texts = files("django.md")
    texts["settings.py"] = SETTINGS + 'INSTALLED_APPS += ["shop"]\n' + texts["settings.py"]
    order = 'urlpatterns += [path("order/<name>/", order)]\n'
    texts["urls.py"] = URLS + "from shop.views import order\n" + order + texts["urls.py"]
    # Without the login of the tests' project, the page is for everybody.
    texts["settings.py"] += 'MIDDLEWARE = [m for m in MIDDLEWARE if "LoginRequired" not in m]\n'
    texts["shop/models.py"] = MODELS
    texts["shop/bridge.py"] += "\nfrom . import reports\n"
    write(tmp_path, texts)
    assert "3 tests" in run(tmp_path, "django", "test")
    assert "2 passed" in run(tmp_path, "pytest", "-p", "no:cacheprovider", "shop/test_order.py")
    listed = run(tmp_path, "django", "anybridge_list")
    for name in ("stock", "slow", "arrived", "closed", "reports.report_is_there"):
        assert name + "\n" in listed
    assert "no issues" in run(tmp_path, "django", "check")


def test_django_page_explains_every_check():
    ids = set(re.findall(r"anybridge\.[EW]\d+", Path(checks.__file__).read_text()))
    assert ids == set(re.findall(r"anybridge\.[EW]\d+", (DOCS / "django.md").read_text()))


@pytest.mark.skipif(not available(), reason="needs Go and the bridge's sources")
def test_authentication_page(tmp_path):
    texts = files("authentication.md")
    tokens, backends = texts.pop("anybridge.yaml").split("backends:\n")
    bridge = RealBridge(
        tokens.removeprefix("tokens:\n"),
        backends=backends,
        environ={
            "SITE_TOKEN": "a-token-of-the-site",
            "PARTNER_TOKEN": "a-token-of-the-partner",
            "TILL_TICKET": "a-ticket-of-the-till",
        },
    )
    port = free_port()
    environ = {
        "ANYBRIDGE_TOKEN": "a-token-of-the-site",
        "ANYBRIDGE_URL": bridge.url,
        "ANYBRIDGE_CALLBACK_URL": f"http://localhost:{port}/wamp/",
        "SITE_DATABASE": str(tmp_path / "db"),
        "TILL_TICKET": "a-ticket-of-the-till",
        "WAMP_URL": bridge.ws,
    }
    texts["settings.py"] = (
        SETTINGS + 'INSTALLED_APPS += ["anybridge_django", "billing", "shop"]\nANYBRIDGE = {}\n'
    )
    texts["urls.py"] = URLS + (
        "from anybridge_django import dispatcher\n"
        "from shop.views import invoice\n"
        'urlpatterns = [path("wamp/", dispatcher), path("invoice/<int:order>/", invoice)]\n'
    )
    texts["prepare.py"] = PREPARE
    write(tmp_path, texts)
    processes = []

    def start(*command):
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *sys.path])
        more = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": path}
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={**os.environ, **environ, **more},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    def answer(client, procedure, *args, **how):
        try:
            return client.call(procedure, list(args), **how)
        except anybridge.NoSuchProcedure:
            return None
        except anybridge.RemoteError as error:
            return error.uri

    forbidden = "com.billing.error.forbidden"
    with (
        anybridge.Client(bridge.url, "a-token-of-the-site") as site,
        anybridge.Client(bridge.url, "a-token-of-the-partner") as partner,
    ):
        try:
            assert "1 test" in run(tmp_path, "django", "test", **environ)
            run(tmp_path, "prepare", **environ)
            start("django", "runserver", "--noreload", f"localhost:{port}")
            eventually(lambda: responds(site))
            invoice = {"order": 7, "for": "alice"}
            assert answer(site, "com.billing.invoice", 7, user="alice") == invoice
            assert answer(site, "com.billing.invoice", 7, user="bob") == forbidden
            assert answer(site, "com.billing.invoice", 7) == forbidden
            assert answer(site, "com.billing.total") == 42
            assert answer(partner, "com.billing.total") == 42
            assert answer(partner, "com.billing.invoice", 7) == forbidden
            with pytest.raises(anybridge.AuthError):
                partner.call("com.billing.invoice", [7], user="alice")
            assert answer(site, "com.billing.paid", 7) == forbidden
            till = start("till")
            assert "7 is paid\n" in till.stdout  # reads on until it is there
            eventually(lambda: answer(site, "com.till.refund", 7) == "7 is refunded")
        finally:
            for process in processes:
                end(process)
                process.communicate()
            bridge.stop()


def responds(site):
    try:
        return site.call("com.billing.total") == 42
    except anybridge.BridgeError:
        return False
