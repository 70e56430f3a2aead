"""The test component on Autobahn|Python with asyncio."""

import asyncio
import sys

from autobahn.asyncio.component import Component

from component import Drill, transport
from lines import settings


async def main():
    loop = asyncio.get_running_loop()
    want = settings()
    component = Component(transports=[transport(want)], realm=want["realm"])
    drill = Drill(want, component, loop.create_future, asyncio.CancelledError)
    component.start(loop=loop)

    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tasks = set()
    while line := await lines.readline():
        task = loop.create_task(drill.obey(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if drill.session:
        await drill.session.leave()


asyncio.run(main())
