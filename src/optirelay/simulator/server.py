"""The simulator as a server: in an event loop, in a thread, or as a process of its own."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from optirelay.simulator import control
from optirelay.simulator.app import CUT, App
from optirelay.simulator.errors import CannotListen
from optirelay.simulator.exchange import Answer, Request
from optirelay.simulator.firing import Firing
from optirelay.simulator.orders import Orders, in_loop
from optirelay.simulator.scenario import make_world

STOP_SECONDS = 1  # what is being answered may take so long when the simulator stops


class Simulator(Orders):
    """A small Optimove on this machine.

    `with Simulator() as optimove:` runs it in a thread, `async with` in the loop, `serve` and `run` until SIGTERM or
    SIGINT. `optimove.url` is where it listens, `optimove.key` the API key of its first tenant. What it should do is
    said by a scenario, or once it runs by `optimove.campaign(…)`, `fire`, `trigger`, `fault` and the others, from any
    thread; `optimove.told(…)` is what it was told.

    A seed that is given wins over the scenario's; without both it is 7. A scenario is the path of a TOML file or a
    mapping with the same keys. Without one there is one tenant, 7001, with the key "demo-key", the channels 504 and
    604, and 5,000 customers. BadEntry, a ValueError, names what is wrong in a scenario or an order. CannotListen, an
    OSError, when the address is taken.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        seed: int | None = None,
        scenario: Path | str | Mapping[str, Any] | None = None,
    ) -> None:
        self._listen = listen
        self._world = make_world(seed, scenario)
        self._thread: _Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen, and fire what the scenario wants."""
        self._socket = _listen_on(self._listen)
        self.url = _url_of(self._socket)
        self._loop = asyncio.get_running_loop()
        self._firing = Firing(self._world)
        config = uvicorn.Config(
            App(self._world, self._firing), ws="none", lifespan="off", log_config=None, access_log=False
        )
        self._state = ServerState()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _CuttableProtocol(config, self._state, {}), sock=self._socket
        )
        await self._firing.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; what waits to be fired is dropped, what is being answered has STOP_SECONDS."""
        self._loop = None
        self._server.close()
        await self._firing.stop()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(self._state.tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(0)  # connections close in the loop's next turn

    def __enter__(self) -> Self:
        """The same in a thread, for code that has no event loop."""
        self._thread = _Thread(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread."""
        if self._thread:
            self._thread.stop()

    def _ask(self, request: Request) -> Answer:
        if self._loop is None:
            raise RuntimeError("The simulator does not run yet: use `with Simulator() as optimove:`")
        return in_loop(self._loop, lambda: control.answer(self._world, self._firing, request))

    def _first_key(self) -> str:
        return next(iter(self._world.tenants.values())).keys[0].text

    async def serve(self, started: Callable[[Self], object] | None = None) -> None:
        """Run until SIGTERM or SIGINT; `started` is called once, when `url` is known. In the main thread only."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            async with self:
                if started:
                    started(self)
                await stop.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def run(self, started: Callable[[Self], object] | None = None) -> None:
        """`serve` in an event loop of its own."""
        asyncio.run(self.serve(started))


class _Thread:
    """A thread with an event loop in which one simulator runs."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="simulator", daemon=True)

    def start(self) -> None:
        """Returns when the simulator listens, or raises what kept it from doing so."""
        self._thread.start()
        self._ready.wait()
        if self._error:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Returns when everything is closed."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _live(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._simulator:
                self._ready.set()
                await self._stopped.wait()
        except OSError as error:
            self._error = error
        finally:
            self._ready.set()


class _CuttableProtocol(HttpToolsProtocol):
    """Lets the application close the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"abort": self.transport.abort}}


def _listen_on(listen: str) -> socket.socket:
    try:
        parts = urlsplit(f"//{listen}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CannotListen(f"Cannot listen on {listen}: give HOST:PORT such as 127.0.0.1:8500.") from error
    if not host or port is None:
        raise CannotListen(f"Cannot listen on {listen}: give HOST:PORT such as 127.0.0.1:8500.")
    # With the protocol named, asyncio sends small answers at once; without it each waits 40 ms for Nagle's algorithm.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"Cannot listen on {listen} ({error.strerror}): stop what listens there, or give another address."
        ) from error
    return listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
