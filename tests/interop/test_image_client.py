"""lab's image client, over each engine, against servers of grpcio, grpc for C++ and grpclib, and
against some that are not to be trusted.

Run by hand: LAB=build/lab LAB_BUILD=build python3 tests/interop/test_image_client.py -v
"""

import contextlib
import importlib.util
import os
import socket
import sys
import threading
import unittest

import peers  # and where harness lies
import harness

# By number, not by time: some of these servers take long for an image on a busy machine.
SHORT = ("-q", "-r", "1", "-n", "12", "--timeout", str(20 * harness.SLOWER), "--json-compact")


def setUpModule():
    for module, package in (("grpc", "python3-grpcio"), ("google.protobuf", "python3-protobuf")):
        try:
            found = importlib.util.find_spec(module)
        except ImportError:
            found = None
        if found is None:
            raise unittest.SkipTest(f"{module} is not there (apt install {package})")


class ClientCase(peers.PeerCase):
    def grpcio(self, *words):
        """The address of a server in Python."""
        program = os.path.join(peers.HERE, "grpcio_server.py")
        return self.peer(sys.executable, program, peers.PICTURES, *words)[1]

    def run_against(self, address, *words, exit_code=0):
        """The one trial of a run."""
        document = self.run_json(
            "image-stream", "--server", address, "-e", self.engine, *SHORT, *words,
            exit_code=exit_code,
        )  # fmt: skip
        return document["cases"][0]["trials"][0]

    def assert_good(self, trial):
        self.assertEqual((trial["errors"], trial["errors_by_kind"]), (0, {}))
        self.assertGreater(trial["ops"], 0)

    def both_rpcs(self, address, *words):
        size = sum(map(len, peers.pictures().values()))
        trial = self.run_against(address, "--images-per-op", "6", *words)
        self.assert_good(trial)
        self.assertEqual(trial["bytes"], trial["ops"] * 2 * size)
        self.assert_good(self.run_against(address, "--rpc", "list", *words))


@peers.for_each_engine(globals())
class Servers(ClientCase):
    def test_grpcio(self):
        self.both_rpcs(self.grpcio(), "-c", "2", "--depth", "3")

    def test_grpcio_flat(self):
        self.both_rpcs(self.grpcio("--contract", "flat"), "--contract", "flat")

    def test_grpcio_with_coroutines(self):
        self.both_rpcs(self.grpcio("--aio"))

    def test_grpcio_a_connection_an_op(self):
        self.both_rpcs(self.grpcio(), "--reconnect")

    def test_grpc_cpp(self):
        server = os.path.join(peers.BUILD, "tests", "interop", "grpc_cpp", "grpc_cpp_server")
        if not os.path.exists(server):
            self.skipTest("the gRPC C++ pair is not built (apt install libgrpc++-dev)")
        _, address = self.peer(server, peers.PICTURES)
        self.both_rpcs(address, "-c", "3", "--depth", "4")

    def test_grpclib(self):
        if importlib.util.find_spec("grpclib") is None:
            self.skipTest("PyPI's grpclib is not there")
        program = os.path.join(peers.HERE, "grpclib_peer.py")
        for contract in ("nested", "flat"):
            _, address = self.peer(sys.executable, program, "server", peers.PICTURES, contract)
            self.both_rpcs(address, "--contract", contract)

    def test_the_bare_server(self):
        server = os.path.join(peers.BUILD, "bench", "bare", "bare_nghttp2")
        if not os.path.exists(server):
            self.skipTest("the bare pair is not built (apt install libnghttp2-dev)")
        _, address = self.peer(server, "server", "--port", 0, "--images", peers.PICTURES)
        self.both_rpcs(address, "-c", "3", "--depth", "4")


