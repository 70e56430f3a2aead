"""Publishes what the feeds of the database say (Autobahn|Python, Twisted).

Serves eu.trigger-happy.rss.feeds_url, calls it itself every while, and publishes each
item to eu.trigger-happy.rss.
"""

from autobahn import wamp
from autobahn.twisted.util import sleep
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from twisted.internet.defer import inlineCallbacks

import triggers
from lines import settings, tell


class Rss(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        self.db = triggers.open_database(self.config.extra["database"])
        registered = yield self.register(self)
        tell("ready", procedures=len(registered))
        while self.is_attached():
            feeds = yield self.call("eu.trigger-happy.rss.feeds_url")
            for feed in feeds:
                for item in feed["data"]:
                    self.publish("eu.trigger-happy.rss", {
                        "trigger_id": feed["trigger_id"], "user_id": feed["user_id"], "item": item})
            yield sleep(120)

    @wamp.register("eu.trigger-happy.rss.feeds_url")
    def feeds_url(self):
        return triggers.due_feeds(self.db)


if __name__ == "__main__":
    want = settings()
    triggers.fill_database(want["database"], want["feed"])
    ApplicationRunner(url=want["url"], realm=want["realm"], extra=want).run(Rss, log_level="warn")
