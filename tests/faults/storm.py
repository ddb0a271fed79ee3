"""Handshakes in bursts, each of which must be answered."""

import asyncio
import collections
import itertools
import time

from relay import command_frame, handshake_request, in_loop

PATIENCE = 10.0  # seconds for one handshake: longer than SYNs that were dropped need to come again


class Storm:
    """Opens `burst` WebSockets at once, `bursts_per_second` times, and closes each when it is open, and has, if asked
    for, subscribed to a PHID and been sent what a replay brings first. They come from the `sources` in turn."""

    def __init__(self, address, burst, bursts_per_second, sources=(None,), phid=None):
        self._address = address
        self._sources = itertools.cycle((source, 0) if source else None for source in sources)
        self._phid = phid
        self._burst = burst
        self._interval = 1 / bursts_per_second
        self._stopping = False
        self._under_way = set()
        self.outcomes = collections.Counter()
        self._ticker = in_loop(self._start())

    def stop(self):
        """Returns when the last handshake has its outcome."""
        in_loop(self._stop())

    close = stop

    def begun(self):
        return sum(self.outcomes.values())

    def failed(self):
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "open"}

    async def _start(self):
        return asyncio.ensure_future(self._tick())

    async def _tick(self):
        next_burst = time.monotonic()
        while not self._stopping:
            for _ in range(self._burst):
                task = asyncio.ensure_future(self._shake_hands())
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            next_burst += self._interval
            await asyncio.sleep(max(0, next_burst - time.monotonic()))

    async def _stop(self):
        self._stopping = True
        await self._ticker
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _shake_hands(self):
        self.outcomes[await self._outcome()] += 1

    async def _outcome(self):
        writer = None
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(*self._address, local_addr=next(self._sources))
                writer.write(handshake_request())
                answer = await reader.readline()
                if not answer:
                    return "closed without an answer"
                if not answer.startswith(b"HTTP/1.1 101 "):
                    return f"answered {answer[:40]!r}"
                if self._phid is not None:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(command_frame("subscribe", [self._phid]) + command_frame("replay", {"age": 1000}))
                    await reader.readexactly(2)
                return "open"
        except ConnectionRefusedError:
            return "refused"
        except (ConnectionError, asyncio.IncompleteReadError):
            return "reset"
        except TimeoutError:
            return f"nothing in {PATIENCE:.0f} s"
        finally:
            if writer is not None:
                writer.transport.abort()
