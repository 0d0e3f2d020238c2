"""The image stream over the dpdk engine's stack: grpcio as its client and as its server over tap,
lab's own engines of the kernel at the other end. Every image is checked.

usage: dpdk_images.py LAB [unittest's arguments]
"""

import concurrent.futures
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile

import dpdk_links
import peers
from dpdk_links import LAB, SERVER, TIMEOUT_S, expect

try:
    import grpc
except ImportError as error:
    grpc = None
    WHY = f"grpcio is not there ({error}): apt install python3-grpcio"

PORT = 50051
LARGE_BYTES = 9 << 20


# --- inside a namespace ---


class Asking:
    """A client of grpcio's, and what it has to be given."""

    def __init__(self, expected):
        self.expected = expected
        self.pb2, stubs = peers.stubs()
        self.channel = grpc.insecure_channel(
            f"{SERVER}:{PORT}", options=[("grpc.max_receive_message_length", -1)]
        )
        self.stub = stubs.ImageServiceStub(self.channel)

    def list(self):
        answer = self.stub.ListImages(self.pb2.ListImagesRequest(), timeout=TIMEOUT_S)
        expect(list(answer.image_names) == sorted(self.expected), f"another list: {answer}")

    def images(self, names):
        request = self.pb2.StreamImagesRequest(image_names=names)
        left = list(names)
        for answer in self.stub.StreamImages(request, timeout=TIMEOUT_S):
            image, name = answer.image, left.pop(0)
            good = image.name == name and image.content == self.expected[name]
            expect(good, f"{image.name} came for {name}, {len(image.content)} bytes")
        expect(not left, f"{left} did not come")


def client_of_default_pictures():
    """Calls one after the other, a long one, and many at a time on one connection."""
    with dpdk_links.server_over_tap(workload="image-stream"):
        asking = Asking(peers.pictures())
        with asking.channel:
            names = sorted(asking.expected)
            asking.list()
            for name in names:
                asking.images([name])
            asking.images(names * 10)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda n: asking.images(names[n % 3 :] + names), range(16)))
            for _ in range(50):
                asking.list()


def client_of_large_messages():
    """A message that is larger than all buffers on the way."""
    content = random.Random(9).randbytes(LARGE_BYTES)
    with tempfile.TemporaryDirectory(prefix="lab-images-") as folder:
        with open(os.path.join(folder, "large.bin"), "wb") as file:
            file.write(content)
        with dpdk_links.server_over_tap(workload="image-stream", words=("--images", folder)):
            asking = Asking({"large.bin": content})
            with asking.channel:
                asking.images(["large.bin"] * 2)


@contextlib.contextmanager
def grpcio_server(*words):
    program = os.path.join(peers.HERE, "grpcio_server.py")
    with dpdk_links.ended(
        subprocess.Popen(
            [sys.executable, program, *words, "--address", "0.0.0.0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
    ) as process:  # fmt: skip
        yield dpdk_links.listening(process).rpartition(":")[2]


def run_against(port, *words, bad=False):
    """lab's client in the stack; the one trial of its run."""
    command = [
        LAB, "run", "image-stream", "-q", "-e", "dpdk", "--link", "tap", "--server",
        f"{SERVER}:{port}", "-r", "1", "-n", "12", "--timeout", "30", *words, "--json", "-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    expect(done.returncode == (1 if bad else 0), done.stdout + done.stderr)
    return json.loads(done.stdout)["cases"][0]["trials"][0]


def server_of_grpcio():
    size = sum(map(len, peers.pictures().values()))
    for contract in ("nested", "flat"):
        with grpcio_server(peers.PICTURES, "--contract", contract) as port:
            words = ("--contract", contract, "--images-per-op", "6", "-c", "2", "--depth", "2")
            trial = run_against(port, *words)
            expect((trial["ops"], trial["errors"]) == (12, 0), trial["errors_by_kind"])
            expect(trial["bytes"] == 12 * 2 * size, trial["bytes"])
            trial = run_against(port, "--contract", contract, "--rpc", "list", "--reconnect")
            expect((trial["ops"], trial["errors"]) == (12, 0), trial["errors_by_kind"])


def server_of_wrong_pictures():
    """The check is on over this engine too."""
    with grpcio_server(peers.PICTURES, "--fault", "content") as port:
        trial = run_against(port, "-n", "3", bad=True)
        expect(trial["errors_by_kind"] == {"wrong-content": 3}, trial["errors_by_kind"])


INSIDE = {
    "client": client_of_default_pictures,
    "client-large": client_of_large_messages,
    "server": server_of_grpcio,
    "server-wrong": server_of_wrong_pictures,
}


# --- outside ---


class Grpcio(dpdk_links.Interop):
    def setUp(self):
        super().setUp()
        if grpc is None:
            self.skipTest(WHY)
        if reason := peers.image_stream_reason():
            self.skipTest(reason)
        peers.stubs()  # or what that lacks
        self.need_tun()

    def test_as_client(self):
        self.inside("client")

    def test_as_client_of_large_messages(self):
        self.inside("client-large")

    def test_as_server(self):
        self.inside("server")

    def test_as_server_of_wrong_pictures(self):
        self.inside("server-wrong")


class LabsEngines(dpdk_links.BothWays):
    workload = "image-stream"
    WORDS = ("-n", "12", "--images-per-op", "6", "-c", "2", "--depth", "2")

    def setUp(self):
        super().setUp()
        if reason := peers.image_stream_reason():
            self.skipTest(reason)

    def test_over_tap(self):
        self.need_tun()
        self.both_ways("tap", *self.WORDS)

    def test_over_veth(self):
        self.both_ways("veth", *self.WORDS)

    def test_with_faults_on_the_way(self):
        self.both_ways("veth:loss=5,duplicate=10,reorder=20,seed=7", "-n", "4")


if __name__ == "__main__":
    dpdk_links.main(__doc__, INSIDE)
