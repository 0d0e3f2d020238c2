"""What `lab run` measures and shows."""

import collections
import ctypes
import errno
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import time
import unittest

from harness import EXIT_BAD, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE, LAB, TIMEOUT_S, LabCase, main
from servers import server

# Two short trials: enough to see that a thing works.
SHORT = ("-r", "2", "-d", "100ms", "-w", "20ms", "--max-errors", "0")


def here(case):
    """Engines that can run on this machine, of those that are not for tests."""
    return [
        engine["name"]
        for engine in case.engines()
        if engine["here"] and not engine["for_tests"]
    ]


class RunCase(LabCase):
    def engines(self):
        return json.loads(self.lab("engines", "--json").stdout)

    def short(self, *words, **options):
        result = self.lab("run", "echo", *SHORT, *words, **options)
        self.assert_exit(result, EXIT_OK)
        return result


class Table(RunCase):
    def test_all_engines_side_by_side(self):
        result = self.short()
        engines = here(self)
        for engine in engines:
            how = "memif +spin" if engine == "dpdk" else "lo +sleep"
            self.assertRegex(result.stdout, rf"(?m)^{engine} +{how} +[\d.]+[kM]? ")
        self.assert_says(result.stdout, "host  ", "echo  64 B, 32 connections, depth 1")
        self.assertRegex(result.stdout, r"(?m)^run   2 trials of 100ms, 20ms of warm-up, seed \d+$")
        self.assert_says(result.stdout, "system calls an op, client")
        self.assert_says(result.stderr, "2 rounds", "round 2 of 2 done")

    def test_how_long_it_takes_is_said_where_it_is_known(self):
        for option, value, known in (
            ("-d", "30ms", True), ("-n", "50", False), ("--loops", "2", False),
        ):  # fmt: skip
            with self.subTest(option=option):
                result = self.lab("run", "echo", "-e", "epoll", "-r", "2", "-c", "4", option, value)
                self.assertEqual("about 1 s" in result.stderr, known, result.stderr)
                self.assertNotIn("nan", result.stderr)

    def test_quiet_says_nothing_on_stderr(self):
        self.assertEqual(self.short("-q", "-e", "epoll").stderr, "")

    def test_no_escape_sequences_without_a_terminal(self):
        result = self.short("-e", "epoll")
        self.assertNotIn("\033", result.stdout + result.stderr)

    def test_columns_are_honoured(self):
        result = self.short("-q", env={"COLUMNS": "60"})
        for line in result.stdout.splitlines():
            self.assertLessEqual(len(line), 60, line)
        self.assert_says(result.stdout, "no room for")

    def test_ascii_in_any_locale(self):
        result = self.short("-q", "-e", "epoll", env={"LC_ALL": "C"})
        self.assertTrue(result.stdout.isascii())

    def test_three_trials_give_a_range_six_an_interval(self):
        self.assert_says(self.short("-q", "-e", "epoll").stdout, "range")
        result = self.lab("run", "echo", "-q", "-e", "epoll", "-d", "30ms", "-w", "5ms", "-r", "6")
        self.assert_says(result.stdout, "95 % interval")

    def test_verbose_tells_of_each_trial_and_all_settings(self):
        result = self.short("-v", "-e", "epoll")
        self.assert_says(result.stdout, "timeout 5s", "local-addrs 1", "epoll client: ", "spin off")
        self.assertEqual(len(re.findall(r"(?m)^round \d  echo epoll over lo: ", result.stderr)), 2)

    def test_verbose_gives_no_percentile_of_few_ops(self):
        result = self.lab("run", "echo", "-v", "-e", "epoll", "-r", "1", "-n", "100", "-c", "1")
        self.assert_says(result.stderr, "p99 -, ")

    def test_verbose_shows_what_the_processes_said(self):
        via = """sh -c 'echo something to say >&2; exec "$0" "$@"'"""
        for words, shown in ((("-v",), 2), ((), 0)):
            result = self.short("-e", "epoll", "--server-via", via, *words)
            self.assertEqual(result.stderr.count("    server 0: something to say\n"), shown)

    def on_a_terminal(self, *words, **env):
        """What a terminal is sent."""
        line = shlex.join([LAB, "run", "echo", *SHORT, *words])
        return subprocess.run(
            ["script", "-qec", line, "/dev/null"],
            cwd=self.folder,
            env=self.environment(TERM="xterm", **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        ).stdout.decode()

    @unittest.skipUnless(shutil.which("script"), "script(1) is not there")
    def test_a_terminal_gets_a_line_that_rewrites_itself_and_a_provisional_table(self):
        shown = self.on_a_terminal("-e", "epoll")
        self.assert_says(shown, "\rtrial 1 of 2", "\033[K", "after the first round, provisional:")
        self.assertNotIn("round 1 of 2 done", shown)
        self.assertIn("\033[1m", shown)
        self.assertNotIn("\033[1m", self.on_a_terminal("-e", "epoll", NO_COLOR="1"))

    @unittest.skipUnless(shutil.which("script"), "script(1) is not there")
    def test_a_narrow_terminal_is_not_overrun(self):
        shown = self.on_a_terminal("-e", "epoll:spin=20us", COLUMNS="40")
        for part in shown.replace("\r", "\n").split("\n"):
            if part.startswith("trial "):
                self.assertLess(len(part.replace("\033[K", "")), 40)


class Cases(RunCase):
    def keys(self, *words):
        document = self.run_json("echo", "-q", "--json-compact", "-r", "1", "-d", "20ms", *words)
        return [case["key"] for case in document["cases"]]

    def test_lists_make_a_matrix(self):
        keys = self.keys("-e", "epoll,epoll:spin=20us", "-c", "1,4", "-s", "16,1KiB")
        self.assertEqual(len(keys), 8)
        self.assertEqual(len(set(keys)), 8)

    def test_commas_and_repeats(self):
        self.assertEqual(
            self.keys("-e", "epoll:spin,busy_poll=1us,epoll"),
            self.keys("-e", "epoll:spin,busy_poll=1us", "-e", "epoll"),
        )

    def test_links(self):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-n", "200", "-e", "epoll", "--link", "lo,lo6,unix"
        )
        self.assertEqual([case["link"] for case in document["cases"]], ["lo", "lo6", "unix"])
        for case in document["cases"]:
            self.assertGreater(case["trials"][0]["ops"], 0, case["link"])

    def test_sides_may_differ(self):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-d", "20ms", "-e", "epoll", "--server-engine", "epoll:spin"
        )
        case = document["cases"][0]
        self.assertEqual((case["engine"], case["server_engine"]), ("epoll", "epoll:spin"))

    def test_null_plays_both_sides(self):
        document = self.run_json("echo", "-q", "-r", "1", "-d", "20ms", "-e", "null")
        case = document["cases"][0]
        self.assertEqual(case["link"], "memory")
        self.assertEqual([p["side"] for p in case["trials"][0]["processes"]], ["client"])

    def test_ops_end_a_trial(self):
        document = self.run_json("echo", "-q", "-r", "1", "-e", "epoll", "-c", "4", "-n", "1000")
        self.assertEqual(document["cases"][0]["trials"][0]["ops"], 1000)

    def test_loops_are_of_each_connection(self):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-e", "epoll", "-c", "4", "--loops", "50", "--reconnect"
        )
        self.assertEqual(document["cases"][0]["trials"][0]["ops"], 200)

    def test_an_open_loop_knows_what_was_asked(self):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-e", "epoll", "-R", "2000", "-d", "500ms"
        )
        trial = document["cases"][0]["trials"][0]
        self.assertEqual(trial["asked_ops_per_s"], 2000)
        self.assertAlmostEqual(trial["scheduled"], 1000, delta=20)
        self.assertIsNotNone(trial["slip_ns"])

    def test_a_size_that_would_be_ignored_is_refused(self):
        self.assert_refused("run", "echo", "--one-way", "-s", "1k", says=("--size", "--write-size"))
        self.assert_refused("run", "echo", "--write-size", "1k", says=("--write-size", "--one-way"))

    def test_the_same_seed_gives_the_same_order(self):
        def order(*words):
            document = self.run_json(
                "echo", "-q", "-r", "4", "-d", "5ms", "-w", "0", "-e", "epoll,epoll:spin,null",
                *words,
            )  # fmt: skip
            return [[t["position"] for t in case["trials"]] for case in document["cases"]]

        self.assertEqual(order("--seed", "7"), order("--seed", "7"))
        self.assertNotEqual(
            [order("--seed", str(seed)) for seed in (1, 2)], [order("--seed", "7")] * 2
        )


