"""lab's image server, over each engine, asked by grpcio, its health and reflection clients, and by
programs of grpc for C++ and of grpclib.

Run by hand: LAB=build/lab LAB_BUILD=build python3 tests/interop/test_image_server.py -v
"""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import peers  # and where harness lies
import harness
from harness import SLOWER

try:
    import grpc
except ImportError as error:
    grpc = None
    WHY = f"grpcio is not there ({error}): apt install python3-grpcio"

DEADLINE_S = 20 * SLOWER
PB2 = GRPC = None


def setUpModule():
    global PB2, GRPC
    if grpc is None:
        raise unittest.SkipTest(WHY)
    PB2, GRPC = peers.stubs()


class ServerCase(peers.PeerCase):
    """A server, a channel to it, and what every test asks."""

    def open(self, *words, options=()):
        self.process, self.address = self.serve_images(*words)
        self.channel = grpc.insecure_channel(self.address, options=options)
        self.addCleanup(self.channel.close)
        self.stub = GRPC.ImageServiceStub(self.channel)
        return self.stub

    def images(self, names, stub=None, **options):
        request = PB2.StreamImagesRequest(image_names=names)
        answers = (stub or self.stub).StreamImages(request, timeout=DEADLINE_S, **options)
        return [answer.image for answer in answers]

    def assert_right(self, images, names):
        expected = peers.pictures()
        self.assertEqual([image.name for image in images], list(names))
        for image in images:
            self.assertEqual(image.size_in_bytes, len(expected[image.name]))
            self.assertTrue(image.content == expected[image.name], f"{image.name} differs")

    def assert_lives(self):
        """Whatever was done to it before, a server still answers, on a new connection too."""
        self.assert_right(self.images(["image-2.jpg"]), ["image-2.jpg"])
        with grpc.insecure_channel(self.address) as channel:
            stub = GRPC.ImageServiceStub(channel)
            self.assert_right(self.images(["image-0.jpg"], stub), ["image-0.jpg"])
        self.assertIsNone(self.process.poll(), "the server has ended")

    def refused(self, code, call, *words, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*words, timeout=DEADLINE_S, **options)
            if not isinstance(result, bytes) and hasattr(result, "__iter__"):
                list(result)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception

    def raw(self, method, kind="unary_unary"):
        """A call of bytes and no messages."""
        return getattr(self.channel, kind)(method)


