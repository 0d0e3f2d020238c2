"""`lab serve` as a program of its own, with clients that lab did not write."""

import contextlib
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

from harness import EXIT_FAILED, EXIT_OK, LAB, SLOWER, LabCase, main


def connect(address, timeout_s=10 * SLOWER):
    if address.startswith("unix:"):
        conn = socket.socket(socket.AF_UNIX)
        conn.settimeout(timeout_s)
        name = address[len("unix:") :]
        conn.connect("\0" + name[1:] if name.startswith("@") else name)
        return conn
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)


def read_to_end(conn):
    data = b""
    while piece := conn.recv(65536):
        data += piece
    return data


def fill(conns):
    """Sends to all, and reads nothing, until nobody takes more for a while."""
    idle_since = time.monotonic()
    for conn in conns:
        conn.setblocking(False)
    while time.monotonic() - idle_since < 0.3:
        for conn in select.select([], conns, [], 0.05)[1]:
            try:
                conn.send(b"x" * 65536)
                idle_since = time.monotonic()
            except BlockingIOError:
                pass


def reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


class Serve(LabCase):
    def assert_ends_well(self, process, signal_number=signal.SIGTERM):
        code, _, stderr = self.finish(process, signal_number)
        self.assertEqual(code, EXIT_OK, stderr)
        return stderr

    def wait_for_connections(self, process, descriptors):
        """Until it has so many."""
        files = f"/proc/{process.pid}/fd"
        until = time.monotonic() + 20 * SLOWER
        while len(os.listdir(files)) < descriptors and time.monotonic() < until:
            time.sleep(0.002)

    def test_any_client_is_echoed_over_every_engine(self):
        message = os.urandom(300_000)
        for engine in ("blocking", "epoll", "io_uring"):
            for listen in ("127.0.0.1:0", "[::1]:0", f"unix:{self.folder}/s.sock"):
                with self.subTest(engine=engine, listen=listen):
                    process, address = self.serve("-e", engine, listen=listen)
                    with connect(address) as conn:
                        conn.sendall(message)
                        conn.shutdown(socket.SHUT_WR)
                        self.assertEqual(read_to_end(conn), message)
                    self.assertEqual(self.assert_ends_well(process), "")

    def test_an_abstract_socket(self):
        name = f"@lab-test-{os.getpid()}"
        process, address = self.serve(listen=f"unix:{name}")
        self.assertEqual(address, f"unix:{name}")
        with connect(address) as conn:
            conn.sendall(b"x")
            self.assertEqual(conn.recv(10), b"x")
        self.assert_ends_well(process, signal.SIGINT)

    def test_the_port_of_the_workload_is_the_default(self):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", 8888))
            except OSError:
                self.skipTest("port 8888 is taken here")
        process = self.start("serve", "echo")
        self.assertEqual(process.stdout.readline(), "listening on 127.0.0.1:8888\n")
        self.assert_ends_well(process)

    def test_what_is_under_way_is_drained(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                process, address = self.serve()
                with connect(address) as conn:
                    conn.sendall(b"z" * 1000)
                    self.assertEqual(conn.recv(1, socket.MSG_PEEK), b"z")
                    process.send_signal(number)
                    self.assertEqual(len(read_to_end(conn)), 1000)
                self.assert_ends_well(process, number)

    def test_too_few_descriptors_are_named(self):
        """With a worker a connection it is the worker that finds none."""
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))

        for engine in ("blocking", "epoll"):
            with self.subTest(engine=engine):
                process, address = self.serve("-e", engine, preexec_fn=few)
                conns = [connect(address) for _ in range(30)]
                line = process.stderr.readline()
                self.assert_says(line, "connection", "Too many open files; raise ulimit -n")
                for conn in conns:
                    conn.close()
                self.assert_ends_well(process)

    def test_stopped_while_connections_come(self):
        """Where each is handed to a worker: none is handed to one that has ended."""
        seed = random.Random(1)
        for words in (("-e", "epoll", "--server-workers", "4"), ("-e", "blocking")):
            for _ in range(5):
                process, address = self.serve(*words)
                before = len(os.listdir(f"/proc/{process.pid}/fd"))
                client = self.start(
                    "run", "echo", address, "-q", "-e", "epoll", "-r", "1", "-c", "16", "-d", "60s",
                    "--reconnect", "--close", "rst", "--timeout", "200ms",
                )  # fmt: skip
                self.wait_for_connections(process, before + 4)
                time.sleep(seed.random() * 0.05)
                with self.subTest(words=words):
                    self.assertEqual(self.assert_ends_well(process), "")
                self.finish(client, signal.SIGINT)

    def test_a_second_one_on_the_same_address(self):
        for listen in ("127.0.0.1:0", f"unix:{self.folder}/s.sock"):
            with self.subTest(listen=listen):
                process, address = self.serve(listen=listen)
                self.assert_refused(
                    "serve", "echo", "--listen", address, says=(address, "another process does")
                )
                self.assert_ends_well(process)

    def test_a_killed_one_does_not_stop_the_next(self):
        listen = f"unix:{self.folder}/s.sock"
        process, _ = self.serve(listen=listen)
        self.finish(process, signal.SIGKILL)
        process, address = self.serve(listen=listen)
        with connect(address) as conn:
            conn.sendall(b"x")
            self.assertEqual(conn.recv(10), b"x")
        self.assert_ends_well(process)
        self.assertFalse(os.path.exists(f"{self.folder}/s.sock"))

    def test_a_file_in_the_way_is_left_alone(self):
        path = os.path.join(self.folder, "precious")
        with open(path, "w", encoding="utf-8") as file:
            file.write("text")
        self.assert_refused("serve", "echo", "--listen", f"unix:{path}", says="no socket")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "text")

    def test_addresses_that_cannot_be(self):
        for address, says in (
            ("192.0.2.1:8888", "no such address"),
            ("nonsense", "give an address such as"),
            ("unix:/nowhere/at/all.sock", "/nowhere/at/all.sock"),
            (f"unix:/{'x' * 200}", "--listen"),
            ("127.0.0.1:65536", "--listen"),
        ):
            with self.subTest(address=address):
                self.assert_refused("serve", "echo", "--listen", address, says=says)


