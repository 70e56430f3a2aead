"""The wheels, as somebody meets them who has an empty environment and a bridge."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from anybridge import Client

from bridge import PATIENCE, TOKEN, Bridge, free_port

HERE = Path(__file__).parent
CONTRIB = HERE.parent
PACKAGES = {"python": "anybridge", "django": "anybridge_django", "flask": "anybridge_flask"}
Done = subprocess.CompletedProcess[str]

LINES = 15
"""A first procedure takes fewer."""


def run(module: str, *arguments: str | Path, cwd: Path | None = None) -> Done:
    """Runs a tool of the tests' own environment."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of each package. Each wheel is built from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for name in PACKAGES:
        done = run("build", "--no-isolation", "--outdir", folder, CONTRIB / name)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("newcomer") / "venv"
    python = folder / "bin" / "python"
    for done in (
        run("uv", "venv", "--python", sys.executable, folder),
        run("uv", "pip", "install", "--python", python, *sorted(built.glob("*.whl"))),
    ):
        assert done.returncode == 0, done.stderr
    return python


def test_the_index_would_take_them(built: Path) -> None:
    files = sorted(built.iterdir())
    assert len(files) == 2 * len(PACKAGES)
    done = run("twine", "check", "--strict", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES.values())
def test_contents(package: str, built: Path) -> None:
    with zipfile.ZipFile(next(built.glob(f"{package}-*.whl"))) as wheel:
        names = wheel.namelist()
        licence = next(name for name in names if name.endswith("/licenses/LICENSE"))
        assert wheel.read(licence) == (CONTRIB.parent / "LICENSE").read_bytes()
    assert f"{package}/py.typed" in names
    strangers = [n for n in names if not re.match(rf"{package}(/|-[\d.]+\.dist-info/)", n)]
    assert strangers == []
    with tarfile.open(next(built.glob(f"{package}-*.tar.gz"))) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert inside >= {"LICENSE", "README.md", "pyproject.toml", f"src/{package}/py.typed"}


@contextmanager
def serving(
    command: list[str], environment: dict[str, str], port: int, cwd: Path
) -> Iterator[Path]:
    """Runs an app until it listens on its port; yields the file of what it prints."""
    printed = cwd / "printed"
    with printed.open("w") as out:
        # A session of its own: runserver's reloader is a parent and a child.
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait(lambda: listens(port) or process.poll() is not None, printed)
        yield printed
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def wait(check: Callable[[], object], printed: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, printed.read_text()
        time.sleep(0.02)


@pytest.mark.parametrize("framework", ["django", "flask"])
def test_a_first_procedure(
    framework: str, python: Path, running_bridge: Bridge, client: Client, tmp_path: Path
) -> None:
    text = (HERE / "newcomer" / f"{framework}_app.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) < LINES
    port = free_port()
    text = text.replace("http://127.0.0.1:8181", running_bridge.url).replace("8000", str(port))
    (tmp_path / "app.py").write_text(text)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "ANYBRIDGE_TOKEN": TOKEN,
        "PYTHONUNBUFFERED": "1",
    }
    start = {
        "django": [str(python), "app.py", "runserver", str(port)],
        "flask": [str(python), "-m", "flask", "run", "--port", str(port)],
    }
    with serving(start[framework], environment, port, tmp_path) as printed:
        if framework == "flask":  # Django's runserver registers by itself
            sync = [str(python), "-m", "flask", "anybridge", "sync"]
            subprocess.run(sync, cwd=tmp_path, env=environment, check=True, capture_output=True)
        wait(client.registrations, printed)
        assert client.call("com.example.add2", [20, 22]) == 42, printed.read_text()
    client.unregister(["com.example.add2"])


def test_types_reach_the_user(python: Path, tmp_path: Path) -> None:
    consumer = tmp_path / "consumer.py"
    source = (HERE / "newcomer" / "consumer.py").read_text()
    consumer.write_text(source)
    done = run("mypy", "--strict", "--python-executable", python, consumer.name, cwd=tmp_path)
    found = dict(re.findall(r"^consumer\.py:(\d+): error: (.*)$", done.stdout, re.M))
    wanted = {
        str(number): line.split("# expect: ")[1]
        for number, line in enumerate(source.splitlines(), 1)
        if "# expect: " in line
    }
    assert found.keys() == wanted.keys(), done.stdout + done.stderr
    for number, text in wanted.items():
        assert text in found[number]