class Load(RunCase):
    """How the load is put on: what each option changes can be seen in the record."""

    def trial(self, *words, exit_code=EXIT_OK):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-e", "epoll", "-c", "4", "-d", "200ms", "-w", "20ms", *words,
            exit_code=exit_code,
        )  # fmt: skip
        trial = document["cases"][0]["trials"][0]
        metrics = {(m["side"], m["name"]): m["value"] for m in trial["metrics"]}
        return trial, metrics

    def test_reconnect_and_who_closes(self):
        for close in ("fin", "rst", "server"):
            with self.subTest(close=close):
                trial, metrics = self.trial("--reconnect", "--close", close)
                self.assertGreater(trial["ops"], 0)
                self.assertEqual(trial["errors"], 0, trial["errors_by_kind"])
                self.assertGreater(metrics["server", "connections_accepted"], trial["ops"] // 2)
                for name in ("connect_ns", "first_byte_ns"):
                    self.assertGreater(metrics["client", name]["count"], trial["ops"] // 2)

    def test_a_server_that_answers_once_wants_reconnect(self):
        trial, _ = self.trial("--close-after-reply", "--reconnect")
        self.assertEqual(trial["errors"], 0, trial["errors_by_kind"])
        trial, _ = self.trial("--close-after-reply", exit_code=EXIT_BAD)
        self.assertIn("closed-early", trial["errors_by_kind"])

    def test_workers_of_an_engine_that_has_one_a_connection(self):
        words = ("-t", "2", "--server-workers", "3")
        document = self.run_json(
            "echo", "-q", "-r", "1", "-c", "4", "-d", "50ms", "-w", "10ms",
            "-e", "epoll,blocking", *words,
        )  # fmt: skip
        cases = {case["engine"]: case for case in document["cases"]}
        for engine, workers, server_workers in (("epoll", 2, 3), ("blocking", None, None)):
            case = cases[engine]
            self.assertEqual(case["params"]["workers"], workers)
            self.assertEqual(case["params"]["server_workers"], server_workers)
            marks = " ".join(mark["evidence"] for mark in case["trials"][0]["watermarks"])
            for said in (
                "client: workers has no effect: a worker a connection, 4 here",
                "server: server-workers has no effect: a worker a connection",
            ):
                self.assertEqual(said in marks, workers is None, marks)
        vain = "workers one a connection, server-workers one a connection"
        result = self.short("-e", "blocking", "-c", "4", *words, "-v")
        self.assert_says(result.stdout, f"kept connections, {vain}\n")
        self.assert_says(result.stdout, "workers one a connection, reconnect no")
        self.assert_says(result.stdout, "has no effect: a worker a connection, 4 here")
        result = self.short("-e", "blocking,epoll", "-c", "4", *words)
        self.assert_says(result.stdout, "kept connections, workers 2, server-workers 3\n")

    def test_local_addresses(self):
        """A server of ours sees where the connections come from."""
        seen = set()
        with server("echo", accepted=lambda conn: seen.add(conn.getpeername()[0])) as address:
            self.trial(address, "--local-addrs", "3", "-c", "6")
        self.assertGreaterEqual(len(seen), 3, seen)

    def test_local_addresses_are_spread_over_what_is_opened(self):
        """A few connections that are opened again and again use all of them, and evenly."""
        for engine, connections in (("epoll", "1"), ("blocking", "2")):
            with self.subTest(engine=engine):
                seen = collections.Counter()
                with server("echo", accepted=lambda c: seen.update([c.getpeername()[0]])) as at:
                    self.run_json(
                        "echo", at, "-q", "-r", "1", "-e", engine, "--reconnect", "-c", connections,
                        "--local-addrs", "5", "-n", "100",
                    )  # fmt: skip
                self.assertEqual(set(seen), {f"127.0.0.{i}" for i in range(1, 6)})
                self.assertGreaterEqual(min(seen.values()), 15, seen)

    def test_ramp_spreads_the_connections(self):
        """They begin one after the other, and all are there before the window."""
        times = []
        with server("echo", accepted=lambda conn: times.append(time.monotonic())) as address:
            trial, metrics = self.trial(address, "--ramp", "800ms", "-w", "0", "-c", "8")
        self.assertEqual(metrics["client", "connect_ns"]["count"], 8)
        self.assertEqual(trial["warmup_s"], 0.8)
        self.assertGreater(times[-1] - times[-8], 0.5)
        self.assert_refused("run", "echo", "--ramp", "soon", says="--ramp")

    def test_idle_and_connections_max(self):
        trial, metrics = self.trial("--idle", "40ms", "-R", "20")
        self.assertEqual(trial["errors"], 0, trial["errors_by_kind"])
        self.assertGreater(metrics["server", "connections_idle_closed"], 0)
        self.assertGreater(metrics["client", "connections_lost"], 0)
        self.assertIn("connections-lost", [mark["name"] for mark in trial["watermarks"]])
        trial, metrics = self.trial("--connections-max", "2", exit_code=EXIT_BAD)
        self.assertGreater(trial["ops"], 0, "those that were let in")
        self.assertGreater(trial["errors"], 0)

    def test_max_errors(self):
        self.trial("--connections-max", "2", "--max-errors", "1M")

    def test_depth_and_one_way(self):
        trial, _ = self.trial("--depth", "8")
        self.assertGreater(trial["ops"], 0)
        trial, _ = self.trial("--one-way", "--write-size", "64k")
        self.assertEqual(trial["bytes"], trial["ops"] * 65536)

    def test_a_stream_has_no_answer_to_close_after(self):
        for words in (("--close-after-reply",), ("--server-via", "env", "--close-after-reply")):
            with self.subTest(words=words):
                result = self.lab("run", "echo", "-q", *SHORT, "-e", "epoll", "--one-way", *words)
                self.assert_exit(result, EXIT_USAGE)
                self.assert_says(
                    result.stdout + result.stderr,
                    "--one-way is a stream", "does not go with --close-after-reply",
                )  # fmt: skip

    def test_an_open_loop_beyond_what_can_be(self):
        trial, _ = self.trial("-R", "3M", "--timeout", "200ms", exit_code=EXIT_BAD)
        names = [verdict["name"] for verdict in trial["verdicts"]]
        self.assertTrue({"overloaded", "generator-bound"} & set(names), names)
        self.assertIn("unfinished", trial["errors_by_kind"])


def forbid_io_uring():
    """In the child: io_uring_setup fails with EPERM from now on (a classic BPF program)."""
    load_number, jump_if, give_back = 0x20, 0x15, 0x06
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (load_number, 0, 0, 0),
            (jump_if, 0, 1, 425),  # io_uring_setup, on every architecture
            (give_back, 0, 0, 0x00050000 | errno.EPERM),
            (give_back, 0, 0, 0x7FFF0000),
        )
    )
    memory = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", 4, ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


