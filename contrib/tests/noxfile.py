"""The suites of the Python packages, over the versions that they support.

``make contrib-matrix`` runs every session; ``nox -f contrib/tests/noxfile.py --list`` names them.
A session installs the packages as wheels would be, and what its suite needs in the pinned
versions of requirements-dev.txt, into an environment of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

CONTRIB = Path(__file__).resolve().parents[1]
PACKAGES = [n for n in ("python", "django", "flask") if (CONTRIB / n / "pyproject.toml").is_file()]

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
DJANGOS = {"5.2": PYTHONS, "6.0": PYTHONS[2:], "6.1": PYTHONS[2:]}  # by what Django 6 supports
FLASKS = ["2.3", "3.0", "3.1"]

# What requirements-dev.txt pins for the other checks, and what the sessions vary.
LEFT_OUT = {
    *("build", "django-stubs", "editables", "hatchling", "mypy", "nox", "ruff", "twine", "uv"),
    *("django", "flask", "httpx", "urllib3"),
}

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"


def test_tools() -> list[str]:
    """The pinned packages that the suites import or start."""
    lines = (CONTRIB / "requirements-dev.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip() for line in lines]
    return [pin for pin in pins if pin and re.split(r"[=<>;\[ ]", pin)[0].lower() not in LEFT_OUT]


def install(session: nox.Session, names: list[str], *more: str) -> None:
    """Installs packages of this repository, as they are now, and ``more``."""
    folders = [f"{CONTRIB / name}{'[async]' if name == 'python' else ''}" for name in names]
    # --reinstall-package: their version stays the same while they are worked on.
    anew = [f"--reinstall-package=anybridge{'' if n == 'python' else f'-{n}'}" for n in names]
    session.install(*anew, *test_tools(), *folders, *more)


def suite(session: nox.Session, name: str) -> None:
    session.chdir(CONTRIB / name)
    session.run("pytest", "--quiet", "-p", "no:cacheprovider", *session.posargs)


@nox.session(python=PYTHONS)
def python(session: nox.Session) -> None:
    """The client and the dispatcher."""
    install(session, ["python"])
    suite(session, "python")


@nox.session
@nox.parametrize(
    "python,django", [(python, django) for django, able in DJANGOS.items() for python in able]
)
def django(session: nox.Session, django: str) -> None:
    """The Django package."""
    install(session, ["python", "django"], f"Django~={django}.0")
    suite(session, "django")


@nox.session(python=PYTHONS)
@nox.parametrize("flask", FLASKS)
def flask(session: nox.Session, flask: str) -> None:
    """The Flask package."""
    if "flask" not in PACKAGES:
        session.skip("there is no contrib/flask")
    install(session, ["python", "flask"], f"Flask~={flask}.0")
    suite(session, "flask")


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Everything with the lowest versions that the packages say they take."""
    install(session, PACKAGES, "--resolution=lowest-direct")
    for name in PACKAGES:
        suite(session, name)


@nox.session(python=PYTHONS[-2:])
def newest(session: nox.Session) -> None:
    """Everything with the newest versions that the index has."""
    install(session, PACKAGES, "--upgrade")
    for name in PACKAGES:
        suite(session, name)
