"""Handshakes in bursts, each of which must be answered."""

import asyncio
import collections
import time

from relay import handshake_request, in_loop

PATIENCE = 10.0  # seconds for one handshake: longer than SYNs that were dropped need to come again


class Storm:
    """Opens `burst` WebSockets at once, `bursts_per_second` times, and closes each when it is open."""

    def __init__(self, address, burst, bursts_per_second):
        self._address = address
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
                reader, writer = await asyncio.open_connection(*self._address)
                writer.write(handshake_request())
                answer = await reader.readline()
                if not answer:
                    return "closed without an answer"
                return "open" if answer.startswith(b"HTTP/1.1 101 ") else f"answered {answer[:40]!r}"
        except ConnectionRefusedError:
            return "refused"
        except ConnectionError:
            return "reset"
        except TimeoutError:
            return f"nothing in {PATIENCE:.0f} s"
        finally:
            if writer is not None:
                writer.transport.abort()