class Engines(RunCase):
    def without_io_uring(self, *words):
        """lab, as in a container whose seccomp profile forbids io_uring."""
        return self.lab(*words, preexec_fn=forbid_io_uring)

    def test_the_engine_that_cannot_run_stops_everything_before_it_starts(self):
        result = self.without_io_uring("run", "echo", "-e", "epoll,io_uring", *SHORT)
        self.assert_exit(result, EXIT_UNAVAILABLE)
        self.assertEqual(result.stdout, "")
        self.assert_says(result.stderr, "io_uring cannot run here", "seccomp")

    def test_of_all_it_is_skipped_with_its_reason(self):
        for words in ((), ("-e", "all"), ("-e", "epoll,io_uring", "--skip-unavailable")):
            with self.subTest(words=words):
                result = self.without_io_uring("run", "echo", *words, *SHORT)
                self.assert_exit(result, EXIT_OK)
                self.assertRegex(result.stdout, r"(?m)^epoll +lo ")
                self.assert_says(result.stdout, "not measured: io_uring", "seccomp")
                self.assert_says(result.stderr, "skipped: io_uring: ")

    def test_none_can_run(self):
        result = self.without_io_uring("run", "echo", "-e", "io_uring", "--skip-unavailable")
        self.assert_exit(result, EXIT_UNAVAILABLE)
        self.assert_says(result.stderr, "io_uring")

    def test_a_reference_of_ones_own(self):
        result = self.short("-q", "-e", "epoll,epoll:spin=20us", "--reference", "epoll:spin=20us")
        self.assert_says(result.stdout, "vs epoll:spin=20us")
        self.assert_refused(
            "run", "echo", "-e", "epoll", "--reference", "null", says="is not measured"
        )


