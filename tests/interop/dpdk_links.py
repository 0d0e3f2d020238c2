"""The dpdk engine's stack against the kernel's: a Python client, socat and lab's own engines, over
tap and veth, and with packets lost, doubled and put in another order. Contents are checked.

usage: dpdk_links.py LAB [unittest's arguments]

A case that needs a network of its own runs in a namespace: this program starts itself again there
(--inside CASE), with a user namespace where it is not root.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import random
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

LAB = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "lab"
SLOWER = int(os.environ.get("LAB_TEST_SLOWER", "1"))
SERVER, CLIENT, PORT = "198.18.0.1", "198.18.0.2", 8888
TIMEOUT_S = 60 * SLOWER
OPS = "400"
SIOCETHTOOL = 0x8946
ETHTOOL_OFF = (0x17, 0x1F, 0x25, 0x2C, 0x15)  # STXCSUM, STSO, SGSO, SGRO, SRXCSUM


# --- inside a namespace ---


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=20)


def offloads_off(name):
    """As lab's own veth has it: a stack in user space wants whole checksums and small packets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in ETHTOOL_OFF:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):
                fcntl.ioctl(sock, SIOCETHTOOL, request)


@contextlib.contextmanager
def ended(process):
    """Ends it with the block, by SIGTERM, and expects it to end well."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def listening(process):
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        raise SystemExit(f"the server said: {line!r}, {process.stderr.read()}")
    return line.split()[2]


@contextlib.contextmanager
def server_over_tap(options="", workload="echo", words=()):
    """The stack makes the device and gives the kernel's end its address."""
    words = [LAB, "serve", workload, "-e", "dpdk", "--link", "tap" + options, *words]
    with ended(
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ) as process:
        listening(process)
        yield


@contextlib.contextmanager
def server_over_veth(options=""):
    """The server in a further namespace, with one end of a pair in it."""
    words = [LAB, "serve", "echo", "-e", "dpdk", "--link", "veth" + options]
    script = 'read go && ip link set lab0 up && exec "$0" "$@"'
    with ended(
        subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script, *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
    ) as process:  # fmt: skip
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == mine:
            time.sleep(0.01)
        ip("link", "add", "lab0", "type", "veth", "peer", "name", "lab0", "netns",
           str(process.pid))  # fmt: skip
        offloads_off("lab0")
        ip("address", "add", f"{CLIENT}/24", "dev", "lab0")
        ip("link", "set", "lab0", "up")
        process.stdin.write("go\n")
        process.stdin.flush()
        listening(process)
        yield


SERVERS = {"tap": server_over_tap, "veth": server_over_veth}


