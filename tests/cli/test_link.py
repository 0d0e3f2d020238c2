"""Links that a run makes for itself, as root and as nobody, and that nothing of them is left."""

import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNAVAILABLE
from harness import LAB, SLOWER, TIMEOUT_S, LabCase, main

SHORT = ("-q", "-r", "1", "-d", "100ms", "-w", "20ms", "-c", "4")
NOBODY = 65534


def namespaces(pids):
    """The network namespaces that these processes are in, beside this one's own."""
    found = {}
    for pid in pids:
        try:
            found[os.readlink(f"/proc/{pid}/ns/net")] = pid
        except OSError:
            pass
    found.pop(os.readlink("/proc/self/ns/net"), None)
    return found


def everybody():
    return filter(str.isdigit, os.listdir("/proc"))


class Links(LabCase):
    def need_namespaces(self):
        result = self.lab("run", "echo", *SHORT, "-e", "epoll", "--link", "veth", "-d", "10ms")
        if result.returncode == EXIT_UNAVAILABLE:
            self.skipTest(result.stderr.strip())

    def wait_for_namespaces(self, process):
        """Of the run that process is, once both sides are in theirs; None if it ended before."""
        deadline = time.monotonic() + 10 * SLOWER
        while len(found := namespaces(self.processes())) < 2:
            if process.poll() is not None:
                return None
            self.assertLess(time.monotonic(), deadline, "no namespace was made")
            time.sleep(0.02)
        return found

    def assert_gone(self, found):
        self.assert_nothing_left()
        # The kernel takes them away in its own time, and so do sanitizers with a process.
        deadline = time.monotonic() + 10 * SLOWER
        while left := set(namespaces(everybody())) & set(found):
            self.assertLess(time.monotonic(), deadline, f"a namespace is left: {left}")
            time.sleep(0.05)


class Veth(Links):
    def setUp(self):
        super().setUp()
        self.need_namespaces()

    def test_all_engines_over_the_same_wire(self):
        document = self.run_json("echo", *SHORT, "-e", "all", "--link", "veth", "--size", "16KiB")
        ran = [case for case in document["cases"] if case["status"] == "ran"]
        self.assertIn("epoll", [case["engine"] for case in ran])
        for case in ran:
            self.assertEqual(case["link"], "veth")
            self.assertEqual(case["link_settings"]["mtu"], "1500")
            self.assertEqual(case["link_settings"]["offloads"], "off")
            trial = case["trials"][0]
            self.assertGreater(trial["ops"], 0, case["engine"])
            self.assertEqual(trial["errors"], 0, trial["errors_by_kind"])
            marks = {mark["name"] for mark in trial["watermarks"]}
            self.assertIn("offloads-off", marks)
            self.assertNotIn("loopback", marks)
        wires = [case["link_settings"] for case in ran]
        self.assertEqual(wires, wires[:1] * len(wires), "the wire is not the same for all")

    def test_options_reach_the_wire(self):
        document = self.run_json(
            "echo", *SHORT, "-e", "epoll", "--link", "lo,veth:mtu=9000,address=10.1.2.3/16,veth"
        )
        self.assertEqual(
            [case["link"] for case in document["cases"]],
            ["lo", "veth:address=10.1.2.3/16,mtu=9000", "veth"],
        )
        self.assertEqual(document["cases"][1]["link_settings"]["mtu"], "9000")
        self.assertEqual(document["cases"][0]["link_settings"], {})
        for case in document["cases"]:
            self.assertGreater(case["trials"][0]["ops"], 0, case["link"])

    def received_in(self, pid):
        """Bytes and packets that the link of this process has received so far."""
        shown = subprocess.run(
            ["nsenter", "-t", str(pid), "-n", "ip", "-s", "link", "show"],
            capture_output=True, text=True, check=True,
        ).stdout.partition("lab0")[2]  # fmt: skip
        if not shown:
            return 0, 0  # the link is not there yet
        self.assertIn("mtu 1500", shown)
        numbers = [line.split() for line in shown.splitlines() if line.strip()[:1].isdigit()]
        return int(numbers[0][0]), int(numbers[0][1])

    def test_packets_are_as_the_mtu_says(self):
        """What the interface counts: no packet larger than the MTU crosses it."""
        if not shutil.which("ip") or os.geteuid() != 0:
            self.skipTest("needs root, and ip (apt install iproute2)")
        process = self.start(
            "run", "echo", "-q", "-r", "1", "-d", f"{2000 * SLOWER}ms", "-e", "epoll",
            "--link", "veth", "--size", "64KiB", "-c", "1",
        )  # fmt: skip
        found = self.wait_for_namespaces(process)
        self.assertEqual(len(found), 2, "each side is in a namespace of its own")
        deadline = time.monotonic() + 10 * SLOWER
        packets_in = 0
        while packets_in <= 1000:
            self.assertLess(time.monotonic(), deadline, f"only {packets_in} packets")
            bytes_in, packets_in = self.received_in(list(found.values())[0])
            time.sleep(0.02)
        self.assertLessEqual(bytes_in / packets_in, 1514)
        self.assertGreater(bytes_in / packets_in, 700)
        process.communicate(timeout=TIMEOUT_S)

    def test_several_workers_share_one_wire(self):
        document = self.run_json(
            "echo", *SHORT, "-e", "epoll", "--link", "veth", "-t", "2", "--server-workers", "2"
        )
        processes = document["cases"][0]["trials"][0]["processes"]
        self.assertEqual(len(processes), 2, "kernel engines' workers are threads")

    def test_a_process_of_a_side_may_be_wrapped(self):
        document = self.run_json(
            "echo", *SHORT, "-e", "epoll", "--link", "veth", "--server-via", "env X=1",
            "--client-via", "env X=1", "--client-via", "env X=1",
        )  # fmt: skip
        trial = document["cases"][0]["trials"][0]
        clients = [p for p in trial["processes"] if p["side"] == "client"]
        self.assertEqual(len(clients), 2)
        self.assertEqual(trial["errors"], 0)

    def test_churn_over_the_wire(self):
        document = self.run_json("echo", *SHORT, "-e", "epoll", "--link", "veth", "--reconnect")
        self.assertEqual(document["cases"][0]["trials"][0]["errors"], 0)


