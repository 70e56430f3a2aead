from typing import Any

from django.core.management.base import BaseCommand

from ...checks import load_urlconf
from ...handlers import registry
from ...results import results


class Command(BaseCommand):
    help = "List the handlers that this project declares."

    def handle(self, *args: Any, **options: Any) -> None:
        load_urlconf()
        for h in [*registry.procedures.values(), *registry.subscriptions]:
            self.stdout.write(f"{h.kind}  {h.name}  {h.match}  {h.place}")
        for procedure, place in results.rows():
            self.stdout.write(f"result  {procedure}  exact  {place}")