@peers.for_each_engine(globals())
class Contract(ServerCase):
    def test_lists_what_it_has(self):
        self.open()
        answer = self.stub.ListImages(PB2.ListImagesRequest(), timeout=DEADLINE_S)
        self.assertEqual(list(answer.image_names), list(peers.pictures()))

    def test_streams_in_the_order_asked_and_repeats(self):
        self.open()
        names = ["image-1.jpg", "image-0.jpg", "image-1.jpg"] + list(peers.pictures()) * 10
        self.assert_right(self.images(names), names)

    def test_no_names_no_images(self):
        self.open()
        self.assertEqual(self.images([]), [])

    def test_skips_what_is_unknown(self):
        self.open()
        self.assert_right(self.images(["a", "image-2.jpg", "../image-0.jpg"]), ["image-2.jpg"])

    def test_refuses_what_is_unknown_when_told_to(self):
        self.open("--unknown", "not-found")
        request = PB2.StreamImagesRequest(image_names=["image-2.jpg", "a b%c"])
        error = self.refused(grpc.StatusCode.NOT_FOUND, self.stub.StreamImages, request)
        self.assertIn("a b%c", error.details())
        self.assert_lives()

    def test_serves_a_folder(self):
        contents = {"b.png": b"\x89PNG" * 70000, "a.bin": b"\0", "c.JPG": b"c" * 5}
        folder = os.path.join(self.folder, "images")
        os.mkdir(folder)
        for name, content in contents.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        self.open("--images", folder)
        names = list(self.stub.ListImages(PB2.ListImagesRequest()).image_names)
        self.assertEqual(names, sorted(contents))
        for image in self.images(names):
            self.assertTrue(image.content == contents[image.name], image.name)
            self.assertEqual(image.size_in_bytes, len(contents[image.name]))

    def test_many_streams_on_one_connection(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 3)
        calls = [self.stub.StreamImages(request, timeout=DEADLINE_S) for _ in range(20)]
        wrong = []

        def take(call):
            try:
                self.assert_right([answer.image for answer in call], request.image_names)
            except Exception as error:  # whatever it is, it is told by the test's own thread
                wrong.append(error)

        threads = [threading.Thread(target=take, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_takes_metadata_that_it_does_not_know(self):
        self.open()
        metadata = [("x-word", "a value"), ("x-bytes-bin", bytes(range(256))), ("x" * 100, "y")]
        names = ["image-2.jpg"]
        self.assert_right(self.images(names, metadata=metadata), names)


@peers.for_each_engine(globals())
class Trouble(ServerCase):
    def test_unknown_method_and_service(self):
        self.open()
        for path in (f"/{peers.SERVICE}/NoSuch", "/no.Service/ListImages", "/nothing"):
            self.refused(grpc.StatusCode.UNIMPLEMENTED, self.raw(path), b"")
        self.assert_lives()

    def test_a_request_that_is_no_message(self):
        self.open()
        call = self.raw(f"/{peers.SERVICE}/StreamImages", "unary_stream")
        for request in (b"\x0a\xff", b"\x0a\x05ab", b"\xff" * 20):
            self.refused(grpc.StatusCode.INTERNAL, call, request)
        self.assert_lives()

    def test_a_request_that_is_too_large(self):
        self.open("--request-max", "64KiB")
        request = PB2.StreamImagesRequest(image_names=["x" * 70000])
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, self.stub.StreamImages, request)
        self.assert_lives()

    def test_a_compressed_request(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=["image-0.jpg"] * 50)
        self.refused(
            grpc.StatusCode.UNIMPLEMENTED, self.stub.StreamImages, request,
            compression=grpc.Compression.Gzip,
        )  # fmt: skip
        self.assert_lives()

    def test_a_refusal_says_what_encodings_are_taken(self):
        self.open()
        for headers, taken in ([], False), (["grpc-encoding: gzip"], True):
            body = b"\1\0\0\0\1x" if taken else bytes(5)
            answer = subprocess.run(
                ["curl", "-s", "-D", "-", "-o", "/dev/null", "--http2-prior-knowledge",
                 "--data-binary", "@-", "-H", "te: trailers", "-H",
                 "content-type: application/grpc", *(w for h in headers for w in ("-H", h)),
                 f"http://{self.address}/{peers.SERVICE}/ListImages"],
                input=body, capture_output=True, check=True,
            )  # fmt: skip
            head = answer.stdout.decode().lower()
            self.assertIn("grpc-status: 12" if taken else "grpc-status: 0", head)
            self.assertEqual("grpc-accept-encoding: identity" in head, taken)

    def test_sigterm_lets_calls_end(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 10)
        call = self.stub.StreamImages(request, timeout=DEADLINE_S)
        next(call)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(sum(1 for _ in call), 29)
        self.assertEqual(call.code(), grpc.StatusCode.OK)
        code, _, err = self.finish(self.process)
        self.assertEqual((code, err), (0, ""))

    def test_a_deadline_that_passes(self):
        # A window that the client never opens again: the server has to notice by itself.
        self.open(options=[("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)])
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 30)
        call = self.stub.StreamImages(request, timeout=0.3 * SLOWER)
        next(call)
        time.sleep(0.5 * SLOWER)
        with self.assertRaises(grpc.RpcError) as caught:
            list(call)
        # Who notices first says how: the client by itself, or the server's RST_STREAM (CANCEL).
        self.assertIn(
            caught.exception.code(),
            (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED),
        )
        self.assert_lives()

    def test_calls_that_are_cancelled(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 30)
        for received in (0, 1, 2, 5) * 3:
            call = self.stub.StreamImages(request, timeout=DEADLINE_S)
            for _ in range(received):
                next(call)
            call.cancel()
            with self.assertRaises(grpc.RpcError):
                list(call)
            self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.assert_lives()

    def test_a_client_that_goes_away(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 30)
        for _ in range(5):
            channel = grpc.insecure_channel(self.address)
            call = GRPC.ImageServiceStub(channel).StreamImages(request, timeout=DEADLINE_S)
            next(call)
            channel.close()
        self.assert_lives()

    def test_a_slow_reader_starves_nobody(self):
        self.open()
        request = PB2.StreamImagesRequest(image_names=list(peers.pictures()) * 30)
        slow = self.stub.StreamImages(request, timeout=DEADLINE_S)
        next(slow)
        for _ in range(3):
            self.assert_lives()
        self.assertEqual(sum(1 for _ in slow), 89)

    def test_keepalive_pings(self):
        self.open(options=[
            ("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 5000),
            ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
        ])  # fmt: skip
        self.assert_lives()
        states = []
        self.channel.subscribe(states.append)
        time.sleep(1)
        self.assert_lives()
        self.assertNotIn(grpc.ChannelConnectivity.TRANSIENT_FAILURE, states)
        self.assertNotIn(grpc.ChannelConnectivity.SHUTDOWN, states)


@peers.for_each_engine(globals())
class Health(ServerCase):
    def setUp(self):
        super().setUp()
        try:
            from grpc_health.v1 import health_pb2, health_pb2_grpc
        except ImportError:
            self.skipTest("PyPI's grpcio-health-checking is not there")
        self.pb2 = health_pb2
        self.open()
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def check(self, service):
        request = self.pb2.HealthCheckRequest(service=service)
        return self.health.Check(request, timeout=DEADLINE_S).status

    def test_check(self):
        for service in ("", peers.SERVICE):
            self.assertEqual(self.check(service), self.pb2.HealthCheckResponse.SERVING)
        self.refused(
            grpc.StatusCode.NOT_FOUND, self.health.Check, self.pb2.HealthCheckRequest(service="x")
        )

    def test_watch_tells_at_once(self):
        for service, expected in ((peers.SERVICE, "SERVING"), ("x", "SERVICE_UNKNOWN")):
            request = self.pb2.HealthCheckRequest(service=service)
            watch = self.health.Watch(request, timeout=DEADLINE_S)
            status = next(watch).status
            self.assertEqual(self.pb2.HealthCheckResponse.ServingStatus.Name(status), expected)
            watch.cancel()
        self.assert_lives()

    def test_watch_does_not_hold_up_the_end(self):
        watch = self.health.Watch(self.pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        next(watch)
        code, _, _ = self.finish(self.process, signal.SIGTERM)
        self.assertEqual(code, 0)


@peers.for_each_engine(globals())
class Reflection(ServerCase):
    def test_a_client_that_knows_no_schema(self):
        try:
            from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
                ProtoReflectionDescriptorDatabase,
            )
        except ImportError:
            self.skipTest("PyPI's grpcio-reflection is not there")
        from google.protobuf import descriptor_pool, message_factory

        self.open()
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertIn(peers.SERVICE, database.get_services())
        self.assertIn("grpc.health.v1.Health", database.get_services())
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName(peers.SERVICE).FindMethodByName("StreamImages")
        factory = message_factory.MessageFactory(pool)
        ask, answer = (factory.GetPrototype(t) for t in (method.input_type, method.output_type))
        call = self.channel.unary_stream(
            f"/{peers.SERVICE}/StreamImages", ask.SerializeToString, answer.FromString
        )
        images = [a.image for a in call(ask(image_names=["image-1.jpg"]), timeout=DEADLINE_S)]
        self.assert_right(images, ["image-1.jpg"])


@peers.for_each_engine(globals())
class Programs(peers.PeerCase):
    """Clients that are programs of their own."""

    def test_grpc_cpp(self):
        client = os.path.join(peers.BUILD, "tests", "interop", "grpc_cpp", "grpc_cpp_client")
        if not os.path.exists(client):
            self.skipTest("the gRPC C++ pair is not built (apt install libgrpc++-dev)")
        _, address = self.serve_images()
        for words in (["--connections", "4", "--streams", "3"], ["--list", "--streams", "10"]):
            done = self.tool(client, address, "--images", peers.PICTURES, "--ops", 30, *words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assert_says(done.stdout, '"errors":0')

    def test_grpclib(self):
        self.need_grpclib()
        for contract in ("nested", "flat"):
            _, address = self.serve_images("--contract", contract)
            done = self.tool(
                sys.executable, os.path.join(peers.HERE, "grpclib_peer.py"), "client", address,
                peers.PICTURES, 12, contract,
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout, "12\n")

    def need_grpclib(self):
        try:
            import grpclib  # noqa: F401
        except ImportError:
            self.skipTest("PyPI's grpclib is not there")

    def test_the_bare_client(self):
        client = os.path.join(peers.BUILD, "bench", "bare", "bare_nghttp2")
        if not os.path.exists(client):
            self.skipTest("the bare pair is not built (apt install libnghttp2-dev)")
        _, address = self.serve_images()
        port = address.rsplit(":", 1)[1]
        for words in (["--connections", "3", "--streams", "2"], ["--list", "--streams", "10"]):
            done = self.tool(
                client, "client", "--port", port, "--images", peers.PICTURES, "--verify",
                "--seconds", 0.2, "--warmup", 0, "--images-per-op", 7, "--json", *words,
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    harness.main()