def connected():
    sock = socket.create_connection((SERVER, PORT), timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def received(sock, size):
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise SystemExit(f"the connection ended after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def expect(good, what):
    if not good:
        raise SystemExit(what)


def check_sizes(rng):
    with connected() as sock:
        for size in (1, 2, 63, 64, 1459, 1460, 1461, 2920, 4096, 65535, 65536, 65537):
            data = rng.randbytes(size)
            sock.sendall(data)
            expect(received(sock, size) == data, f"other bytes came back of {size}")


def check_bulk(rng):
    """More than fits into all buffers on the way, in both directions at once."""
    data = rng.randbytes(8 << 20)
    with connected() as sock:
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        expect(received(sock, len(data)) == data, "other bytes came back of 8 MiB")
        sender.join()
        sock.shutdown(socket.SHUT_WR)
        expect(sock.recv(1) == b"", "the server did not end after the client had")


def check_many(rng):
    """Fifty connections at once, each with messages of its own."""
    selector = selectors.DefaultSelector()
    left = 0
    for _ in range(50):
        sock = connected()
        data = rng.randbytes(rng.randint(1, 30000))
        sock.sendall(data)
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, [data, bytearray()])
        left += 1
    while left > 0:
        ready = selector.select(TIMEOUT_S)
        expect(ready, "connections starve")
        for key, _ in ready:
            data, got = key.data
            got += key.fileobj.recv(65536)
            if len(got) >= len(data):
                expect(bytes(got) == data, "a connection got another's bytes")
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1


def check_churn(rng):
    for n in range(200):
        with connected() as sock:
            sock.sendall(b"%d" % n)
            expect(received(sock, len(b"%d" % n)) == b"%d" % n, "other bytes came back")
            if n % 3 == 0:  # a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def check_socat(rng):
    if not shutil.which("socat"):
        return
    data = rng.randbytes(300000)
    done = subprocess.run(
        ["socat", "-t", "10", "-", f"TCP:{SERVER}:{PORT}"], input=data, capture_output=True,
        timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    expect(done.stdout == data, "socat got other bytes back")


def inside_client(link, options=""):
    with SERVERS[link](options):
        for check in (check_sizes, check_bulk, check_many, check_churn, check_socat):
            check(random.Random(check.__name__))


def sum16(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn_from(source, port, target_mac, own_mac):
    """A frame with a SYN to the server that claims to come from there."""
    addresses = socket.inet_aton(source) + socket.inet_aton(SERVER)
    tcp = struct.pack("!HHIIBBHHH", port, PORT, 1, 0, 5 << 4, 2, 1024, 0, 0)
    check = sum16(addresses + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    ip4 = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + addresses
    ip4 = ip4[:10] + struct.pack("!H", sum16(ip4)) + ip4[12:]
    return target_mac + own_mac + b"\x08\x00" + ip4 + tcp


def inside_own_address(link):
    """Who answers to himself ends up in a part of the library that nobody has started."""
    with SERVERS[link]():
        with connected() as sock:
            sock.sendall(b"before")
            expect(received(sock, 6) == b"before", "other bytes came back")
        with open("/proc/net/arp", encoding="ascii") as file:
            row = next(line.split() for line in file if line.startswith(SERVER))
        target, device = bytes.fromhex(row[3].replace(":", "")), row[5]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((device, 0))
            for source in (SERVER, "127.0.0.1", "127.9.9.9"):
                for port in (PORT, 1, 40000):
                    raw.send(syn_from(source, port, target, bytes(6)))
        with connected() as sock:
            sock.sendall(b"after")
            expect(received(sock, 5) == b"after", "other bytes came back")


def frame_ip4(rng, payload, protocol=6, options=b"", fragment=0, lie=0):
    """A packet to the server from somebody, whose length may be a lie."""
    sources = (CLIENT, SERVER, "10.1.2.3", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255")
    header = struct.pack(
        "!BBHHHBBH", 0x45 + len(options) // 4, 0, (20 + len(options) + len(payload) + lie) & 0xFFFF,
        rng.randrange(1 << 16), fragment, 64, protocol, 0,
    ) + socket.inet_aton(rng.choice(sources)) + socket.inet_aton(SERVER) + options  # fmt: skip
    return header[:10] + struct.pack("!H", sum16(header)) + header[12:] + payload


def segment_ip4(rng, ports, **header):
    """A segment to the server with options that may be rubbish, and a checksum that is right."""
    options = rng.choice((b"", b"\2\0", b"\2\1\0", b"\2\4\0\1", b"\3\3\xff", b"\2\x28", b"\1" * 40,
                          rng.randbytes(rng.randrange(41))))  # fmt: skip
    options += bytes(-len(options) % 4)
    data = rng.randbytes(rng.choice((0, 0, 1, 101, 1400)))
    tcp = struct.pack(
        "!HHIIBBHHH", rng.choice(ports), rng.choice((PORT, PORT, 9)), rng.getrandbits(32),
        rng.getrandbits(32), rng.choice((5 + len(options) // 4, rng.randrange(16))) << 4,
        rng.choice((2, 4, 16, 17, 18, 20, rng.randrange(256))), rng.randrange(1 << 16), 0,
        rng.choice((0, 0xFFFF)),
    ) + options + data  # fmt: skip
    packet = frame_ip4(rng, tcp, **header)
    addresses = packet[12:20]
    padded = tcp + bytes(len(tcp) % 2)
    check = sum16(addresses + struct.pack("!HH", 6, len(tcp)) + padded)
    at = len(packet) - len(tcp) + 16
    return packet[:at] + struct.pack("!H", check) + packet[at + 2 :]


def hostile_frame(rng, ports):
    """(type, packet) of some kind that nobody honest sends."""
    kind = rng.randrange(8)
    if kind == 0:
        return 0x0800, frame_ip4(rng, rng.randbytes(rng.randrange(100)),
                                 protocol=rng.choice((1, 2, 17, 136, 255)))  # fmt: skip
    if kind == 1:
        options = rng.choice((b"\x83\3\4\0", b"\x94\4\0\0", b"\7\x27\4" + bytes(37)))
        return 0x0800, segment_ip4(rng, ports, options=options)
    if kind == 2:
        return 0x0800, segment_ip4(rng, ports, fragment=rng.choice((0x2000, 0x2001, 2, 8191)))
    if kind == 3:
        return 0x0800, segment_ip4(rng, ports, lie=rng.choice((-30, -1, 1, 100, 3000)))
    if kind == 4:
        return 0x0800, segment_ip4(rng, ports)[: rng.randrange(1, 60)]
    if kind == 5:
        return rng.choice((0x0806, 0x86DD, 0x8100, 0x88CC, 5)), rng.randbytes(rng.randrange(120))
    return 0x0800, segment_ip4(rng, ports)


def inside_hostile(link):
    """Whatever comes from the wire, the server goes on, and loses none of its frames by it."""
    rng = random.Random(4)
    with SERVERS[link](), connected() as sock:
        check_sizes(rng)
        with open("/proc/net/arp", encoding="ascii") as file:
            row = next(line.split() for line in file if line.startswith(SERVER))
        target, device = bytes.fromhex(row[3].replace(":", "")), row[5]
        ports = (sock.getsockname()[1], 1, 5000)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((device, 0))
            for n in range(20000):
                kind, packet = hostile_frame(rng, ports)
                frame = target + b"\2\0\0\0\0\x09" + struct.pack("!H", kind) + packet
                with contextlib.suppress(OSError):  # too many at once
                    raw.send(frame)
                if n % 5000 == 0:
                    check_sizes(rng)
        check_bulk(rng)


def inside_named_mac():
    """A device that is there already has a MAC; the one that was named is what the wire sees."""
    mac = "02:00:00:00:4c:61"
    with server_over_veth(f":mac={mac}"), connected() as sock:
        sock.sendall(b"here")
        expect(received(sock, 4) == b"here", "other bytes came back")
        with open("/proc/net/arp", encoding="ascii") as file:
            row = next(line.split() for line in file if line.startswith(SERVER))
        expect(row[3] == mac, f"its MAC is {row[3]}")


def inside_faults(link):
    """Python's socket is the kernel's: what is lost, doubled and reordered TCP has to mend."""
    with SERVERS[link](":loss=5,duplicate=10,reorder=20,seed=5,both_ways"):
        rng = random.Random(5)
        check_sizes(rng)
        data = rng.randbytes(1 << 20)
        with connected() as sock:
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            expect(received(sock, len(data)) == data, "other bytes came back of 1 MiB")
            sender.join()


@contextlib.contextmanager
def client_place(link):
    """Where lab's client is started, as words, and its link: over veth in a further namespace."""
    if link == "tap":
        yield [], "tap"
        return
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == mine:
            time.sleep(0.01)
        there = ["nsenter", "-t", str(holder.pid), "-n"]
        ip("link", "add", "lab0", "type", "veth", "peer", "name", "lab0", "netns", str(holder.pid))
        offloads_off("lab0")
        ip("address", "add", f"{SERVER}/24", "dev", "lab0")
        ip("link", "set", "lab0", "up")
        subprocess.run([*there, "ip", "link", "set", "lab0", "up"], check=True, timeout=20)
        yield there, "veth:device=lab0"
    finally:
        holder.kill()
        holder.wait()


def inside_server(link):
    """The other way round: lab's client in the stack, a server in Python."""
    listener = socket.socket()
    listener.bind(("0.0.0.0", PORT))
    listener.listen(64)

    def one(conn):
        with contextlib.suppress(OSError), conn:
            while data := conn.recv(65536):
                conn.sendall(data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with client_place(link) as (place, link):
        words = [
            *place, LAB, "run", "echo", "-q", "-e", "dpdk", "--link", link, "--server",
            f"{SERVER}:{PORT}", "-c", "8", "--size", "3000", "-r", "1", "-n", OPS, "--json", "-",
        ]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    expect(done.returncode == 0, done.stdout + done.stderr)
    trial = json.loads(done.stdout)["cases"][0]["trials"][0]
    expect(trial["ops"] > 0 and trial["errors"] == 0, trial["errors_by_kind"])


INSIDE = {
    "client-tap": lambda: inside_client("tap"),
    "client-veth": lambda: inside_client("veth"),
    "client-veth-1400": lambda: inside_client("veth", ":mtu=1400"),
    "faults-tap": lambda: inside_faults("tap"),
    "faults-veth": lambda: inside_faults("veth"),
    "hostile-tap": lambda: inside_hostile("tap"),
    "hostile-veth": lambda: inside_hostile("veth"),
    "named-mac": inside_named_mac,
    "own-address-tap": lambda: inside_own_address("tap"),
    "own-address-veth": lambda: inside_own_address("veth"),
    "server-tap": lambda: inside_server("tap"),
    "server-veth": lambda: inside_server("veth"),
}


# --- outside ---


def why_not():
    """Why nothing of this can run here, or None."""
    asked = subprocess.run(
        [LAB, "engines", "dpdk"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if asked.returncode != 0:
        return (asked.stdout + asked.stderr).strip()
    for name in ("ip", "unshare"):
        if not shutil.which(name):
            return f"{name} is not there (apt install iproute2 util-linux)"
    return None


class Interop(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lab-interop-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def inside(self, case):
        words = ["unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--net"]
        asked = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if asked.returncode != 0:
            self.skipTest(asked.stderr.strip())
        done = subprocess.run(
            [*words, "--kill-child", sys.executable, os.path.abspath(sys.argv[0]), LAB,
             "--inside", case],
            capture_output=True, text=True, timeout=3 * TIMEOUT_S, check=False, cwd=self.folder,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(os.listdir(self.folder), [], "something is left behind")

    def need_tun(self):
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            self.skipTest("/dev/net/tun cannot be opened")

    def run_echo(self, *words):
        return self.run_lab("echo", *words)

    def run_lab(self, workload, *words):
        done = subprocess.run(
            # A number of ops and not a time: a machine that is busy may take as long as it likes.
            [LAB, "run", workload, "-q", "-r", "1", "--timeout", "30", "-n", OPS, *words,
             "--json", "-"],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=self.folder,
        )  # fmt: skip
        if done.returncode == 77 and "may not be made here" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["cases"]

    def assert_good(self, case):
        trial = case["trials"][0]
        where = f"{case['engine']} and {case['server_engine']} over {case['link']}"
        self.assertEqual(trial["errors"], 0, f"{where}: {trial['errors_by_kind']}")
        self.assertGreater(trial["ops"], 0, where)
        return trial


class OthersClients(Interop):
    def test_python_and_socat_over_tap(self):
        self.need_tun()
        self.inside("client-tap")

    def test_python_and_socat_over_veth(self):
        self.inside("client-veth")

    def test_over_a_smaller_mtu(self):
        self.inside("client-veth-1400")

    def test_faults_over_tap(self):
        self.need_tun()
        self.inside("faults-tap")

    def test_faults_over_veth(self):
        self.inside("faults-veth")

    def test_a_python_server_over_tap(self):
        self.need_tun()
        self.inside("server-tap")

    def test_a_python_server_over_veth(self):
        self.inside("server-veth")

    def test_segments_that_claim_to_be_the_servers_own(self):
        self.inside("own-address-veth")
        self.need_tun()
        self.inside("own-address-tap")

    def test_hostile_frames_over_tap(self):
        self.need_tun()
        self.inside("hostile-tap")

    def test_hostile_frames_over_veth(self):
        self.inside("hostile-veth")

    def test_a_mac_that_is_named_is_the_devices(self):
        self.inside("named-mac")


class BothWays(Interop):
    """A workload between the stack and each engine of the kernel, either being the client."""

    KERNEL = ("blocking", "epoll", "io_uring")
    workload = "echo"

    def both_ways(self, link, *words):
        for kernel in self.KERNEL:
            for engines in ((kernel, "dpdk"), ("dpdk", kernel)):
                cases = self.run_lab(
                    self.workload, "-e", engines[0], "--server-engine", engines[1], "--link", link,
                    "--skip-unavailable", *words,
                )  # fmt: skip
                for case in cases:
                    if case["status"] == "ran":
                        self.assert_good(case)


class LabsEngines(BothWays):
    def test_over_veth(self):
        self.both_ways("veth", "-c", "16", "--size", "1,3000")

    def test_over_tap(self):
        self.need_tun()
        self.both_ways("tap", "-c", "16", "--size", "1,3000")

    def test_large_messages_and_jumbo_frames(self):
        self.both_ways("veth:mtu=9000", "-c", "2", "--size", "1MiB", "-n", "20")

    def test_churn(self):
        self.both_ways("veth", "-c", "8", "--reconnect")

    def test_every_engine_in_one_run(self):
        cases = self.run_echo("-e", "all", "--link", "veth")
        ran = {case["engine"] for case in cases if case["status"] == "ran"}
        self.assertIn("dpdk", ran)
        self.assertIn("epoll", ran)
        for case in cases:
            if case["status"] == "ran":
                self.assert_good(case)

    def test_processes_with_a_link_each(self):
        for words in (
            ("-e", "dpdk", "--link", "memif", "-t", "2", "--server-workers", "2"),
            ("-e", "dpdk", "--link", "veth", "-t", "2", "--server-workers", "2"),
            ("-e", "epoll", "--server-engine", "dpdk", "--link", "veth", "-t", "2",
             "--server-workers", "2"),
            ("-e", "dpdk", "--server-engine", "epoll", "--link", "veth", "-t", "2"),
        ):  # fmt: skip
            case = self.run_echo("-c", "4", *words)[0]
            trial = self.assert_good(case)
            for side, engine in (("client", case["engine"]), ("server", case["server_engine"])):
                processes = [p for p in trial["processes"] if p["side"] == side]
                self.assertEqual(len(processes), 2 if engine == "dpdk" else 1, (words, side))
                for process in processes:
                    self.assertGreater(process["cpu_s"], 0, f"{side} has an idle process")


class Faults(Interop):
    FAULTS = "loss=10,duplicate=10,reorder=30,seed=3"

    def metric(self, trial, name):
        return sum(m["value"] or 0 for m in trial["metrics"] if m["name"] == name)

    def spoilt(self, *words):
        case = self.run_echo(*words)[0]
        trial = self.assert_good(case)
        self.assertGreater(self.metric(trial, "link_faults"), 0, "nothing was spoilt")
        self.assertGreater(self.metric(trial, "retransmissions"), 0, "nothing had to be sent again")

    def test_over_memif(self):
        self.spoilt("-e", "dpdk", "--link", f"memif:{self.FAULTS}", "-c", "8", "--size", "16KiB",
                    "-n", "100")  # fmt: skip

    def test_against_the_kernel_both_ways(self):
        for client, server in (("epoll", "dpdk"), ("dpdk", "epoll")):
            self.spoilt("-e", client, "--server-engine", server, "--link", f"veth:{self.FAULTS}",
                        "-c", "8", "--size", "16KiB", "-n", "100")  # fmt: skip


def main(usage, inside):
    """The cases that run in a namespace of their own, by name; and all tests of __main__."""
    if len(sys.argv) > 3 and sys.argv[2] == "--inside":
        inside[sys.argv[3]]()
        return
    if len(sys.argv) < 2:
        raise SystemExit(usage)
    why = why_not()
    if why:
        print(f"dpdk cannot run here: {why}")
        raise SystemExit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main(__doc__, INSIDE)