class EngineFailure(LabCase):
    """The engine's waiting fails, as of a descriptor that is gone."""

    # Leaks cannot be looked for in what is traced.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

    def failing(self, when):
        if not shutil.which("strace"):
            self.skipTest("strace is not there")
        inject = f"inject=epoll_pwait2,epoll_wait:error=EBADF:when={when}+"
        if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode != 0:
            self.skipTest("nothing can be traced here")
        return ("strace", "-f", "-qq", "-e", inject, "-o", "/dev/null")

    def test_ends_the_server(self):
        process = self.launch(
            *self.failing(when=3), LAB, "serve", "echo", "--listen", "127.0.0.1:0", env=self.env
        )
        address = self.address_of(process, "lab serve")
        until = time.monotonic() + 20 * SLOWER
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), connect(address) as conn:
                conn.sendall(b"x")
                conn.recv(1)
        code, _, stderr = self.finish(process)
        self.assertEqual(code, EXIT_FAILED, stderr)
        self.assert_says(stderr, "lab: the epoll engine failed: Bad file descriptor")

    def test_fails_the_trial(self):
        via = " ".join(self.failing(when=200))
        result = self.lab(
            "run", "echo", "-q", "-e", "epoll", "-r", "1", "-d", "1s", "--server-via", via,
            env=self.env,
        )  # fmt: skip
        self.assert_exit(result, EXIT_FAILED)
        self.assert_says(
            result.stderr, "exit code 4", "last words: lab: the epoll engine failed: Bad file"
        )