class Servers(RunCase):
    def test_a_server_that_others_wrote(self):
        with server("echo") as address:
            document = self.run_json("echo", address, "-q", "-r", "1", "-d", "200ms", "-e", "epoll")
        case = document["cases"][0]
        self.assertEqual(case["server_address"], address)
        self.assertIsNone(case["server_engine"])
        trial = case["trials"][0]
        self.assertGreater(trial["ops"], 10)
        self.assertEqual(trial["errors"], 0)
        self.assertIsNone(trial["server"], "nobody can see it")
        self.assertIsNone(trial["cpu_ns_per_op"])

    def test_over_ipv6_and_by_name(self):
        try:
            with server("echo", socket.AF_INET6) as address:
                self.short("-q", "--server", address, "-e", "epoll")
        except OSError as why:
            self.skipTest(f"no IPv6 here: {why}")
        with server("echo") as address:
            port = address.rpartition(":")[2]
            self.short("-q", "--server", f"localhost:{port}", "-e", "epoll")

    def test_over_link_local_ipv6(self):
        """An address that means something together with an interface only."""
        found = subprocess.run(
            ["ip", "-6", "-o", "addr", "show", "scope", "link"],
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        if len(found) < 4:
            self.skipTest("this host has no link-local address")
        name, host = found[1], found[3].split("/")[0]
        _, address = self.serve("-e", "epoll", listen=f"[{host}%{name}]:0")
        for at in (address, f"[{host}%{name}]:{address.rpartition(':')[2]}"):
            with self.subTest(address=at):
                document = self.run_json("echo", at, "-q", "-e", "epoll", *SHORT)
                self.assertGreater(document["cases"][0]["trials"][0]["ops"], 0)
        for at, says in (
            (f"[{host}%none]:9", "has a scope that is no interface here"),
            (f"[{host}]:9", "is link-local: say on which interface"),
        ):
            self.assert_refused("run", "echo", at, says=says)
            self.assert_refused("serve", "echo", "--listen", at, says=says)

    def test_a_server_that_answers_once_and_closes(self):
        with server("once") as address:
            document = self.run_json(
                "echo", address, "-q", "-r", "1", "-d", "200ms", "-e", "epoll", "-c", "4",
                "--reconnect", "--close", "server",
            )  # fmt: skip
        trial = document["cases"][0]["trials"][0]
        self.assertGreater(trial["ops"], 10)
        self.assertEqual(trial["errors"], 0)
        names = {metric["name"] for metric in trial["metrics"]}
        self.assertLessEqual({"connect_ns", "first_byte_ns"}, names)


class Settings(RunCase):
    def test_tiny_receive_buffers(self):
        # By the sender's window probes these two ops would take nearly seven seconds.
        for engine in ("epoll", "io_uring"):
            trial = self.run_json(
                "echo", "-e", f"{engine}:rcvbuf=4k", "-r", "1", "-c", "1", "-n", "2", "-s", "32k",
                "--timeout", "3",
            )["cases"][0]["trials"][0]  # fmt: skip
            self.assertEqual((trial["ops"], trial["errors"]), (2, 0), engine)

    def test_congestion_control_by_name(self):
        with open("/proc/sys/net/ipv4/tcp_allowed_congestion_control", encoding="ascii") as file:
            name = file.read().split()[0]
        self.short("-q", "-e", "epoll", "--cc", name)
        self.assert_refused("run", "echo", "--cc", "vegetable", says=("vegetable", name))

    def test_cpus(self):
        cpus = sorted(os.sched_getaffinity(0))
        result = self.short(
            "-q", "-e", "epoll", "--server-cpus", str(cpus[0]), "--client-cpus", str(cpus[-1])
        )
        self.assert_says(result.stdout, f"server CPU {cpus[0]}, client CPU {cpus[-1]}")
        self.assert_says(self.short("-q", "-e", "epoll", "--pin", "off").stdout, "not pinned")
        self.assert_refused("run", "--server-cpus", "9999", says="no CPU 9999", code=EXIT_USAGE)
        self.assert_refused("run", "--server-cpus", "two", says="--server-cpus")
        self.assert_refused(
            "run", "--pin", "off", "--client-cpus", str(cpus[0]), says="leave one of them out"
        )

    def test_labels_are_kept(self):
        document = self.run_json(
            "echo", "-q", "-r", "1", "-d", "20ms", "-e", "epoll", "--label", "branch=main",
            "--label", "note=a=b",
        )  # fmt: skip
        self.assertEqual(document["run"]["labels"], {"branch": "main", "note": "a=b"})


if __name__ == "__main__":
    main()
