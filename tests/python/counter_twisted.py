"""A component that adds and counts, and one that uses it (Autobahn|Python, Twisted).

The backend serves com.myapp.add2 and publishes a rising number to
com.myapp.oncounter; the frontend subscribes to the number and has something added.
"""

from autobahn.twisted.util import sleep
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import inlineCallbacks

from lines import settings, tell


class Backend(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        try:
            yield self.register(lambda x, y: x + y, "com.myapp.add2")
        except ApplicationError as e:
            tell("refused", error=e.error)
            return
        tell("ready")
        number = 0
        while self.is_attached():
            self.publish("com.myapp.oncounter", number)
            number += 1
            yield sleep(self.config.extra["interval"])


class Frontend(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        yield self.subscribe(lambda number: tell("count", number=number), "com.myapp.oncounter")
        total = yield self.call("com.myapp.add2", 2, 3)
        tell("ready", sum=total)


want = settings()
runner = ApplicationRunner(url=want["url"], realm=want["realm"], extra=want)
runner.run({"backend": Backend, "frontend": Frontend}[want["role"]], log_level="warn")
