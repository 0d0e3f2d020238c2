"""What the dpdk engine says when something is missing, and that DPDK itself says nothing unasked.

Each row of MISSING is something that a person may lack, and the one sentence that he gets.
"""

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

from harness import EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE, LAB, TIMEOUT_S, LabCase, main

SHORT = ("-q", "-r", "1", "-d", "50ms", "-w", "10ms", "-c", "1")
NOBODY = 65534
NOBODYS = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
RUN, SERVE = ("run", "echo", *SHORT), ("serve", "echo")

# who, words, exit code, the sentence (a regular expression, the whole of it)
MISSING = (
    ("anyone", (*SERVE, "-e", "dpdk", "--link", "pci"), EXIT_USAGE,
     r"pci: say which device: pci:device=\.\.\."),
    ("anyone", (*SERVE, "-e", "dpdk", "--link", "pci:device=bad"), EXIT_UNAVAILABLE,
     r"bad: no such PCI device here; `lspci -D` lists them"),
    ("anyone", (*RUN, "-e", "dpdk", "--link", "pci:device=ffff:ff:1f.7"), EXIT_UNAVAILABLE,
     r"dpdk cannot run here: ffff:ff:1f\.7: no such PCI device here; `lspci -D` lists them"),
    ("root", (*SERVE, "-e", "dpdk", "--link", "veth:device=absent0"), EXIT_UNAVAILABLE,
     r"absent0: there is no such interface here for af_packet"),
    ("root", (*SERVE, "-e", "dpdk:via=af_xdp", "--link", "veth:device=absent0"), EXIT_UNAVAILABLE,
     r"absent0: there is no such interface here for af_xdp"),
    ("nobody", (*SERVE, "-e", "dpdk", "--link", "tap"), EXIT_UNAVAILABLE,
     r"a tap device needs CAP_NET_ADMIN: run as root, or in a user namespace \(unshare -Urn\)"),
    ("nobody", (*SERVE, "-e", "dpdk", "--link", "veth"), EXIT_UNAVAILABLE,
     r"af_packet needs CAP_NET_RAW: run as root, or in a user namespace \(unshare -Urn\)"),
    ("nobody", (*SERVE, "-e", "dpdk:via=af_xdp", "--link", "veth"), EXIT_UNAVAILABLE,
     r"af_xdp loads a BPF program, which needs CAP_SYS_ADMIN on the host itself, not in a user "
     r"namespace: run as root, or take via=af_packet"),
    ("nobody", (*RUN, "-e", "dpdk:via=af_xdp", "--link", "veth"), EXIT_UNAVAILABLE,
     r"dpdk:via=af_xdp cannot run here: af_xdp loads a BPF program, which needs .*"),
    ("anyone", (*RUN, "-e", "dpdk", "--link", "memif:device=@absent", "--server",
                "198.18.0.1:8888"), EXIT_FAILED,
     r"dpdk, trial 1 failed: no process listens on the memif socket @absent: start the server "
     r"first"),
    ("anyone", (*RUN, "-e", "dpdk", "--server", "192.0.2.7:8888"), EXIT_UNAVAILABLE,
     r"dpdk cannot run here: a stack in user space has no way to that server by itself: say with "
     r"--link which device leads there"),
    ("anyone", (*RUN, "-e", "dpdk:mtu=10"), EXIT_UNAVAILABLE,
     r"dpdk:mtu=10 cannot run here: mtu=10: at least 576"),
    ("anyone", (*RUN, "-e", "dpdk", "--link", "memif:mtu=64001"), EXIT_UNAVAILABLE,
     r"dpdk cannot run here: mtu=64001: at most 64000"),
    ("anyone", (*SERVE, "-e", "dpdk", "--link", "memif:device=@elsewhere", "--listen",
                "10.9.9.9:8888"), EXIT_USAGE,
     r"dpdk: cannot listen on 10\.9\.9\.9:8888: this end of the link is 198\.18\.0\.1 \(address= "
     r"of the link gives it another\)"),
    ("anyone", (*SERVE, "-e", "dpdk", "--link", "memif:device=@elsewhere", "--listen", "[::]:1"),
     EXIT_USAGE, r"dpdk: cannot listen on \[::\]:1: this end of the link is 198\.18\.0\.1 .*"),
    ("anyone", (*RUN, "-e", "dpdk:mbufs=64"), EXIT_UNAVAILABLE,
     r"dpdk:mbufs=64 cannot run here: mbufs=64 are too few for rings of 512: at least 1024, or a "
     r"smaller ring="),
    ("anyone", (*SERVE, "-e", "dpdk:eal=--help"), EXIT_UNAVAILABLE,
     r"eal=--help: DPDK would print its help and end: dpdk-testpmd --help shows it"),
    ("anyone", (*SERVE, "-e", "dpdk:eal=--rubbish"), EXIT_USAGE,
     r"DPDK's environment did not start \(.+\): .*unrecognized option '--rubbish'.*"),
    ("anyone", (*RUN, "-e", "dpdk:eal=rubbish"), EXIT_USAGE,
     r"dpdk:eal=rubbish, trial 1 failed: eal=: 'rubbish' is no argument of DPDK's"),
    ("anyone", (*RUN, "-e", "dpdk:eal=--vdev=net_absent0"), EXIT_FAILED,
     r"dpdk:eal=--vdev=net_absent0, trial 1 failed: DPDK's environment did not start \(.+\): "
     r".*Unable to parse device 'net_absent0'"),
    ("anyone", (*RUN, "-e", "dpdk:eal=-d /absent.so"), EXIT_USAGE,
     r"dpdk:eal=-d /absent\.so, trial 1 failed: DPDK's environment did not start \(.+\): "
     r"/absent\.so: cannot open shared object file: .*"),
)  # fmt: skip