class Nobody(Links):
    """Without any privilege, in a user namespace."""

    def setUp(self):
        super().setUp()
        if os.geteuid() == 0 and not shutil.which("setpriv"):
            self.skipTest("setpriv is not there (apt install util-linux)")
        os.chmod(self.folder, 0o777)
        result = self.unprivileged("run", "echo", *SHORT, "-e", "epoll", "-d", "10ms")
        if result.returncode != 0:
            self.skipTest(f"nobody cannot run lab here: {result.stderr.strip()}")

    def command(self, *words):
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*(drop if os.geteuid() == 0 else []), LAB, *words]

    def unprivileged(self, *words):
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment(), text=True,
            capture_output=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def test_all_engines(self):
        result = self.unprivileged("run", "echo", *SHORT, "-e", "all", "--link", "veth")
        if "may not be made here" in result.stderr:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^epoll +veth ")
        self.assertNotIn("failed", result.stdout)
        self.assert_nothing_left()

    def test_killed_it_leaves_no_namespace(self):
        with subprocess.Popen(
            self.command("run", "echo", "-e", "epoll", "-r", "50", "-d", "1", "--link", "veth"),
            cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            found = self.wait_for_namespaces(process)
            process.kill()
        if found is None:
            self.skipTest("nobody may not make namespaces here")
        self.assert_gone(found)


class Leftovers(Links):
    def setUp(self):
        super().setUp()
        self.need_namespaces()
        self.interfaces = sorted(os.listdir("/sys/class/net"))

    def begun(self):
        """A run over veth in the midst of a trial, and its namespaces."""
        process = self.start(
            "run", "echo", "-e", "epoll,blocking", "-r", "50", "-d", "1", "--link", "veth",
        )  # fmt: skip
        found = self.wait_for_namespaces(process)
        self.assertIsNotNone(found, "the run ended too early")
        return process, found

    def check(self, found):
        self.assert_gone(found)
        self.assertEqual(sorted(os.listdir("/sys/class/net")), self.interfaces)
        if os.path.isdir("/var/run/netns"):
            self.assertNotIn("lab0", " ".join(os.listdir("/var/run/netns")))

    def test_finished(self):
        process = self.start(
            "run", "echo", "-q", "-e", "epoll", "-r", "1", "-d", "300ms", "--link", "veth"
        )
        found = self.wait_for_namespaces(process)
        _, stderr = process.communicate(timeout=20 * SLOWER)
        self.assertEqual(process.returncode, 0, stderr)
        self.check(found)

    def test_interrupted(self):
        process, found = self.begun()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20 * SLOWER)
        self.assertEqual(process.returncode, EXIT_INTERRUPTED, stderr)
        self.check(found)

    def test_killed(self):
        process, found = self.begun()
        process.kill()
        process.communicate(timeout=20 * SLOWER)
        self.check(found)

    def test_the_next_run_is_not_disturbed(self):
        process, _ = self.begun()
        process.kill()
        process.communicate(timeout=20 * SLOWER)
        document = self.run_json("echo", *SHORT, "-e", "epoll", "--link", "veth")
        self.assertGreater(document["cases"][0]["trials"][0]["ops"], 0)


