"""Bare WebSocket connections of `websockets`, which checks every frame it gets, steered over JSON lines. ../README.md lists the commands and events."""

import asyncio

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from lines import report, serve

#: A server that does not end the TCP connection after the closing handshake shall be found out, not helped.
CLOSE_TIMEOUT_S = 300

#: name -> ClientConnection
clients = {}
#: The loop keeps no task alive by itself.
watching = set()


def find(command):
    if (socket := clients.get(command.get("client"))) is None:
        raise KeyError(f"no client named {command.get('client')}")
    return socket


async def watch(client, socket):
    try:
        while True:
            report("message", client=client, data=await socket.recv())
    except ConnectionClosed as closed:
        received, error = closed.rcvd, socket.protocol.parser_exc
        report(
            "closed",
            client=client,
            code=received.code if received else 1006,
            reason=received.reason if received else "",
            error=None if error is None else repr(error),
        )


async def open_client(command):
    client = command["client"]
    socket = await connect(
        command["url"],
        subprotocols=command.get("subprotocols"),
        compression="deflate",
        proxy=None,
        ping_interval=None,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=None,
    )
    clients[client] = socket
    task = asyncio.create_task(watch(client, socket))
    watching.add(task)
    task.add_done_callback(watching.discard)
    extensions = ", ".join(extension.name for extension in socket.protocol.extensions)
    return {"headers": list(socket.response.headers.raw_items()), "extensions": extensions, "subprotocol": socket.subprotocol or ""}


async def send(command):
    data = command["data"]
    await find(command).send(data, text=command.get("text", isinstance(data, str)))


async def send_fragments(command):
    socket, fragments = find(command), command["fragments"]

    async def with_pings():
        for index, fragment in enumerate(fragments):
            if index > 0:
                await (await socket.ping(str(index)))
            yield fragment

    await socket.send(with_pings())


async def send_unmasked(command):
    frame = Frame(Opcode.TEXT, command["data"].encode())
    find(command).transport.write(frame.serialize(mask=False))


async def ping(command):
    data = command["data"]
    # Settled by a pong of the same data alone.
    await (await find(command).ping(data))
    return data


async def close(command):
    # Its end is an event.
    task = asyncio.create_task(find(command).close(command.get("code", 1000), command.get("reason", "")))
    watching.add(task)
    task.add_done_callback(watching.discard)


COMMANDS = {"open": open_client, "send": send, "send_fragments": send_fragments, "send_unmasked": send_unmasked, "ping": ping, "close": close}

if __name__ == "__main__":
    asyncio.run(serve(COMMANDS))
