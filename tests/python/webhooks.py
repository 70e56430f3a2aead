"""Verifies one callback with the official Standard Webhooks library.

The settings are the body as it came, the headers, and keys by name; it tells which keys
the library accepts the callback under, and what it takes the body for.
"""

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from lines import settings, tell

callback = settings()
accepted, payload = [], None
for name, key in sorted(callback["keys"].items()):
    try:
        payload = Webhook(key).verify(callback["body"], callback["headers"])
    except WebhookVerificationError:
        continue
    accepted.append(name)
tell("verified", accepted=accepted, payload=payload)
