"""What goes wrong outside of lab: each is a sentence, an exit code, and nothing left behind."""

import os
import resource
import shutil
import socket
import subprocess

from harness import (
    EXIT_BAD,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    LAB,
    LabCase,
    main,
)
from servers import server

SHORT = ("-q", "-e", "epoll", "-r", "1", "-d", "200ms", "-w", "20ms", "-c", "4")
PATIENCE = ("--timeout", "300ms")


class Server(LabCase):
    """A server that is there, and is not what it should be."""

    def trial_with(self, kind, *words):
        with server(kind) as address:
            document = self.run_json(
                "echo", address, *SHORT, *PATIENCE, *words, exit_code=EXIT_BAD
            )
        trial = document["cases"][0]["trials"][0]
        self.assertEqual(trial["verdict"], "errors")
        self.assertGreater(trial["errors"], 0)
        for kind_of_error in trial["errors_by_kind"]:
            self.assertTrue(trial["errors_examples"][kind_of_error], kind_of_error)
        return trial

    def test_that_closes_early(self):
        for words in ((), ("-R", "100")):
            with self.subTest(words=words):
                trial = self.trial_with("close", *words)
                self.assertEqual(trial["ops"], 0)

    def test_that_never_answers(self):
        trial = self.trial_with("silent")
        self.assertIn("timeout", trial["errors_by_kind"])

    def test_that_speaks_something_else(self):
        trial = self.trial_with("other")
        self.assertEqual(trial["ops"], 0, "an answer that is wrong is no op")

    def test_that_changes_a_bit(self):
        trial = self.trial_with("flipped")
        self.assertEqual(trial["ops"], 0)

    def test_that_answers_too_much(self):
        for words in ((), ("--reconnect",)):
            with self.subTest(words=words):
                trial = self.trial_with("twice", *words)
                self.assertIn("protocol", trial["errors_by_kind"])
                self.assertEqual(trial["ops"], 0)

    def test_that_never_closes_though_it_is_to(self):
        """An op that the close is a part of is not good as well as failed."""
        for rate in ((), ("-R", "40")):
            with self.subTest(rate=rate):
                words = ("--reconnect", "--close", "server", *rate)
                trial = self.trial_with("echo", *words)
                self.assertEqual(trial["ops"], 0)
                self.assertIn("did not close", trial["errors_examples"]["timeout"])
        with server("echo") as address:
            document = self.run_json(
                "echo", address, "-q", "-e", "epoll", "-r", "1", "-c", "4", "-n", "8", *PATIENCE,
                "--reconnect", "--close", "server", exit_code=EXIT_BAD,
            )  # fmt: skip
        trial = document["cases"][0]["trials"][0]
        self.assertEqual((trial["ops"], trial["errors"]), (0, 8))

    def test_errors_stand_under_the_table(self):
        with server("close") as address:
            result = self.lab("run", "echo", address, *SHORT, *PATIENCE)
        self.assert_exit(result, EXIT_BAD)
        self.assert_says(result.stdout, "errors of epoll: ", "the first: ", address)

    def test_max_errors_is_a_threshold(self):
        with server("close") as address:
            result = self.lab("run", "echo", address, *SHORT, *PATIENCE, "--max-errors", "1M")
        self.assert_exit(result, 0)

    def test_a_listen_queue_that_overflows_is_named(self):
        with server("deaf") as address:
            result = self.lab(
                "run", "echo", address, "-q", "-e", "epoll", "-r", "1", "-d", "1500ms", "-w", "0",
                "-c", "16", "--reconnect", "--timeout", "1s",
            )  # fmt: skip
        self.assertIn(result.returncode, (EXIT_BAD, EXIT_FAILED))
        said = result.stdout + result.stderr
        self.assertTrue("listen queues dropped" in said or "no answer within" in said, said)

    def test_nobody_listens(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{unused.getsockname()[1]}"
            self.assert_refused(
                "run", "echo", address, says=(address, "nothing listens", "lab serve echo")
            )

    def test_no_unix_path(self):
        self.assert_refused("run", "echo", "unix:", says=("unix:", "unix:/path"))

    def test_no_unix_socket(self):
        self.assert_refused("run", "echo", "unix:nowhere.sock", says=("nowhere.sock", "nothing"))

    def test_names_and_addresses(self):
        self.assert_refused("run", "echo", "no.such.host.invalid:80", says="cannot be resolved")
        self.assert_refused("run", "echo", "127.0.0.1", says="port")
        self.assert_refused("run", "echo", "127.0.0.1:http", says="port")
        self.assert_refused("run", "echo", "127.0.0.1:99999", says="port")
        self.assert_refused("run", "echo", "[::1:80", says="--server")


class Host(LabCase):
    """A host that has too little of something."""

    def namespace(self, script):
        """Runs a shell in a network namespace of its own; skips where that cannot be."""
        if not shutil.which("unshare"):
            self.skipTest("unshare is not there")
        prefix = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if probe.returncode != 0:
            self.skipTest("no network namespaces here")
        return subprocess.run(
            [*prefix, "sh", "-ec", script],
            cwd=self.folder,
            env=self.environment(LAB=LAB),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_no_route(self):
        result = self.namespace('exec "$LAB" run echo 192.0.2.1:8888 -q')
        self.assertEqual(result.returncode, EXIT_USAGE, result.stderr)
        self.assert_says(result.stderr, "192.0.2.1:8888", "no route")

    def test_ports_run_dry(self):
        result = self.namespace(
            "ip link set lo up\n"
            'echo "50000 50003" > /proc/sys/net/ipv4/ip_local_port_range\n'
            'exec "$LAB" run echo -q -e epoll -c 8'
        )
        if "Read-only" in result.stderr or "Permission" in result.stderr:
            self.skipTest(f"cannot set the range of ports here: {result.stderr.strip()}")
        self.assertEqual(result.returncode, EXIT_USAGE, result.stderr)
        self.assert_says(result.stderr, "--connections 8", "4 ports", "--local-addrs")

    def test_file_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

        self.assert_refused(
            "run", "echo", "-c", "1000", says=("1000", "file descriptors", "128"), preexec_fn=few
        )
        # Each worker opens some beside the connections.
        for workers in ("--workers", "--server-workers"):
            self.assert_refused(
                "run", "echo", "-e", "epoll", "-c", "60", workers, "30",
                says=("60 and 30 workers", "file descriptors", "128"), preexec_fn=few,
            )  # fmt: skip

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assert_refused("serve", "echo", "--listen", address, says=(address,))
            self.assert_refused(
                "run", "echo", "--listen", address, says=(address, "another process does")
            )

    def test_an_address_that_this_host_does_not_have(self):
        for address in ("192.0.2.1:0", "192.0.2.1:8888", "[2001:db8::1]:0"):
            with self.subTest(address=address):
                self.assert_refused(
                    "run", "echo", "-e", "epoll", "-r", "1", "--listen", address,
                    says=(f"--listen: cannot listen on {address}", "no such address"),
                )  # fmt: skip

    def test_more_ports_a_second_than_there_are(self):
        self.assert_refused(
            "run", "echo", "--reconnect", "-R", "10M", says=("--rate", "TIME_WAIT", "--local-addrs")
        )

    def test_more_clients_than_connections(self):
        self.assert_refused(
            "run", "echo", "-c", "1", "--client-via", "env", "--client-via", "env",
            says=("--client-via: 2 clients need as many connections",)
        )

    def test_more_threads_than_can_spin(self):
        threads = len(os.sched_getaffinity(0)) + 1
        words = ("run", "echo", "-q", "-r", "1", "-d", "20ms", "-w", "1ms", "-c", str(threads))
        words += ("-R", "500", "--pacing", "spin")
        self.assert_refused(
            *words, "-e", "blocking", code=EXIT_UNAVAILABLE,
            says=(f"blocking cannot run here: with --pacing spin {threads} threads would spin on",)
        )
        self.assert_refused(
            *words, "-e", "blocking", "--skip-unavailable", code=EXIT_UNAVAILABLE,
            says=("no engine can run here; blocking: with --pacing spin",)
        )
        result = self.lab(*words, "-e", "all", "--link", "lo")
        self.assert_exit(result, EXIT_OK)
        self.assert_says(result.stdout, "not measured: blocking (cannot-run): with --pacing spin")

    def test_what_only_the_client_can_refuse_is_a_usage_error_too(self):
        address = next(
            (
                line.split()[1].split("/")[0]
                for line in self.addresses()
                if not line.split()[1].startswith("127.")
            ),
            None,
        )
        if address is None:
            self.skipTest("this host has no address but loopback's")
        result = self.lab(
            "run", "echo", *SHORT, "--listen", f"{address}:0", "--local-addrs", "2"
        )
        self.assert_exit(result, EXIT_USAGE)
        self.assert_says(result.stdout, "--local-addrs spreads over 127.0.0.0/8")

    def addresses(self):
        """Of this host, IPv4: "inet ADDRESS/BITS ..."."""
        done = subprocess.run(
            ["ip", "-4", "addr", "show"], capture_output=True, text=True, check=False
        )
        return [line for line in done.stdout.splitlines() if line.strip().startswith("inet ")]

    def test_what_has_no_ports_is_not_refused_for_them(self):
        rate = ("--reconnect", "-R", "30k", "-d", "50ms", "-w", "1", "-r", "1", "-q")
        self.assert_refused("run", "echo", "-e", "epoll", *rate[:3], "-d", "2", says="TIME_WAIT")
        result = self.lab("run", "echo", "-e", "null", *rate, "--max-errors", "1M")
        self.assert_exit(result, 0)
        result = self.lab(
            "run", "echo", "-e", "epoll", "--listen", "0.0.0.0:0", "--reconnect", "-R", "10k",
            "-d", "4", "-r", "1", "-q", "--json", "/dev/full/no",
        )
        self.assert_says(result.stderr, "/dev/full/no")  # and not of ports
        result = self.lab("run", "echo", "-e", "null", "-c", "100000", "-r", "1", "-n", "1", "-q")
        self.assert_exit(result, 0)

    def test_a_server_on_loopback_is_reckoned_as_labs_own(self):
        """60 s of TIME_WAIT are not the loopback's: 5000 a second have ports enough."""
        _, address = self.serve()
        self.assert_refused(
            "run", "echo", address, "-R", "5k", "--reconnect", "-d", "10", "--json", "no/x.json",
            says="no/x.json",
        )  # fmt: skip


class Via(LabCase):
    def test_a_command_that_is_not_there(self):
        result = self.lab("run", "echo", *SHORT, "--server-via", "no-such-command")
        self.assertIn(result.returncode, (EXIT_FAILED, EXIT_UNAVAILABLE))
        self.assert_says(result.stdout + result.stderr, "no-such-command")

    def test_a_prefix_that_prints(self):
        """A login script's greeting comes before the first message."""
        via = "sh -c 'echo Welcome to this host; exec \"$@\"' x"
        for side in ("--server-via", "--client-via"):
            with self.subTest(side=side):
                result = self.lab("run", "echo", *SHORT, side, via)
                self.assert_exit(result, EXIT_FAILED)
                self.assert_says(result.stderr, "no message of lab", "standard output")

    def test_a_prefix_that_fails(self):
        via = "sh -c 'echo no route >&2; exit 9'"
        result = self.lab("run", "echo", *SHORT, "--server-via", via)
        self.assert_exit(result, EXIT_FAILED)
        self.assert_says(result.stderr, "exit code 9 before it was ready; last words: no route")

    def test_a_prefix_that_cannot_be_split(self):
        for side in ("--server-via", "--client-via"):
            self.assert_refused("run", "echo", side, "ssh 'host", says=(side, "quote"))
            self.assert_refused("run", "echo", side, " ", says=(side, "empty"))

    def test_an_engine_that_cannot_run_there(self):
        if not shutil.which("strace"):
            self.skipTest("strace is not there")
        via = "strace -f -e inject=io_uring_setup:error=EPERM -o /dev/null"
        result = self.lab(
            "run", "echo", "-e", "io_uring,epoll", "-q", "-r", "1", "-d", "100ms", "-c", "4",
            "--server-via", via,
        )  # fmt: skip
        if "ptrace" in result.stderr:
            self.skipTest("nothing can be traced here")
        self.assert_exit(result, EXIT_UNAVAILABLE)
        self.assert_says(result.stderr, "io_uring", "seccomp")
        self.assertRegex(result.stdout, r"(?m)^epoll .* \d/1", "the other one is measured")
        short = ("-q", "-r", "1", "-d", "100ms", "-c", "4", "--server-via", via)
        for words, code in (
            (("--link", "lo"), EXIT_OK),  # of all engines, what cannot run is skipped
            (("-e", "io_uring,epoll", "--skip-unavailable"), EXIT_OK),
            (("-e", "io_uring", "--skip-unavailable"), EXIT_UNAVAILABLE),
        ):
            with self.subTest(words=words):
                self.assert_exit(self.lab("run", "echo", *short, *words), code)

    def test_a_prefix(self):
        result = self.lab("run", "echo", *SHORT, "--server-via", "env X=1")
        self.assert_exit(result, 0)


class Strict(LabCase):
    def test_a_verdict_makes_it_3(self):
        words = ("-q", "-e", "epoll", "-r", "1", "-c", "1", "-d", "1ms", "-w", "0")
        document = self.run_json("echo", *words)
        if document["cases"][0]["trials"][0]["verdict"] == "valid":
            self.skipTest("30 ops in a millisecond: this machine is too fast for the test")
        result = self.lab("run", "echo", *words, "--strict")
        if result.returncode == 0:
            self.skipTest("the second time it was valid")
        self.assert_exit(result, 3)


if __name__ == "__main__":
    main()
