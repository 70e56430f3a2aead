from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class AnyBridgeConfig(AppConfig):
    """Imports ``bridge.py`` of every installed app. Opens no socket and starts no thread."""

    name = "anybridge_django"
    verbose_name = "anybridge"

    def ready(self) -> None:
        autodiscover_modules("bridge")
