"""`socket.io-emitter` of PyPI, steered over JSON lines. ../README.md lists the environment and commands.

It can emit to a namespace or to rooms, and nothing else.
"""

import asyncio
import os

import redis
from socket_io_emitter import Emitter

from lines import serve

client = redis.Redis.from_url(os.environ["REDIS_URL"])
emitter = Emitter({"client": client, "key": os.environ.get("REDIS_KEY", "socket.io")})


async def emit(command):
    if namespace := command.get("namespace"):
        emitter.Of(namespace)
    for room in command.get("rooms", []):
        emitter.To(room)
    # Publishes and waits for each reply: when it returns, Redis has taken it.
    emitter.Emit(command["event"], *command.get("args", []))


asyncio.run(serve({"emit": emit}))
