"""``flask anybridge sync``, ``list``, ``call`` and ``publish``."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click
from anybridge import BridgeError
from anybridge.words import split
from flask.cli import AppGroup

from .bound import Bound
from .conf import ConfigError

# Words such as -5 are arguments.
_WORDS = {"ignore_unknown_options": True}


def group(bound: Bound) -> AppGroup:
    """The commands of a bridge on an app."""
    name = bound.bridge.key.replace("_", "-")
    made = AppGroup(name, help=f"Ask the bridge of {bound.bridge.config_key}.")

    @made.command("sync", help="Register this app's procedures and subscriptions with the bridge.")
    @click.option("--dry-run", is_flag=True, help="Say what would be done.")
    @click.option(
        "--prune",
        is_flag=True,
        help="Remove what the bridge holds for our CALLBACK_URL and has no handler any more, "
        "with the events that are owed to it.",
    )
    @_told
    def sync_command(dry_run: bool, prune: bool) -> None:
        _sync(bound, dry_run=dry_run, prune=prune)

    @made.command("list", help="List the procedures and subscriptions that this app declares.")
    def list_command() -> None:
        registry = bound.bridge.registry
        for h in [*registry.procedures.values(), *registry.subscriptions]:
            click.echo(f"{h.kind}  {h.name}  {h.match}  {h.place}")

    @made.command(
        "call", help="Call a procedure and print its result as JSON.", context_settings=_WORDS
    )
    @click.argument("procedure")
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    @click.option("--timeout", type=float, help="Seconds.")
    @_told
    def call_command(procedure: str, args: tuple[str, ...], timeout: float | None) -> None:
        given, kwargs = split(list(args))
        result = bound.client.call_result(procedure, given, kwargs, timeout=timeout)
        click.echo(json.dumps({"args": result.args, "kwargs": result.kwargs}))

    @made.command("publish", help="Publish an event and print its id.", context_settings=_WORDS)
    @click.argument("topic")
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    @click.option("--key", help="The idempotency key; made up by default.")
    @_told
    def publish_command(topic: str, args: tuple[str, ...], key: str | None) -> None:
        given, kwargs = split(list(args))
        click.echo(bound.bridge.publish(topic, given, kwargs, key=key))

    return made


def _sync(bound: Bound, *, dry_run: bool, prune: bool) -> None:
    plan, client = bound.plan(), bound.client
    if not plan:
        click.echo("There are no handlers: does the app import the module that has them?")
    elif (urlsplit(plan.callback_url).path or "/").rstrip("/") != bound.path.rstrip("/"):
        click.echo(
            f"Mind that the dispatcher is at {bound.path}, unlike {plan.callback_url}: "
            "right only if something in front of the app changes the path.",
            err=True,
        )
    would = "would " if dry_run else ""
    if not dry_run:
        plan.apply(client)
    for name in plan.register:
        click.echo(f"{would}register {name}")
    for name in plan.subscribe:
        click.echo(f"{would}subscribe {name}")
    if not prune:
        return
    if not plan.callback_url:
        bound.callback_url()
    stale = plan.stale(client)
    if not dry_run:
        plan.prune(client, stale)
    for name in stale.procedures:
        click.echo(f"{would}unregister {name}")
    for name in stale.topics:
        click.echo(f"{would}unsubscribe {name}")


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """Tells in one line what went wrong, with the exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BridgeError as error:
            raise click.ClickException(f"The bridge: {error}") from error
        except (ConfigError, ValueError) as error:
            raise click.ClickException(str(error)) from error

    return run
