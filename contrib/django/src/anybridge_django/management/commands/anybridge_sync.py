from typing import Any

from anybridge import BridgeError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import syncing
from ...backends import get_client


class Command(BaseCommand):
    help = "Register this project's procedures and subscriptions with the bridge."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="remove what the bridge holds for our CALLBACK_URL and has no handler any more, "
            "with the events that are owed to it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.sync(dry_run=options["dry_run"], prune=options["prune"])
        except BridgeError as error:
            raise CommandError(f"The bridge: {error}") from error

    def sync(self, *, dry_run: bool, prune: bool) -> None:
        plan, client = syncing.plan(), get_client()
        would = "would " if dry_run else ""
        if not dry_run:
            plan.apply(client)
        for name in plan.register:
            self.stdout.write(f"{would}register {name}")
        for name in plan.subscribe:
            self.stdout.write(f"{would}subscribe {name}")
        if prune:
            stale = plan.stale(client)
            if not dry_run:
                plan.prune(client, stale)
            for name in stale.procedures:
                self.stdout.write(f"{would}unregister {name}")
            for name in stale.topics:
                self.stdout.write(f"{would}unsubscribe {name}")
        if not plan:
            self.stdout.write("There are no handlers: does an installed app have a bridge.py?")
