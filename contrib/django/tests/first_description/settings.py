# What any project has.
SECRET_KEY = "tests"
DEBUG = True
ROOT_URLCONF = "first_description.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS: list[str] = []

# And the one line of the description.
WAMP_BRIDGE_URL = "http://localhost:8181/"
