from typing import Any

from anybridge import BridgeError
from anybridge.words import split
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...sending import publish


class Command(BaseCommand):
    help = "Publish an event and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic")
        parser.add_argument("args", nargs="*", help="JSON or plain text; NAME=VALUE for kwargs")
        parser.add_argument("--key", help="the idempotency key; made up by default")

    def handle(self, *args: Any, **options: Any) -> None:
        given, kwargs = split(list(args))
        try:
            id = publish(options["topic"], given, kwargs, key=options["key"], on_commit=False)
        except BridgeError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(id)