class Untrustworthy(ClientCase):
    """Each fault is in the second image of an RPC: none of them is a good op. What finds it out is
    the same over every engine."""

    def setUp(self):
        super().setUp()
        if reason := peers.image_stream_reason():
            self.skipTest(reason)

    def bad(self, fault, *words):
        """The kinds of errors that were counted."""
        address = self.grpcio("--fault", fault)
        words = ("-n", "3", "--images-per-op", "3", *words)
        trial = self.run_against(address, *words, exit_code=1)
        self.assertEqual(trial["ops"], 0)
        self.assertGreater(trial["errors"], 0)
        return tuple(trial["errors_by_kind"])

    def test_wrong_images(self):
        for fault in ("content", "name", "size"):
            self.bad(fault)

    def test_kinds_are_told_apart(self):
        kinds = {fault: self.bad(fault) for fault in ("content", "fewer", "status")}
        self.assertEqual(len(set(kinds.values())), len(kinds), kinds)

    def test_too_many(self):
        self.bad("more")

    def test_silence(self):
        self.bad("silent", "--timeout", "200ms")

    def test_one_that_is_late_fails_alone(self):
        words = ("-n", "40", "--depth", "4", "--timeout", f"{3 * harness.SLOWER}s")
        trial = self.run_against(self.grpcio("--fault", "hangs-once"), *words, exit_code=1)
        self.assertEqual(trial["errors_by_kind"], {"timeout": 1})
        self.assertEqual(trial["ops"], 39)


class Heard(ClientCase):
    """What a server, or a proxy before it, hears: whom it is taken for, and what it may send."""

    def setUp(self):
        super().setUp()
        if reason := peers.image_stream_reason():
            self.skipTest(reason)
        if importlib.util.find_spec("h2") is None:
            self.skipTest("PyPI's h2 is not there (grpclib brings it)")

    @contextlib.contextmanager
    def refusing(self):
        """A server that answers 503: (its port, the set of what it heard with each request)."""
        heard = set()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self.accept, args=(listener, heard), daemon=True).start()
            yield listener.getsockname()[1], heard
            listener.shutdown(socket.SHUT_RDWR)

    def accept(self, listener, heard):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                threading.Thread(target=self.refuse, args=(conn, heard), daemon=True).start()

    @staticmethod
    def refuse(conn, heard):
        import h2.config
        import h2.connection
        import h2.events

        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        http = h2.connection.H2Connection(config=config)
        http.initiate_connection()
        with conn, contextlib.suppress(OSError):
            conn.sendall(http.data_to_send())
            while data := conn.recv(65536):
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        may = http.remote_settings
                        authority = dict(event.headers)[":authority"]
                        heard.add((authority, may.initial_window_size, may.max_frame_size))
                        answer = [(":status", "503")]
                        http.send_headers(event.stream_id, answer, end_stream=True)
                conn.sendall(http.data_to_send())

    def test_what_the_user_typed(self):
        for host, *may in (("localhost", 100000, 32768), ("127.0.0.1", 1 << 20, (1 << 24) - 1)):
            words = ("--window", str(may[0]), "--frame-size", str(may[1]))
            with self.subTest(host=host), self.refusing() as (port, heard):
                trial = self.run_against(f"{host}:{port}", "-n", "2", *words, exit_code=1)
                self.assertEqual(trial["errors_by_kind"], {"http-status": 2})
                self.assertEqual(heard, {(f"{host}:{port}", *may)})


@peers.for_each_engine(globals())
class Larger(ClientCase):
    def test_a_message_that_is_too_large(self):
        trial = self.run_against(self.grpcio(), "--max-message", "300kB", exit_code=1)
        self.assertEqual(trial["ops"], 0)

    def test_small_windows(self):
        """They hold the answers up, which the client knows of anybody's server."""
        trial = self.run_against(self.grpcio(), "--window", "64KiB")
        self.assert_good(trial)
        stalled = [m for m in trial["metrics"] if m["name"] == "stalled_ns"][0]
        self.assertEqual(stalled["count"], trial["ops"])
        self.assertGreater(stalled["value"]["max"], 0)


if __name__ == "__main__":
    harness.main()
