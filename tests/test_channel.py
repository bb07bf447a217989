"""Words and sockets come through whole; an end that has gone is heard, and never raises."""

import asyncio
import socket

from service.channel import Channel, Said


async def test_words_come_in_order_and_a_socket_comes_open():
    ours, theirs = map(Channel, Channel.pair())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours.say("take", "0", [listener])
        ours.say("stop", "1.5")
        address = listener.getsockname()
    took = await heard(theirs)
    assert (took.word, took.value) == ("take", "0")
    with took.sockets[0] as ours_now, socket.create_connection(address):
        ours_now.accept()[0].close()
    assert await heard(theirs) == Said("stop", "1.5")
    ours.close()
    theirs.close()


async def test_the_others_end_is_a_message_without_a_word_and_speaking_to_nobody_is_no_error():
    ours, theirs = map(Channel, Channel.pair())
    theirs.say("alive")
    theirs.close()
    assert (await heard(ours)).word == "alive"
    assert await heard(ours) == Said()
    ours.say("stop")
    ours.close()


async def test_who_does_not_listen_blocks_nobody():
    ours, theirs = Channel.pair()
    channel = Channel(ours)
    for _ in range(10_000):
        channel.say("alive")
    channel.close()
    theirs.close()


async def heard(channel: Channel) -> Said:
    return await asyncio.wait_for(channel.hear(), 5)
