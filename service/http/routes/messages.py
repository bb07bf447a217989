"""The messages of a WebSocket, as many together as have come."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Message

AT_ONCE = 256  # messages that are answered together; the rest waits in the socket


async def together(socket: WebSocket) -> AsyncIterator[list[bytes]]:
    """Yield the messages that have come, at least one each time, until the client leaves."""
    waiting: asyncio.Task[Message] | None = None
    try:
        while True:
            waiting = waiting or asyncio.create_task(socket.receive())
            messages = [_payload(await waiting)]
            waiting = asyncio.create_task(socket.receive())
            while len(messages) < AT_ONCE:
                await asyncio.sleep(0)  # what has come already is there after one turn of the loop
                if not waiting.done():
                    break
                messages.append(_payload(waiting.result()))
                waiting = asyncio.create_task(socket.receive())
            yield messages
    except WebSocketDisconnect:
        return
    finally:
        if waiting is not None:
            waiting.cancel()


def _payload(message: Message) -> bytes:
    """Return the bytes of a message; raise WebSocketDisconnect for the last one."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    data: bytes | None = message.get("bytes")
    return data if data is not None else message["text"].encode()
