"""Keeps what rss.py publishes (Autobahn|Python, Twisted).

Serves eu.trigger-happy.evernote.token, .trigger and .save, and has every event of
eu.trigger-happy.rss saved by a call to its own procedure.
"""

from autobahn import wamp
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from twisted.internet.defer import inlineCallbacks

import triggers
from lines import settings, tell


class Evernote(ApplicationSession):
    @inlineCallbacks
    def onJoin(self, details):
        self.db = triggers.open_database(self.config.extra["database"])
        registered = yield self.register(self)
        yield self.subscribe(self.on_item, "eu.trigger-happy.rss")
        tell("ready", procedures=len(registered))

    @inlineCallbacks
    def on_item(self, stuff):
        answer = yield self.call("eu.trigger-happy.evernote.save", stuff)
        tell("saved", answer=answer, notes=triggers.notes_of(self.db, stuff["user_id"]))

    @wamp.register("eu.trigger-happy.evernote.token")
    def token(self, user_id):
        return triggers.token_of(self.db, user_id)

    @wamp.register("eu.trigger-happy.evernote.trigger")
    def trigger(self, trigger_id):
        return triggers.trigger_of(self.db, trigger_id)

    @wamp.register("eu.trigger-happy.evernote.save")
    @inlineCallbacks
    def save(self, stuff):
        token = yield self.call("eu.trigger-happy.evernote.token", stuff["user_id"])
        trigger = yield self.call("eu.trigger-happy.evernote.trigger", stuff["trigger_id"])
        triggers.save_note(self.db, stuff, token[0], trigger)


want = settings()
ApplicationRunner(url=want["url"], realm=want["realm"], extra=want).run(Evernote, log_level="warn")
