"""Clients of python-socketio, steered over JSON lines. ../README.md lists the commands and events.

`client.py async` runs AsyncClient (aiohttp), `client.py sync` runs Client (requests and websocket-client, a few threads each).
"""

import asyncio
import sys
from urllib.parse import urlencode

import socketio

from lines import report, serve

IS_ASYNC = sys.argv[1:] == ["async"]

#: name -> Entry
clients = {}
#: The loop keeps no task alive by itself.
closing = set()


async def settle(function, *args, **kwargs):
    """Calls a method of either client; those of the synchronous one block, so a thread does."""
    if IS_ASYNC:
        return await function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


class Entry:
    """A client in one namespace."""

    def __init__(self, name, command, loop):
        options = {"reconnection": command.get("reconnection", True), "handle_sigint": False}
        if (delay_ms := command.get("reconnection_delay_ms")) is not None:
            delay = delay_ms / 1000
            options |= {"reconnection_delay": delay, "reconnection_delay_max": delay, "randomization_factor": 0}
        options |= command.get("options", {})
        self.name = name
        self.namespace = command.get("namespace", "/")
        self.socket = socketio.AsyncClient(**options) if IS_ASYNC else socketio.Client(**options)
        self.timeout_ms = command.get("timeout_ms", 5000)
        self.counts = {}
        self.answers = {}
        self.error = None
        self.loop = loop
        self.connection = self._connection(command)
        for event, handler in (("connect", self._connect), ("connect_error", self._connect_error), ("disconnect", self._disconnect), ("*", self._message)):
            self.socket.on(event, handler, namespace=self.namespace)

    def _connection(self, command):
        url = command["url"]
        if query := command.get("query"):
            url += "?" + urlencode(query)
        return {
            "url": url,
            "headers": command.get("headers", {}),
            "auth": command.get("auth"),
            "transports": command.get("transports", ["websocket"]),
            "namespaces": [self.namespace],
            "socketio_path": command.get("path", "/socket.io/").strip("/"),
        }

    def describe(self):
        return {"client": self.name, "socket": self.socket.get_sid(self.namespace), "transport": self.socket.transport()}

    async def connect(self, wait):
        self.error = None
        try:
            await settle(self.socket.connect, **self.connection, wait=wait, wait_timeout=self.timeout_ms / 1000)
        except socketio.exceptions.ConnectionError as error:
            raise RuntimeError(self.error or str(error)) from error
        return self.describe()

    # What follows runs in a thread when the client is synchronous.

    def _connect(self):
        report("connect", **self.describe(), recovered=False)

    def _connect_error(self, problem=None):
        fields = problem if isinstance(problem, dict) else {"message": str(problem)}
        self.error = fields.get("message")
        report("connect_error", client=self.name, message=self.error, data=fields.get("data"), active=False)

    def _disconnect(self, reason):
        report("disconnect", client=self.name, reason=reason)

    def _message(self, event, *args):
        self.counts[event] = self.counts.get(event, 0) + 1
        # The library does not tell whether an acknowledgement was asked for.
        report("message", client=self.name, name=event, args=args, ack=None)
        return self.answers.get(event)


def find(command):
    if (entry := clients.get(command.get("client"))) is None:
        raise KeyError(f"no client named {command.get('client')}")
    return entry


async def open_client(command):
    name = command["client"]
    if name in clients:
        raise ValueError(f"there is already a client named {name}")
    entry = clients[name] = Entry(name, command, asyncio.get_running_loop())
    return await entry.connect(command.get("wait", True))


async def emit(command):
    entry = find(command)
    await settle(entry.socket.emit, command["event"], tuple(command.get("args", [])), namespace=entry.namespace)


async def emit_ack(command):
    entry = find(command)
    answered = entry.loop.create_future()

    def take(*args):
        entry.loop.call_soon_threadsafe(lambda: answered.done() or answered.set_result(args))

    data = tuple(command.get("args", []))
    await settle(entry.socket.emit, command["event"], data, namespace=entry.namespace, callback=take)
    try:
        return await asyncio.wait_for(answered, command.get("timeout_ms", 5000) / 1000)
    except asyncio.TimeoutError:
        raise TimeoutError("operation has timed out") from None


async def answer(command):
    find(command).answers[command["event"]] = tuple(command.get("args", []))


async def status(command):
    entry = find(command)
    connected = entry.namespace in entry.socket.namespaces
    reconnecting = entry.socket in socketio.base_client.reconnecting_clients
    return {"socket": entry.socket.get_sid(entry.namespace), "connected": connected, "reconnecting": reconnecting, "transport": entry.socket.transport()}


async def counts(command):
    return find(command).counts


async def disconnect(command):
    await settle(find(command).socket.disconnect)


async def connect(command):
    await find(command).connect(wait=False)


async def close(command):
    entry = find(command)
    # Nobody waits for its end: over polling the library does not send CLOSE if it was just posting (`_write_loop` looks at the state first), and
    # then waits for its poll, which the server's next ping ends.
    task = asyncio.create_task(settle(entry.socket.shutdown))
    closing.add(task)
    task.add_done_callback(closing.discard)
    del clients[entry.name]


async def names(_command):
    return list(clients)


COMMANDS = {
    "open": open_client,
    "emit": emit,
    "emit_ack": emit_ack,
    "answer": answer,
    "status": status,
    "counts": counts,
    "disconnect": disconnect,
    "connect": connect,
    "close": close,
    "clients": names,
}

if __name__ == "__main__":
    if sys.argv[1:] not in (["async"], ["sync"]):
        sys.exit("usage: client.py async|sync")
    asyncio.run(serve(COMMANDS))