class Listed(Links):
    def test_all_are_listed_with_their_engines(self):
        result = self.lab("links")
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in ("lo", "lo6", "unix", "veth", "memif", "tap", "pci"):
            self.assertRegex(result.stdout, rf"(?m)^{name} +(yes|no) ")
        self.assertRegex(result.stdout, r"(?m)^veth .*blocking, epoll")

    def test_one_shows_its_options(self):
        result = self.lab("links", "memif")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_says(result.stdout, "shared-memory", "mtu=SIZE", "loss=PERMILLE")
        self.assertNotIn("mtu=SIZE", self.lab("links", "lo").stdout)

    def test_a_typo_is_told(self):
        self.assert_refused("links", "vet", says=("there is no link 'vet': did you mean 'veth'?",))
        self.assert_refused("links", "lo", "lo6", says=("one word too many",))

    def test_completion_knows_them(self):
        words = self.lab("--dump-options", "links").stdout.split()
        self.assertIn("veth", words)


class Refused(Links):
    def refused(self, *words):
        result = self.lab("run", "echo", *SHORT, *words)
        self.assertEqual(result.returncode, EXIT_UNAVAILABLE, result.stderr)
        return result.stderr

    def test_an_engine_that_does_not_run_over_it(self):
        self.assert_says(
            self.refused("-e", "epoll", "--link", "memif"),
            "epoll cannot run here: it does not run over memif",
            "lo, lo6, unix, veth, tap",
        )

    def test_a_stack_in_user_space_and_a_server_on_loopback(self):
        for address in ("127.0.0.1:8888", "[::1]:8888", "unix:/run/none"):
            text = self.refused("-e", "dpdk", "--server", address)
            if "not built in" in text:
                self.skipTest("dpdk is not built in")
            self.assert_says(text, "not on this host's loopback")
            self.assertNotIn("round", text)

    def test_a_memif_server_that_is_not_there(self):
        result = self.lab(
            "run", "echo", "-e", "dpdk", "-r", "1", "-n", "1", "--server", "198.18.0.1:8888",
            "--link", "memif:device=@lab-nobody",
        )  # fmt: skip
        if "not built in" in result.stderr:
            self.skipTest("dpdk is not built in")
        self.assertEqual(result.returncode, EXIT_FAILED, result.stderr)
        self.assert_says(result.stderr, "listens on the memif socket @lab-nobody")

    def test_two_kernel_ends_of_a_tap(self):
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            self.skipTest("/dev/net/tun cannot be opened")
        self.assert_says(
            self.refused("-e", "epoll", "--link", "tap"), "both ends are of one sort", "--link veth"
        )

    def test_faults_without_a_stack(self):
        self.need_namespaces()
        self.assert_says(self.refused("-e", "epoll", "--link", "veth:loss=10"), "the kernel's")

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare")
    def test_no_namespaces_is_a_sentence(self):
        """In a user namespace that may make no more of them."""
        result = subprocess.run(
            ["unshare", "--user", "--map-root-user", "sh", "-c",
             "echo 0 >/proc/sys/user/max_net_namespaces && exec \"$0\" \"$@\"",
             LAB, "run", "echo", *SHORT, "-e", "epoll", "--link", "veth"],
            cwd=self.folder, env=self.environment(), text=True, capture_output=True,
            timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if "max_net_namespaces" in result.stderr and "cannot create" in result.stderr:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.returncode, EXIT_UNAVAILABLE, result.stderr)
        self.assert_says(result.stderr, "epoll cannot run here", "user.max_net_namespaces")


if __name__ == "__main__":
    main()
