"""docs/signatures.md: its programs tell the bridge's callbacks from others."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from anybridge import Client
from anybridge.signing import derive_key, sign

from bridge import OTHER_TOKEN, TOKEN
from inbox import Callback, Inbox

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "signatures.md").read_text()
SNIPPETS = dict(re.findall(r"^```(python|js|go|php|ruby|bash)\n(.*?)^```$", PAGE, re.M | re.S))

# Each driver is put behind its snippet and does what its arguments say: "key TOKEN" prints
# the key; "verify KEY ID TIMESTAMP SIGNATURES FILE" prints yes or no.
BEFORE = {"go": "package main\n\n", "php": "<?php\n"}
RUN = {
    "python": [sys.executable],
    "js": ["node"],
    "go": ["go"],
    "php": ["php"],
    "ruby": ["ruby"],
    "bash": ["bash"],
}
OPTIONAL = ("php", "ruby")

NEW, FORMER = derive_key("a new secret"), derive_key("a former secret")


@pytest.fixture(scope="module", params=list(RUN))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a snippet with its driver."""
    language: str = request.param
    if language in OPTIONAL and shutil.which(RUN[language][0]) is None:
        pytest.skip(f"{language} is not installed")
    folder = tmp_path_factory.mktemp(language)
    source = folder / f"verify.{language}"
    source.write_text(BEFORE.get(language, "") + SNIPPETS[language])
    # A .go file would be a package of the module that this repository is.
    driver = HERE / "drivers" / ("drive.go.txt" if language == "go" else f"drive.{language}")
    if language == "go":
        shutil.copy(driver, folder / "drive.go")
        files = [source.name, "drive.go"]
        subprocess.run(["go", "vet", *files], cwd=folder, check=True)
        subprocess.run(["go", "build", "-o", "program", *files], cwd=folder, check=True)
        return [str(folder / "program")]
    with source.open("a") as file:
        file.write("\n" + driver.read_text())
    return [*RUN[language], str(source)]


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture(scope="module")
def invocation(client: Client, inbox: Inbox) -> Callback:
    """A callback signed with the key that is derived from the token."""
    client.register({"com.example.signed": inbox.url})
    client.call("com.example.signed", ["é\u2028\n\0", 2**60], {"percent": "100%s"})
    return inbox.next()


@pytest.fixture(scope="module")
def event(client: Client, inbox: Inbox) -> Callback:
    """A callback of an endpoint with a secret that is being replaced."""
    client.subscribe({"com.example.rotated": {"url": inbox.url, "secret": [NEW, FORMER]}})
    client.publish("com.example.rotated", ["é"])
    return inbox.next()


def run(program: list[str], *arguments: str) -> str:
    done = subprocess.run([*program, *arguments], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.strip()


def accepts(program: list[str], key: str, callback: Callback, folder: Path) -> bool:
    body = folder / "body"
    body.write_bytes(callback.body)
    answer = run(
        program, "verify", key, callback.id, callback.timestamp, callback.signatures, str(body)
    )
    assert answer in ("yes", "no")
    return answer == "yes"


def signed(stamp: int | str, body: bytes = b"{}") -> Callback:
    signatures = sign([NEW], "evt_1", cast(Any, stamp), body)
    return Callback("evt_1", str(stamp), signatures, body)


def test_every_language_is_tried() -> None:
    assert set(SNIPPETS) == set(RUN)


def test_derived_key(program: list[str]) -> None:
    assert run(program, "key", TOKEN) == derive_key(TOKEN)


def test_the_bridges_callbacks_are_accepted(
    program: list[str], invocation: Callback, event: Callback, tmp_path: Path
) -> None:
    assert accepts(program, derive_key(TOKEN), invocation, tmp_path)
    assert len(event.signatures.split()) == 2
    assert accepts(program, NEW, event, tmp_path)
    assert accepts(program, FORMER, event, tmp_path)


def test_others_are_refused(
    program: list[str], invocation: Callback, event: Callback, tmp_path: Path
) -> None:
    key = derive_key(TOKEN)
    assert not accepts(program, derive_key(OTHER_TOKEN), invocation, tmp_path)
    assert not accepts(program, key, event, tmp_path)
    later = str(int(invocation.timestamp) + 1)
    for changed in (
        replace(invocation, body=invocation.body + b"\n"),
        replace(invocation, id=invocation.id + "0"),
        replace(invocation, timestamp=later),
        replace(invocation, signatures=invocation.signatures.replace("v1,", "v2,")),
        replace(invocation, signatures=event.signatures),
        replace(invocation, signatures=invocation.signatures[:-4]),
        replace(invocation, signatures=""),
    ):
        assert not accepts(program, key, changed, tmp_path), changed


def test_replay_window(program: list[str], tmp_path: Path) -> None:
    now = int(time.time())
    for stamp in (now - 100, now + 100):
        assert accepts(program, NEW, signed(stamp), tmp_path)
    for stamp in (0, now - 3600, now + 3600, 10**14, 10**20):
        assert not accepts(program, NEW, signed(stamp), tmp_path), stamp
    for text in ("", "soon", f"{now}.5", f" {now}", f"-{now}", f"{now}\n"):
        assert not accepts(program, NEW, signed(text), tmp_path), text
