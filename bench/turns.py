"""Two pairs of a client and a server that take turns on the same cores. Where the host puts a
virtual machine's CPUs changes several times a second, and moves every rate by a third: runs one
after the other tell little of a few per cent. So both pairs are there at once, one of them
stopped (SIGSTOP), and they change places every TURN_S.

How far a pair got is read from the kernel, bytes received by its client's sockets, while all
stand still: the same figure for every program.
"""
import glob
import os
import re
import signal
import subprocess
import time

TURN_S = 0.05
SETTLE_S = 0.2  # after the last connect, before a pair is stopped for the first time
TAIL_S = 0.4    # of a window beyond the last turn
START_S_MOST = 20


def children(process, count):
    """The process ids of its children, in the order of their start, once there are so many; None
    if it ends before."""
    end = time.monotonic() + START_S_MOST
    while process.poll() is None and time.monotonic() < end:
        try:
            found = [int(child) for task in os.listdir(f"/proc/{process.pid}/task")
                     for child in open(f"/proc/{process.pid}/task/{task}/children").read().split()]
        except OSError:
            found = []  # a thread that has ended meanwhile
        if len(found) >= count:
            return found[:count]
        time.sleep(0.002)
    return None


def come_first():
    """Who ends a turn must not wait for those whose turn it is. What it starts is not meant."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        pass  # then turns are longer than asked, and measured


class Side:
    """One pair: what has been started and can be stopped."""

    def __init__(self, client, server, result):
        self.pids = [client, server]
        self.client = client
        self.result = result  # waits for its end
        self.on_s = 0.0

    def signal(self, number):
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def sockets(self):
        """Of its client, connected: how many, and the bytes that they have received."""
        # A worker may keep its descriptors apart from the first thread's; where there are more,
        # they share them.
        threads = sorted(glob.glob(f"/proc/{self.client}/task/*"))[:2]
        links = (self.link(path) for thread in threads for path in glob.glob(f"{thread}/fd/*"))
        mine = {link[8:-1] for link in links if link.startswith("socket:[")}
        lines = subprocess.run(["ss", "-tineH", "state", "established"], capture_output=True,
                               text=True, check=True, preexec_fn=come_first).stdout.splitlines()
        details = [detail for head, detail in zip(lines[::2], lines[1::2])
                   if mine.intersection(re.findall(r"\bino:(\d+)", head))]
        return len(details), sum(int(n) for detail in details
                                 for n in re.findall(r"bytes_received:(\d+)", detail))

    @staticmethod
    def link(path):
        try:
            return os.readlink(path)
        except OSError:
            return ""  # closed meanwhile

    def settle(self, connections):
        """Until it is well under way; then it stands still."""
        end = time.monotonic() + START_S_MOST
        while self.sockets()[0] < connections:
            if time.monotonic() > end:
                raise SystemExit(f"process {self.client} has no {connections} connections")
            time.sleep(0.01)
        time.sleep(SETTLE_S)
        self.signal(signal.SIGSTOP)

    def turn(self):
        begun = time.monotonic()
        self.signal(signal.SIGCONT)
        time.sleep(TURN_S)
        self.signal(signal.SIGSTOP)
        self.on_s += time.monotonic() - begun


def take_turns(start_other, start_one, connections, seconds):
    """Each start_*(window_s) begins a pair that measures for at least so long, and gives a Side.
    Returns [(bytes a second, result)] of other and one, each run for `seconds`."""
    come_first()
    turns = max(1, round(seconds / TURN_S))
    lasts_s = 2 * turns * TURN_S * 1.1 + TAIL_S + connections / 200
    sides = []
    try:
        # The other's window may be as long as it likes; one's ends soon after the last turn.
        for start, window_s in ((start_other, lasts_s + 2), (start_one, lasts_s)):
            sides.append(start(window_s))
            sides[-1].settle(connections)
        before = [side.sockets()[1] for side in sides]
        for i in range(turns):
            for side in sides[::1 if i % 2 == 0 else -1]:
                side.turn()
        after = [side.sockets() for side in sides]
        if any(count < connections for count, _ in after):
            raise SystemExit("a window was over before the last turn: too slow a machine")
        results = []
        for side in reversed(sides):
            side.signal(signal.SIGCONT)
            results.insert(0, side.result())
        return [((a - b) / side.on_s, result)
                for a, b, side, result in zip((n for _, n in after), before, sides, results)]
    except BaseException:
        for side in sides:
            side.signal(signal.SIGKILL)
        raise
