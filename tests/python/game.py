"""The server side of a small browser game, for game.js (Autobahn|Python, asyncio).

com.example.move takes x and y, and optionally z and how it is meant; the component
hears com.example.message. Procedure and subscription are found by their decorators.
"""

from autobahn import wamp
from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession

from lines import settings, tell


class Game(ApplicationSession):
    async def onJoin(self, details):
        await self.register(self)
        await self.subscribe(self)
        tell("ready")

    @wamp.register("com.example.move")
    def move(self, x, y, z=0, mean=None):
        tell("moved", x=x, y=y, z=z, mean=mean)
        return self.config.extra["laugh"]

    @wamp.subscribe("com.example.message")
    def hear(self, text, author=None):
        tell("heard", text=text, author=author)


want = settings()
ApplicationRunner(url=want["url"], realm=want["realm"], extra=want).run(Game, log_level="warn")
