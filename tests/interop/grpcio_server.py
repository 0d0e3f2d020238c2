#!/usr/bin/env python3
"""An image server as one writes it with grpcio; and, with --fault, one that is not to be trusted.

usage: grpcio_server.py FOLDER [--contract nested|flat] [--aio] [--fault KIND] [--address HOST]

Its first line is `listening on HOST:PORT`. Ends with SIGTERM.
"""

import argparse
import asyncio
import signal
import threading
import time
from concurrent import futures

import grpc

import peers

FAULTS = ("hangs-once", "content", "name", "size", "fewer", "more", "status", "silent")
STATUS_TEXT = "out of paint: 100 % of it, für immer"


class Answers:
    """The messages of an RPC, right or wrong; both kinds of server send these."""

    def __init__(self, pb2, contract, folder, fault):
        self.pb2, self.contract, self.fault = pb2, contract, fault
        self.images = peers.pictures(folder)

    def one(self, name, fault=None):
        content = self.images[name]
        size = len(content)
        if fault == "content":
            middle = size // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if fault == "size":
            if self.contract == "flat":
                content = content[:-1]
            size -= 1
        if fault == "name":
            name = "x" + name
        if self.contract == "flat":
            return self.pb2.StreamImageResponse(name=name, format="jpg", content=content)
        image = self.pb2.Image(name=name, format="jpg", content=content, size_in_bytes=size)
        return self.pb2.StreamImagesResponse(image=image)

    def names(self, request):
        names = [name for name in request.image_names if name in self.images]
        if self.fault == "fewer":
            names.pop()
        if self.fault == "more":
            names.append(names[0])
        return names


def sync_servicer(base, answers):
    class Servicer(base):
        def ListImages(self, request, context):
            return answers.pb2.ListImagesResponse(image_names=list(answers.images))

        def StreamImages(self, request, context):
            for number, name in enumerate(answers.names(request)):
                if number == 1 and answers.fault == "status":
                    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, STATUS_TEXT)
                if answers.fault == "hangs-once":
                    answers.fault = None
                    while context.is_active():
                        time.sleep(0.02)
                    return
                if number == 1 and answers.fault == "silent":
                    threading.Event().wait(5)
                yield answers.one(name, answers.fault if number == 1 else None)

        def ServiceMetadata(self, request, context):
            return answers.pb2.ServiceMetadataResponse(metadata="grpcio")

    return Servicer()


def aio_servicer(base, answers):
    class Servicer(base):
        async def ListImages(self, request, context):
            return answers.pb2.ListImagesResponse(image_names=list(answers.images))

        async def StreamImages(self, request, context):
            for name in answers.names(request):
                yield answers.one(name)

        async def ServiceMetadata(self, request, context):
            return answers.pb2.ServiceMetadataResponse(metadata="grpcio aio")

    return Servicer()


def serve(pb2_grpc, answers, address):
    ends = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ends.set())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    pb2_grpc.add_ImageServiceServicer_to_server(
        sync_servicer(pb2_grpc.ImageServiceServicer, answers), server
    )
    port = server.add_insecure_port(f"{address}:0")
    server.start()
    print(f"listening on {address}:{port}", flush=True)
    ends.wait()
    server.stop(0)


async def serve_aio(pb2_grpc, answers, address):
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    server = grpc.aio.server()
    pb2_grpc.add_ImageServiceServicer_to_server(
        aio_servicer(pb2_grpc.ImageServiceServicer, answers), server
    )
    port = server.add_insecure_port(f"{address}:0")
    await server.start()
    print(f"listening on {address}:{port}", flush=True)
    await ends.wait()
    await server.stop(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--contract", choices=("nested", "flat"), default="nested")
    parser.add_argument("--aio", action="store_true", help="as coroutines")
    parser.add_argument("--fault", choices=FAULTS, help="in the second image of an RPC")
    parser.add_argument("--address", default="127.0.0.1")
    options = parser.parse_args()
    pb2, pb2_grpc = peers.stubs(options.contract)
    answers = Answers(pb2, options.contract, options.folder, options.fault)
    if options.aio:
        asyncio.run(serve_aio(pb2_grpc, answers, options.address))
    else:
        serve(pb2_grpc, answers, options.address)


if __name__ == "__main__":
    main()
