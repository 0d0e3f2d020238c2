#!/usr/bin/env python3
"""An image server, and a client that checks what it gets, as one writes them with grpclib.

usage: grpclib_peer.py server FOLDER [CONTRACT]
       grpclib_peer.py client ADDRESS FOLDER IMAGES [CONTRACT]

The server's first line is `listening on 127.0.0.1:PORT`; the client prints how many images were
right.
"""

import asyncio
import signal
import sys

import grpclib.client
import grpclib.const
import grpclib.server

import peers

PATH = f"/{peers.SERVICE}/"


def image_of(message):
    return message.image if hasattr(message, "image") else message


class Service:
    def __init__(self, pb2, folder):
        self.pb2 = pb2
        self.images = peers.pictures(folder)

    async def list_images(self, stream):
        await stream.recv_message()
        await stream.send_message(self.pb2.ListImagesResponse(image_names=list(self.images)))

    async def stream_images(self, stream):
        request = await stream.recv_message()
        for name in request.image_names:
            if name in self.images:
                await stream.send_message(self.message(name, self.images[name]))

    async def service_metadata(self, stream):
        await stream.recv_message()
        await stream.send_message(self.pb2.ServiceMetadataResponse(metadata="grpclib"))

    def message(self, name, content):
        if hasattr(self.pb2, "StreamImageResponse"):
            return self.pb2.StreamImageResponse(name=name, format="jpg", content=content)
        return self.pb2.StreamImagesResponse(
            image=self.pb2.Image(
                name=name, format="jpg", content=content, size_in_bytes=len(content)
            )
        )

    def __mapping__(self):
        def handler(function, cardinality, request, response):
            return grpclib.const.Handler(function, cardinality, request, response)

        pb2, one = self.pb2, grpclib.const.Cardinality
        flat = hasattr(pb2, "StreamImageResponse")
        answer = pb2.StreamImageResponse if flat else pb2.StreamImagesResponse
        mapping = {
            PATH + "ListImages": handler(
                self.list_images, one.UNARY_UNARY, pb2.ListImagesRequest, pb2.ListImagesResponse
            ),
            PATH + "StreamImages": handler(
                self.stream_images, one.UNARY_STREAM, pb2.StreamImagesRequest, answer
            ),
        }
        if flat:
            mapping[PATH + "ServiceMetadata"] = handler(
                self.service_metadata, one.UNARY_UNARY, pb2.ServiceMetadataRequest,
                pb2.ServiceMetadataResponse,
            )  # fmt: skip
        return mapping


async def serve(pb2, folder):
    server = grpclib.server.Server([Service(pb2, folder)])
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]
    print(f"listening on 127.0.0.1:{port}", flush=True)
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    await ends.wait()
    server.close()
    await server.wait_closed()


async def ask(pb2, address, folder, count):
    host, port = address.rsplit(":", 1)
    expected = peers.pictures(folder)
    flat = hasattr(pb2, "StreamImageResponse")
    answer = pb2.StreamImageResponse if flat else pb2.StreamImagesResponse
    good = 0
    async with grpclib.client.Channel(host, int(port)) as channel:
        unary, stream = grpclib.client.UnaryUnaryMethod, grpclib.client.UnaryStreamMethod
        if flat:
            metadata = unary(
                channel, PATH + "ServiceMetadata", pb2.ServiceMetadataRequest,
                pb2.ServiceMetadataResponse,
            )  # fmt: skip
            await metadata(pb2.ServiceMetadataRequest())
        listing = unary(
            channel, PATH + "ListImages", pb2.ListImagesRequest, pb2.ListImagesResponse
        )
        names = list((await listing(pb2.ListImagesRequest())).image_names)
        if names != list(expected):
            raise SystemExit(f"the names are {names}")
        wanted = [names[i % len(names)] for i in range(count)]
        streaming = stream(channel, PATH + "StreamImages", pb2.StreamImagesRequest, answer)
        for name, message in zip(
            wanted, await streaming(pb2.StreamImagesRequest(image_names=wanted)), strict=True
        ):
            image = image_of(message)
            if image.name != name or image.content != expected[name]:
                raise SystemExit(f"image {good} is not {name}")
            good += 1
    print(good)


def main():
    role, *words = sys.argv[1:]
    if role == "server":
        pb2, _ = peers.stubs(*words[1:2])
        asyncio.run(serve(pb2, words[0]))
    else:
        pb2, _ = peers.stubs(*words[3:4])
        asyncio.run(ask(pb2, words[0], words[1], int(words[2])))


if __name__ == "__main__":
    main()
