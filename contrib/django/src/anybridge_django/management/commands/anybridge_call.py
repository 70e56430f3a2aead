import json
from typing import Any

from anybridge import BridgeError
from anybridge.words import split
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...sending import call_result


class Command(BaseCommand):
    help = "Call a procedure and print its result as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("procedure")
        parser.add_argument("args", nargs="*", help="JSON or plain text; NAME=VALUE for kwargs")
        parser.add_argument("--timeout", type=float, help="seconds")
        parser.add_argument("--user", help="for whom; the token needs users: true")

    def handle(self, *args: Any, **options: Any) -> None:
        given, kwargs = split(list(args))
        try:
            result = call_result(
                options["procedure"],
                given,
                kwargs,
                timeout=options["timeout"],
                user=options["user"],
            )
        except BridgeError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps({"args": result.args, "kwargs": result.kwargs}))
