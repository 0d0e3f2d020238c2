"""lab's image server asked by the tools of nghttp2 and by curl: HTTP/2 as others speak it, and
gRPC's status where they look for it.

Run by hand: LAB=build/lab LAB_BUILD=build python3 tests/interop/test_image_tools.py -v
"""

import os
import re
import signal
import struct
import subprocess
import time

import peers  # and where harness lies
import harness

GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")
LIST = f"/{peers.SERVICE}/ListImages"
STREAM = f"/{peers.SERVICE}/StreamImages"


def framed(message):
    """A message as gRPC puts it into a body."""
    return b"\0" + struct.pack(">I", len(message)) + message


def request_of(names):
    encoded = [name.encode() for name in names]
    return framed(b"".join(b"\x0a" + bytes([len(name)]) + name for name in encoded))


def messages_of(body):
    """The messages in a body; whatever is left over is no message."""
    messages = []
    while body:
        size = struct.unpack(">I", body[1:5])[0]
        assert body[0] == 0 and len(body) >= 5 + size, "the body ends within a message"
        messages.append(body[5 : 5 + size])
        body = body[5 + size :]
    return messages


class ToolCase(peers.PeerCase):
    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()


@peers.for_each_engine(globals())
class H2load(ToolCase):
    def load(self, address, path, body, *words):
        tool = peers.need("h2load", "nghttp2-client")
        done = self.tool(
            tool, *words, *GRPC, "-d", self.file("body", body), f"http://{address}{path}"
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def assert_all(self, text, count):
        self.assert_says(
            text, f"requests: {count} total, {count} started, {count} done, {count} succeeded, "
            "0 failed, 0 errored, 0 timeout", f"status codes: {count} 2xx",
        )  # fmt: skip

    def test_lists(self):
        _, address = self.serve_images()
        text = self.load(address, LIST, framed(b""), "-n", "2000", "-c", "8", "-m", "10")
        self.assert_all(text, 2000)

    def test_streams(self):
        _, address = self.serve_images()
        names = list(peers.pictures())
        text = self.load(
            address, STREAM, request_of(names * 3), "-n", "60", "-c", "3", "-m", "5"
        )
        self.assert_all(text, 60)
        size = 60 * 3 * sum(map(len, peers.pictures().values()))
        data = int(re.search(r"\((\d+)\) data", text).group(1))
        self.assertGreater(data, size)
        self.assertLess(data, size + 60 * 9 * 100)

    def test_small_windows_and_frames(self):
        _, address = self.serve_images()
        text = self.load(
            address, STREAM, request_of(["image-2.jpg"]), "-n", "40", "-c", "2", "-m", "4",
            "-w", "16", "-W", "17",
        )  # fmt: skip
        self.assert_all(text, 40)

    def test_requests_that_are_abandoned(self):
        process, address = self.serve_images()
        tool = peers.need("h2load", "nghttp2-client")
        body = self.file("body", request_of(list(peers.pictures()) * 80))
        load = self.peer_in_background(
            tool, "-D", "10", "-c", "4", "-m", "10", *GRPC, "-d", body, f"http://{address}{STREAM}"
        )
        self.wait_for_traffic(process.pid)
        load.send_signal(signal.SIGKILL)
        load.wait()
        self.assert_all(self.load(address, LIST, framed(b""), "-n", "100", "-c", "2"), 100)

    def peer_in_background(self, *words):
        process = subprocess.Popen(
            [str(word) for word in words], env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._started.append(process)
        return process

    def wait_for_traffic(self, pid):
        """Until the server has used CPU time, so that streams are under way."""
        until = time.monotonic() + harness.TIMEOUT_S
        while time.monotonic() < until:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            if int(fields[11]) + int(fields[12]) >= 10:  # ticks of 10 ms
                return
            time.sleep(0.02)
        self.fail("the server was never asked")


@peers.for_each_engine(globals())
class Curl(ToolCase):
    def curl(self, address, path, body, *words):
        """(what came, {header or trailer: value})"""
        tool = peers.need("curl", "curl")
        done = self.tool(
            tool, "--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "20",
            "--output", "answer", "--dump-header", "heads", *GRPC, *words,
            "--data-binary", "@" + self.file("body", body), f"http://{address}{path}",
        )  # fmt: skip
        if "unsupported" in done.stderr or "Unsupported" in done.stderr:
            self.skipTest("this curl knows no HTTP/2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = self.read("heads").decode().split("\r\n")
        heads = dict(line.split(": ", 1) for line in lines if ": " in line)
        self.assertTrue(lines[0].startswith("HTTP/2 200"), lines)
        name = "answer"
        return self.read(name) if os.path.exists(os.path.join(self.folder, name)) else b"", heads

    def test_list(self):
        _, address = self.serve_images()
        answer, heads = self.curl(address, LIST, framed(b""))
        names = b"".join(b"\x0a\x0b" + name.encode() for name in peers.pictures())
        self.assertEqual(messages_of(answer), [names])
        self.assertEqual((heads["content-type"], heads["grpc-status"]), ("application/grpc", "0"))

    def test_stream(self):
        _, address = self.serve_images()
        expected = peers.pictures()
        names = ["image-2.jpg", "image-0.jpg"] * 3
        answer, heads = self.curl(address, STREAM, request_of(names))
        messages = messages_of(answer)
        self.assertEqual(len(messages), len(names))
        for name, message in zip(names, messages):
            self.assertIn(name.encode(), message[:32])
            self.assertIn(expected[name], message)
        self.assertEqual(heads["grpc-status"], "0")

    def test_a_status_is_text_that_fits_into_a_header(self):
        _, address = self.serve_images("--unknown", "not-found")
        _, heads = self.curl(address, STREAM, request_of(["a%b \u00fc"]))
        self.assertEqual(heads["grpc-status"], "5")
        self.assertRegex(heads["grpc-message"], r"^[ -~]+$")
        self.assertIn("a%25b %C3%BC", heads["grpc-message"])

    def test_what_is_no_grpc(self):
        process, address = self.serve_images()
        tool = peers.need("curl", "curl")
        done = self.tool(
            tool, "--http2-prior-knowledge", "-s", "-o", os.devnull, "-w", "%{http_code}",
            f"http://{address}/",
        )  # fmt: skip
        self.assertRegex(done.stdout, "^(4..|200)$")
        # And HTTP/1.1 is told so by closing, at the latest.
        self.tool(tool, "--http1.1", "-s", "--max-time", "20", f"http://{address}/")
        self.assertIsNone(process.poll())
        answer, _ = self.curl(address, LIST, framed(b""))
        self.assertEqual(len(messages_of(answer)), 1)


@peers.for_each_engine(globals())
class Nghttp(ToolCase):
    def test_frames(self):
        """Headers, DATA, trailers: the status is in a HEADERS frame that ends the stream."""
        _, address = self.serve_images()
        tool = peers.need("nghttp", "nghttp2-client")
        done = self.tool(
            tool, "-v", "-n", "-w", "20", "-W", "20", "-H", ":method: POST", *GRPC, "-d",
            self.file("body", request_of(["image-1.jpg"] * 2)), f"http://{address}{STREAM}",
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        received = r"recv (\w+) frame <length=(\d+), flags=0x(\w+), stream_id=13"
        frames = re.findall(received, done.stdout)
        kinds = [kind for kind, _, _ in frames]
        self.assertEqual(kinds[0], "HEADERS")
        self.assertEqual((kinds[-1], frames[-1][2]), ("HEADERS", "05"))
        size = sum(int(length) for kind, length, _ in frames if kind == "DATA")
        self.assertGreater(size, 2 * len(peers.pictures()["image-1.jpg"]))
        self.assert_says(done.stdout, "grpc-status: 0")

    def test_an_answer_before_the_request_has_ended(self):
        _, address = self.serve_images()
        tool = peers.need("nghttp", "nghttp2-client")
        done = self.tool(
            tool, "-v", "-n", "-H", ":method: POST", *GRPC, "-d", self.file("body", framed(b"")),
            f"http://{address}/no.Service/Method",
        )  # fmt: skip
        self.assert_says(done.stdout, "grpc-status: 12")


if __name__ == "__main__":
    harness.main()
