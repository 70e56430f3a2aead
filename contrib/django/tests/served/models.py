from typing import ClassVar

from django.db import models


class Happened(models.Model):
    """What handlers did, for the test to see, whichever process it was."""

    what = models.CharField(max_length=100)
    value = models.JSONField(null=True)

    objects: ClassVar[models.Manager["Happened"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.what}: {self.value}"