class DpdkCase(LabCase):
    def setUp(self):
        super().setUp()
        if re.search(r"(?m)^ *dpdk:? +no", self.lab("--version").stdout):
            self.skipTest("dpdk is not built in")

    def wait_until(self, holds, why):
        deadline = time.monotonic() + TIMEOUT_S
        while not holds():
            self.assertLess(time.monotonic(), deadline, why)
            time.sleep(0.02)

    @staticmethod
    def connected_to(name):
        """Whether the server of this abstract socket has a client: St 03; the first @ is a NUL."""
        with open("/proc/net/unix", encoding="ascii", errors="replace") as sockets:
            return any(re.search(rf" 03 +\d+ @{re.escape(name)}$", line) for line in sockets)


def has_all_rights():
    """Root of the host, with nothing taken away: CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN."""
    with open("/proc/self/status", encoding="ascii") as status, \
            open("/proc/self/uid_map", encoding="ascii") as uid_map:  # fmt: skip
        rights = int(re.search(r"CapEff:\s*(\w+)", status.read()).group(1), 16)
        is_host = uid_map.read().split() == ["0", "0", "4294967295"]
    return is_host and all(rights >> right & 1 for right in (12, 13, 21))


class Strangers(DpdkCase):
    """Both ends of a memif share memory: who is another user gets no word out of either."""

    def greeting(self, uid):
        """What the server says to somebody who connects as that user."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(TIMEOUT_S)
            os.seteuid(uid)
            try:
                client.connect(b"\0" + self.name.encode())
            finally:
                os.seteuid(0)
            try:
                return client.recv(4096)
            except ConnectionResetError:
                return b""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can be two users")
        os.chmod(self.folder, 0o755)
        try:
            subprocess.run([LAB, "--version"], capture_output=True, check=True, **NOBODYS)
        except (OSError, subprocess.SubprocessError):
            self.skipTest(f"nobody cannot run {LAB}")
        self.name = f"@lab-test-{os.getpid()}"
        self.there = ("-e", "dpdk", "--link", f"memif:device={self.name}")

    def check(self, server, stranger, uid):
        process, address = self.serve(*self.there, listen=None, **server)
        words = ("run", "echo", "-q", "-r", "1", *self.there, "--server", address, "-n", "100")
        refused = self.lab(*words, "-c", "1", **stranger)
        self.assert_exit(refused, EXIT_FAILED)
        self.assertRegex(
            " ".join(refused.stderr.split()),
            rf"the memif socket {self.name} is another user's \(uid {uid}\): both ends share "
            r"memory, and must be the same user's",
        )
        self.assertEqual(self.greeting(stranger.get("user", 0)), b"")
        self.assertNotEqual(self.greeting(uid), b"")
        self.assert_exit(self.lab(*words, "-c", "4", **server), 0)
        code, _, err = self.finish(process, signal_number=signal.SIGTERM)
        self.assertEqual((code, err), (0, ""))

    def test_nobody_at_roots_server(self):
        self.check(server={}, stranger=NOBODYS, uid=0)

    def test_root_at_nobodys_server(self):
        self.check(server=NOBODYS, stranger={}, uid=NOBODY)


class Missing(DpdkCase):
    def lacks(self, who, words):
        """Why the row says nothing here, or None."""
        if who == "root" and not has_all_rights():
            return "not root of the host, with all rights"
        if who == "nobody" and "tap" in words and not os.path.exists("/dev/net/tun"):
            return "there is no /dev/net/tun"
        if who == "nobody" and os.geteuid() == 0:
            try:
                subprocess.run([LAB, "--version"], capture_output=True, check=True,
                               **self.as_nobody())  # fmt: skip
            except (OSError, subprocess.SubprocessError):
                return f"nobody cannot run {LAB}"
        return None

    def as_nobody(self):
        """Options of subprocess that make it so."""
        return NOBODYS if os.geteuid() == 0 else {}

    def sentence_of(self, who, words):
        os.chmod(self.folder, 0o755)
        return self.lab(*words, **(self.as_nobody() if who == "nobody" else {}))

    def test_what_is_missing_is_one_sentence(self):
        for who, words, code, sentence in MISSING:
            with self.subTest(who=who, words=" ".join(words)):
                why = self.lacks(who, words)
                if why:
                    self.skipTest(why)
                result = self.sentence_of(who, words)
                self.assert_exit(result, code)
                said = " ".join(result.stderr.split())
                self.assertRegex(said, rf"^lab: {sentence}$")

    def test_a_card_that_the_kernel_has_is_not_taken(self):
        devices = "/sys/bus/pci/devices"
        for device in os.listdir(devices) if os.path.isdir(devices) else ():
            driver = os.path.basename(os.path.realpath(f"{devices}/{device}/driver"))
            with open(f"{devices}/{device}/class", encoding="ascii") as file:
                if not file.read().startswith("0x02") or not re.match(r"virtio-pci|e1000", driver):
                    continue
            self.assert_refused(
                *SERVE, "-e", "dpdk", "--link", f"pci:device={device}", code=EXIT_UNAVAILABLE,
                says=f"{device} belongs to the driver {driver}: bind it to vfio-pci first",
            )  # fmt: skip
            return
        self.skipTest("the kernel drives no card that DPDK could")

    def test_a_driver_that_is_missing_is_named(self):
        if os.geteuid() != 0 or not shutil.which("unshare"):
            self.skipTest("hiding a driver needs root")
        script = (
            'dir=$(echo /usr/lib/*/dpdk/pmds-*); [ -d "$dir" ] || exit 99; '
            'mount -t tmpfs none "$dir" || exit 99; exec "$0" "$@"'
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, LAB, *RUN, "-e", "dpdk"],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode in (1, 99) and "lab:" not in done.stderr:
            self.skipTest("DPDK's drivers are not in files of their own here, or cannot be hidden")
        self.assert_exit(done, EXIT_UNAVAILABLE)
        self.assertRegex(done.stderr, "^lab: dpdk cannot run here: DPDK.s driver librte_.* is not ")
        self.assertEqual(len(done.stderr.splitlines()), 1)


class Chatter(DpdkCase):
    """What DPDK says is for who asks with -v."""

    def test_a_server_is_silent(self):
        for words in ((), ("-v",)):
            process, _ = self.serve("-e", "dpdk", *words, listen="198.18.0.1:0")
            code, _, err = self.finish(process, signal_number=signal.SIGTERM)
            self.assertEqual(code, 0)
            if words:
                self.assert_says(err, "EAL: ")
            else:
                self.assertEqual(err, "")

    def test_a_run_shows_it_by_trial_and_side(self):
        quiet = self.lab("run", "echo", *SHORT[1:], "-e", "dpdk")
        self.assert_exit(quiet, 0)
        self.assertNotIn("EAL", quiet.stderr + quiet.stdout)
        result = self.lab("run", "echo", *SHORT[1:], "-e", "dpdk", "-v")
        self.assert_exit(result, 0)
        self.assertRegex(result.stderr, r"(?m)^    server 0: EAL: ")
        self.assertRegex(result.stderr, r"(?m)^    client 0: EAL: ")

    def test_nothing_is_dumped_when_the_server_has_gone(self):
        """A client that was turned away tries again, and then there is nobody any more."""
        name = f"@lab-test-{os.getpid()}"
        link = f"memif:device={name}"
        server, address = self.serve("-e", "dpdk", "--link", link, listen=None)
        there = ("--link", link, "--server", address, "-r", "1")
        first = self.start("run", "echo", "-q", "-e", "dpdk", *there, "-d", "1m")
        self.wait_until(lambda: self.connected_to(name), "the first client has not connected")
        second = self.start("run", "echo", "-v", "-e", "dpdk", *there, "-d", "1s", "--timeout", "2")
        self.wait_until(lambda: len(self.processes()) == 5, "there are no 5 processes")
        time.sleep(0.5)  # it is turned away, mostly; what it says does not hang on that
        server.kill()
        code, _, err = self.finish(second)
        self.assertEqual(code, EXIT_FAILED, err)
        self.assertNotIn("not ready port", err)
        self.assertNotRegex(err, r"\.so|\+0x")
        self.finish(first, signal_number=signal.SIGTERM)


class Hangups(DpdkCase):
    """A server outlives those who leave a memif at any moment, without a word."""

    def setUp(self):
        super().setUp()
        self.name = f"@lab-test-{os.getpid()}"
        self.there = ("--link", f"memif:device={self.name}")
        self.server, self.address = self.serve("-e", "dpdk", *self.there, listen=None)

    def run_at_it(self, *words):
        return ("run", "echo", "-q", "-r", "1", "-e", "dpdk", *self.there, "--server",
                self.address, *words)  # fmt: skip

    def assert_serves(self):
        result = self.lab(*self.run_at_it("-c", "4", "-n", "200", "--timeout", "20"))
        self.assert_exit(result, 0)
        code, _, err = self.finish(self.server, signal_number=signal.SIGTERM)
        self.assertEqual((code, err), (0, ""))

    def test_between_connect_and_accept(self):
        rng = random.Random(4)
        for _ in range(150):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                timeout = struct.pack("ll", int(TIMEOUT_S), 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
                client.connect(b"\0" + self.name.encode())
                if rng.random() < 0.3:
                    time.sleep(rng.random() * 0.002)
                if rng.random() < 0.3:
                    client.recv(4096)  # it is greeted
        self.assertIsNone(self.server.poll())
        self.assert_serves()

    def test_clients_that_are_killed(self):
        rng = random.Random(5)
        for _ in range(6):
            client = self.start(*self.run_at_it("-d", "1m"))
            time.sleep(0.1 + rng.random() * 0.7)
            self.finish(client, signal_number=signal.SIGKILL)
            self.assertIsNone(self.server.poll())
        self.assert_serves()


if __name__ == "__main__":
    main()
