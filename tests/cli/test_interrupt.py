"""Runs that end before their time: what is finished is kept, and nothing is left."""

import json
import os
import signal
import time

from harness import EXIT_INTERRUPTED, SLOWER, LabCase, main

LONG = ("-e", "epoll,epoll:spin=20us", "-r", "50", "-d", "100ms", "-w", "10ms")


class Interrupt(LabCase):
    def wait_for_round(self, process, number):
        """Reads stderr until that round is done."""
        for line in process.stderr:
            if line.startswith(f"round {number} of "):
                return
        self.fail("the run ended too early")

    def interrupted(self, *numbers):
        process = self.start("run", "echo", *LONG, "--json", "out.json")
        self.wait_for_round(process, 2)
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.005)
        stdout, stderr = process.communicate(timeout=20 * SLOWER)
        self.assertEqual(process.returncode, EXIT_INTERRUPTED, stderr)
        self.assert_says(stderr, "interrupted after", "of 50 rounds")
        self.assert_says(stdout, "ops/s")
        self.assertNotIn("failed", stdout, "a trial that was cut short has not failed")
        with open(os.path.join(self.folder, "out.json"), encoding="utf-8") as file:
            document = json.load(file)
        self.assertIs(document["complete"], False)
        self.assertGreaterEqual(document["run"]["rounds_done"], 2)
        for case in document["cases"]:
            self.assertGreaterEqual(len(case["trials"]), 2)
            for trial in case["trials"]:
                self.assertNotEqual(trial["verdict"], "failed", trial["verdicts"])
        self.assert_nothing_left()

    def test_by_the_keyboard(self):
        self.interrupted(signal.SIGINT)

    def test_by_a_supervisor(self):
        self.interrupted(signal.SIGTERM)

    def test_by_a_terminal_that_goes_away(self):
        """Its shell may pass it on before the kernel sends it."""
        self.interrupted(*[signal.SIGHUP] * 40)

    def test_with_its_reader_gone_too(self):
        process = self.start("run", "echo", *LONG, "--json", "out.json")
        self.wait_for_round(process, 1)
        process.stdout.close()
        process.stdout = None
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=20 * SLOWER)
        with open(os.path.join(self.folder, "out.json"), encoding="utf-8") as file:
            self.assertIs(json.load(file)["complete"], False)

    def test_without_a_terminal_to_lose(self):
        process = self.start(
            "run", "echo", "-e", "epoll", "-r", "3", "-d", "50ms", "-w", "10ms",
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )  # fmt: skip
        self.wait_for_round(process, 1)
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=20 * SLOWER)
        self.assertEqual(process.returncode, 0, stderr)
        self.assert_says(stderr, "round 3 of 3 done")

    def test_before_the_first_trial_is_done(self):
        process = self.start("run", "echo", "-e", "epoll", "-d", "30")
        time.sleep(0.5 * SLOWER)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20 * SLOWER)
        self.assertEqual(process.returncode, EXIT_INTERRUPTED, stderr)
        self.assert_nothing_left()

    def test_killed_it_takes_its_children_along(self):
        process = self.start("run", "echo", *LONG, "--json", "out.json", "--link", "unix")
        self.wait_for_round(process, 1)
        process.kill()
        process.communicate(timeout=20 * SLOWER)
        self.assert_nothing_left()
        self.assertEqual(os.listdir(self.folder), [], "something is left behind")


class Children(LabCase):
    def test_a_server_that_dies_costs_one_trial(self):
        process = self.start("run", "echo", "-e", "epoll", "-r", "2", "-d", "1s", "-v")
        deadline = time.monotonic() + 10 * SLOWER
        victim = None
        while victim is None and time.monotonic() < deadline:
            for pid in self.processes():
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        words = file.read().split(b"\0")
                except OSError:
                    continue
                if b"serve" in words:
                    victim = pid
        self.assertIsNotNone(victim, "no server was seen")
        os.kill(victim, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=30 * SLOWER)
        self.assertEqual(process.returncode, 4, stderr)
        self.assert_says(stderr, "failed: ")
        self.assertRegex(stdout, r"(?m)^epoll .* \d/2")
        self.assert_says(stdout, "failed in trial")
        self.assert_nothing_left()


if __name__ == "__main__":
    main()
