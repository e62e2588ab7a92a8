"""JSON lines on stdin and stdout: the conversation of ../README.md, shared by every Python peer."""

import asyncio
import base64
import json
import os
import sys
import threading
import time

#: Longest command. Tests of large messages send a few megabytes.
LINE_LIMIT = 64 << 20

_writing = threading.Lock()


def to_wire(value):
    """Bytes become {"$bin": base64}, tuples lists, at any depth."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bin": base64.b64encode(value).decode("ascii")}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    if isinstance(value, dict):
        return {key: to_wire(item) for key, item in value.items()}
    return value


def from_wire(value):
    """The reverse: {"$bin": base64} becomes bytes."""
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if isinstance(value, dict):
        if list(value) == ["$bin"] and isinstance(value["$bin"], str):
            return base64.b64decode(value["$bin"])
        return {key: from_wire(item) for key, item in value.items()}
    return value


def _write_line(fields):
    line = json.dumps(to_wire(fields), ensure_ascii=False) + "\n"
    # Handlers of the synchronous client run in threads of their own.
    with _writing:
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of stdout has gone: so has the reason to live.
            os._exit(0)


def report(event, **fields):
    """Writes one event line."""
    _write_line({"event": event, **fields, "at_ms": time.time_ns() / 1e6})


async def _perform(commands, line):
    try:
        command = from_wire(json.loads(line))
    except ValueError:
        return _write_line({"reply": None, "ok": False, "error": "this line is not JSON"})
    command = command if isinstance(command, dict) else {}
    reply, name = command.get("id"), command.get("cmd")
    if name == "exit":
        _write_line({"reply": reply, "ok": True, "value": None})
        os._exit(0)
    handler = commands.get(name)
    if handler is None:
        return _write_line({"reply": reply, "ok": False, "error": f"unknown command {name}"})
    try:
        value = await handler(command)
        _write_line({"reply": reply, "ok": True, "value": value})
    except Exception as error:  # Whatever it is, it is the answer.
        text = str(error) or type(error).__name__
        _write_line({"reply": reply, "ok": False, "error": text})


async def serve(commands):
    """Serves `commands` (name -> coroutine function of the command) until stdin closes."""
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    report("ready")
    # The loop keeps no task alive by itself.
    running = set()
    while line := await reader.readline():
        if line.strip():
            task = asyncio.create_task(_perform(commands, line))
            running.add(task)
            task.add_done_callback(running.discard)
    # Threads of the synchronous client would keep an ordinary exit waiting.
    os._exit(0)
