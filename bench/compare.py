"""What the comparisons of lab with something else share: one measurement of each, pairs that
alternate, and the median of their ratios with an interval. A machine that drifts spoils the rates,
not the ratios. The server has one core, the client another.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys

import turns

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER_CPU, CLIENT_CPU = "0", "1"


def median_interval(values):
    """Median and the widest-needed order statistics for 95 %; the range for fewer than six."""
    v = sorted(values)
    n = len(v)
    k = 0
    # P(median outside of [v[j], v[n-1-j]]) = 2 * P(Binomial(n, 1/2) <= j)
    tail, c = 0.0, 1.0
    for j in range(n // 2):
        tail += c / 2 ** n
        c = c * (n - j) / (j + 1)
        if 2 * tail > 0.05:
            break
        k = j
    return statistics.median(v), v[k], v[n - 1 - k]


class Bench:
    # Its methods, each a section that can be asked for; this order.
    SECTIONS = []
    PROGRAMS = ["bare_epoll"]
    WORKLOAD = "echo"

    @staticmethod
    def options(parser):
        """Options of its own."""

    def __init__(self, args):
        self.args = args
        self.lab = os.path.join(args.build, "lab")
        self.bare = os.path.join(args.build, "bench", "bare")
        self.failed = []
        self.cc = open("/proc/sys/net/ipv4/tcp_congestion_control").read().strip()
        for path in [self.lab] + [os.path.join(self.bare, name) for name in self.PROGRAMS]:
            if not os.path.exists(path):
                sys.exit(f"{path} is not built: run ./quickstart first")

    # --- one measurement each ---

    def lab_argv(self, specs, *extra, seconds=None):
        return [self.lab, "run", self.WORKLOAD, "-d", f"{seconds or self.args.seconds:.3f}s",
                "--client-cpus", CLIENT_CPU, "--server-cpus", SERVER_CPU, "-q", "--json", "-",
                "--json-compact", *(word for spec in specs for word in ("-e", spec)), *extra]

    def run_cases(self, specs, *extra, seconds=None, accept=(0,)):
        """A run of lab over several engines; its JSON cases, in their order."""
        argv = self.lab_argv(specs, *extra, seconds=seconds)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        return self.cases_of(argv, done.returncode, done.stdout, done.stderr, accept)

    @staticmethod
    def cases_of(argv, status, output, errors, accept=(0,)):
        if status not in accept:
            sys.exit(f"{' '.join(argv)}\nexit {status}: {errors.strip()}")
        return json.loads(output)["cases"]

    @staticmethod
    def trial_of(case):
        """Its only trial, with the system calls of each side."""
        trial = case["trials"][0]
        trial["syscalls"] = {
            side: sum(m["value"] for m in trial["metrics"]
                      if m["name"] == "system_calls" and m["side"] in (side, "both"))
            for side in ("client", "server")}
        return trial

    def run_lab(self, spec, *extra, seconds=None, accept=(0,)):
        """One trial of lab; its JSON."""
        return self.trial_of(
            self.run_cases([spec], "-r", "1", *extra, seconds=seconds, accept=accept)[0])

    def start_lab(self, spec, *extra, seconds):
        """One trial of lab, under way: a Side for turns.py."""
        argv = self.lab_argv([spec], "-r", "1", *extra, seconds=seconds)
        lab = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def result():
            output, errors = lab.communicate(timeout=300)
            return self.trial_of(self.cases_of(argv, lab.returncode, output, errors)[0])

        found = turns.children(lab, 2)
        if found is None:
            result()
            sys.exit(f"{' '.join(argv)}\nstarted no client and server")
        server, client = found
        return turns.Side(client, server, result)

    def start_bare(self, program, mode, *extra, seconds):
        """A bare pair, under way: a Side for turns.py."""
        path = os.path.join(self.bare, program)
        server = subprocess.Popen(
            [path, "server", "--port", "0", "--cpu", SERVER_CPU, *mode, *extra],
            stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().rsplit(":", 1)[1].strip()
        client = subprocess.Popen(
            [path, "client", "--port", port, "--cpu", CLIENT_CPU, "--warmup", "0.1", "--json",
             "--seconds", str(seconds), *mode, *extra],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def result():
            try:
                output, errors = client.communicate(timeout=120)
            finally:
                client.kill()
                server.send_signal(signal.SIGTERM)
                rest = server.communicate()[0]
            if client.returncode != 0:
                sys.exit(f"{program} client: {errors.strip()}")
            return json.loads(output) | {"server": json.loads(rest.strip().splitlines()[-1])}

        return turns.Side(client.pid, server.pid, result)

    def run_bare(self, program, mode, *extra, seconds=None):
        """A bare pair's JSON: its client's, with its server's in it."""
        return self.start_bare(program, mode, *extra, seconds=seconds or self.args.seconds).result()

    # --- pairs ---

    def pairs(self, one, other, count=None):
        """Alternates the two; the first one changes from pair to pair."""
        out = []
        for i in range(count or self.args.pairs):
            if i % 2 == 0:
                a = one()
                b = other()
            else:
                b = other()
                a = one()
            out.append((a, b))
        return out

    def say(self, what, ratios, limit, at_least=True, detail=""):
        mid, low, high = median_interval(ratios)
        good = mid >= limit if at_least else mid <= limit
        if not good:
            self.failed.append(what)
        print(f"{what:<52} {mid:6.3f}  [{low:.3f}, {high:.3f}]  "
              f"{'at least' if at_least else 'at most'} {limit:<5g} {'ok' if good else 'MISSED':<7}"
              f"{detail}", flush=True)

    def echo_pairs(self, spec, program, mode, connections, size):
        """Of echoes by turns: [(lab's trial, bare's result)], their rates those of the turns."""
        def pair():
            taken = turns.take_turns(
                lambda s: self.start_bare(program, mode, "--connections", str(connections),
                                          "--size", str(size), seconds=s),
                lambda s: self.start_lab(spec, "-c", str(connections), "-s", str(size), seconds=s),
                connections, self.args.seconds)
            for rate, result in taken:
                result["bytes_per_s"], result["ops_per_s"] = rate, rate / size
            return taken[1][1], taken[0][1]

        return [pair() for _ in range(self.args.pairs)]

    def p50(self, name, got, limit=1.05):
        bare = statistics.median(b["latency_ns"]["p50"] for _, b in got)
        self.say(f"{name}: p50",
                 [a["latency_ns"]["p50"] / b["latency_ns"]["p50"] for a, b in got], limit, False,
                 f"bare {bare / 1e3:.1f}us")


def main(kind, doc):
    """The command line of a comparison: 0, or 1 when a limit was missed."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, metavar="N",
                        help="of lab and the other, for each figure (default 7)")
    parser.add_argument("--seconds", type=float, default=1, metavar="S",
                        help="that each of a pair is measured for (default 1)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR",
                        help="where lab and the bare pairs are built (default build)")
    parser.add_argument("--cc", metavar="NAME", help="congestion control of streams on both sides "
                        "(default: the system's)")
    kind.options(parser)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    args = parser.parse_args()
    if args.pairs < 1 or args.seconds <= 0:
        parser.error("--pairs is at least 1, and --seconds more than 0")
    unknown = set(args.sections) - set(kind.SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; "
                     f"there are: {' '.join(kind.SECTIONS)}")
    # Ended from outside, it ends what it has started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bench = kind(args)
    print(f"Linux {os.uname().release}, {os.cpu_count()} cores, {bench.cc}; {args.pairs} pairs of "
          f"{args.seconds:g} s; ratios lab / other: median [interval]")
    for section in args.sections or kind.SECTIONS:
        getattr(bench, section)()
    if bench.failed:
        print(f"{len(bench.failed)} missed: " + "; ".join(bench.failed))
        return 1
    return 0
