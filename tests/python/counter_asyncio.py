"""The same pair as counter_twisted.py on asyncio."""

from asyncio import sleep

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.exception import ApplicationError

from lines import settings, tell


class Backend(ApplicationSession):
    async def onJoin(self, details):
        try:
            await self.register(lambda x, y: x + y, "com.myapp.add2")
        except ApplicationError as e:
            tell("refused", error=e.error)
            return
        tell("ready")
        number = 0
        while self.is_attached():
            self.publish("com.myapp.oncounter", number)
            number += 1
            await sleep(self.config.extra["interval"])


class Frontend(ApplicationSession):
    async def onJoin(self, details):
        await self.subscribe(lambda number: tell("count", number=number), "com.myapp.oncounter")
        total = await self.call("com.myapp.add2", 2, 3)
        tell("ready", sum=total)


want = settings()
runner = ApplicationRunner(url=want["url"], realm=want["realm"], extra=want)
runner.run({"backend": Backend, "frontend": Frontend}[want["role"]], log_level="warn")
