"""The door that app-yh opens."""

from __future__ import annotations

import asyncio
import socket

from adstudio.server import open_door


async def test_an_answer_does_not_wait_for_the_other_side_to_acknowledge_its_head() -> None:
    seen: list[int] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with open_door("127.0.0.1", 0) as [door]:
        async with await asyncio.start_server(look, sock=door):
            reader, writer = await asyncio.open_connection(*door.getsockname())
            await reader.read()
            writer.close()
    assert seen != [0]
    assert len(seen) == 1
