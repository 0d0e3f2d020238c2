"""What `lab run` measures and shows."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import unittest

from harness import EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE, LAB, TIMEOUT_S, LabCase, main
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


class Engines(RunCase):
    def test_the_engine_that_cannot_run_stops_everything_before_it_starts(self):
        missing = [engine["name"] for engine in self.engines() if not engine["here"]]
        if not missing:
            self.skipTest("every engine can run here")
        result = self.lab("run", "echo", "-e", f"epoll,{missing[0]}", *SHORT)
        self.assert_exit(result, EXIT_UNAVAILABLE)
        self.assertEqual(result.stdout, "")
        self.assert_says(result.stderr, missing[0])
        self.short("-e", f"epoll,{missing[0]}", "--skip-unavailable")

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
