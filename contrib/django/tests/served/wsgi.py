from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

# gunicorn --preload imports this before it forks: the workers inherit a client that has an
# open connection.
from anybridge_django import BridgeError, call  # noqa: E402

try:
    call("com.component.add", [20, 22], timeout=5)
except BridgeError as error:
    print("before the fork:", repr(error), flush=True)
else:
    print("before the fork: called", flush=True)