class Limits(LabCase):
    def test_answers_once_and_closes(self):
        process, address = self.serve("--close-after-reply")
        for _ in range(3):
            with connect(address) as conn:
                conn.sendall(b"one")
                self.assertEqual(read_to_end(conn), b"one")
        self.finish(process, signal.SIGTERM)

    def test_connections_max_refuses_and_says_how_many(self):
        process, address = self.serve("--connections-max", "2")
        kept = [connect(address) for _ in range(2)]
        for conn in kept:
            conn.sendall(b"x")
            self.assertEqual(conn.recv(10), b"x")
        for _ in range(5):
            with connect(address) as conn:
                try:
                    self.assertEqual(conn.recv(10), b"")
                except ConnectionResetError:
                    pass
        for conn in kept:  # those that are there go on
            conn.sendall(b"y")
            self.assertEqual(conn.recv(10), b"y")
            conn.close()
        _, _, stderr = self.finish(process, signal.SIGTERM)
        self.assert_says(stderr, "--connections-max is reached (2)")
        self.assertEqual(sum(int(n) for n in re.findall(r"refused (\d+)", stderr)), 5, stderr)

    def test_a_place_that_becomes_free_is_given_again(self):
        process, address = self.serve("--connections-max", "1")
        for _ in range(3):
            until = time.monotonic() + 10 * SLOWER
            answer = b""
            while answer != b"x" and time.monotonic() < until:
                with connect(address) as conn:
                    try:
                        conn.sendall(b"x")
                        answer = conn.recv(10)
                    except OSError:
                        answer = b""
            self.assertEqual(answer, b"x")
        self.finish(process, signal.SIGTERM)

    def test_clients_that_read_nothing_and_go_leave_nothing(self):
        for engine in ("blocking", "epoll", "io_uring"):
            with self.subTest(engine=engine):
                process, address = self.serve("-e", engine)
                files = f"/proc/{process.pid}/fd"
                before = len(os.listdir(files))
                conns = [connect(address) for _ in range(8)]
                fill(conns)
                # One that is there still, and takes nothing, does not hold up the end. It takes
                # the drain's two seconds, so that one engine has to do.
                stay = conns[:1] if engine == "io_uring" else []
                for conn in conns[len(stay) :]:
                    reset(conn)
                until = time.monotonic() + 20 * SLOWER
                while len(os.listdir(files)) > before + len(stay) and time.monotonic() < until:
                    time.sleep(0.05)
                self.assertEqual(len(os.listdir(files)), before + len(stay))
                code, _, stderr = self.finish(process, signal.SIGTERM)
                self.assertEqual(code, EXIT_OK, stderr)
                for conn in stay:
                    conn.close()

    def test_idle_closes_who_is_silent_and_nobody_else(self):
        process, address = self.serve("--idle", "400ms")
        with connect(address) as silent, connect(address) as busy:
            began = time.monotonic()
            silent.settimeout(0.02)
            closed_after = None
            while closed_after is None and time.monotonic() - began < 20 * SLOWER:
                busy.sendall(b"x")
                self.assertEqual(busy.recv(10), b"x")
                try:
                    self.assertEqual(silent.recv(10), b"")
                    closed_after = time.monotonic() - began
                except TimeoutError:
                    pass
            self.assertIsNotNone(closed_after, "it is open still")
            self.assertGreaterEqual(closed_after, 0.39)
            self.assertLess(closed_after, 0.6 + 2 * SLOWER)
            busy.sendall(b"y")
            self.assertEqual(busy.recv(10), b"y")
        self.finish(process, signal.SIGTERM)

    def test_fewer_descriptors_than_clients(self):
        soft = 40
        process, address = self.serve(
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
        )
        conns = [connect(address) for _ in range(soft + 10)]
        conns[0].sendall(b"x")
        self.assertEqual(conns[0].recv(10), b"x")
        for conn in conns[: soft - 5]:
            conn.close()
        # Whoever waited in the queue is served once there is room again.
        conns[-1].sendall(b"z")
        self.assertEqual(conns[-1].recv(10), b"z")
        for conn in conns:
            conn.close()
        code, _, stderr = self.finish(process, signal.SIGTERM)
        self.assertEqual(code, EXIT_OK, stderr)
        self.assert_says(stderr, "wait to be accepted", "raise ulimit -n")
        self.assertNotIn("refused", stderr, "they were served in the end")


class Usage(LabCase):
    def test_workloads_and_engines(self):
        self.assert_refused("serve", says="takes one workload: ")
        self.assert_refused("serve", "ecko", says=("'ecko'", "did you mean 'echo'?"))
        self.assert_refused("serve", "echo", "echo", says="takes one workload: ")
        self.assert_refused("serve", "echo", "-e", "epol", says=("--engine: ", "epoll"))
        self.assert_refused("serve", "echo", "--rate", "3", says="rate")

    def test_an_engine_whose_two_sides_are_one_process(self):
        for engine in ("null", "fault:over=null"):
            self.assert_refused(
                "serve", "echo", "-e", engine, "--listen", "0",
                says=("plays both sides in one process", f"lab run -e {engine}"),
            )  # fmt: skip

    def test_a_stream_has_no_answer_to_close_after(self):
        for words in (("--close-after-reply",), ("--close", "server")):
            self.assert_refused(
                "serve", "echo", "--listen", "0", "--one-way", *words,
                says=("--one-way is a stream", "does not go with " + " ".join(words)),
            )  # fmt: skip


if __name__ == "__main__":
    main()
