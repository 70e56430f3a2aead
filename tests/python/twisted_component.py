"""The test component on Autobahn|Python with Twisted."""

from autobahn.twisted.component import Component
from twisted.internet import stdio
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from component import Drill, transport
from lines import settings


class Orders(LineReceiver):
    """Reads the test's commands until the test closes the pipe."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def __init__(self, drill, component):
        self.drill = drill
        self.component = component

    def lineReceived(self, line):
        ensureDeferred(self.drill.obey(line))

    def connectionLost(self, reason):
        self.component.stop()


def main(reactor):
    want = settings()
    component = Component(transports=[transport(want)], realm=want["realm"])
    drill = Drill(want, component, Deferred, CancelledError)
    stdio.StandardIO(Orders(drill, component))
    return component.start(reactor)


react(main)
