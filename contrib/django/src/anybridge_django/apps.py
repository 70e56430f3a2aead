from django.apps import AppConfig
from django.utils.autoreload import autoreload_started
from django.utils.module_loading import autodiscover_modules


class AnyBridgeConfig(AppConfig):
    """Imports ``bridge.py`` of every installed app. Opens no socket and starts no thread."""

    name = "anybridge_django"
    verbose_name = "anybridge"

    def ready(self) -> None:
        from . import checks  # noqa: F401
        from .runserver import on_autoreload_started

        autodiscover_modules("bridge")
        autoreload_started.connect(on_autoreload_started, dispatch_uid="anybridge_django.runserver")
