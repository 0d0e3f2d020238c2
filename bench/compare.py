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

    def run_cases(self, specs, *extra, seconds=None, accept=(0,)):
        """A run of lab over several engines; its JSON cases, in their order."""
        argv = [self.lab, "run", self.WORKLOAD, "-d", f"{seconds or self.args.seconds}s",
                "--client-cpus", CLIENT_CPU, "--server-cpus", SERVER_CPU, "-q", "--json", "-",
                "--json-compact", *(word for spec in specs for word in ("-e", spec)), *extra]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        if done.returncode not in accept:
            sys.exit(f"{' '.join(argv)}\nexit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)["cases"]

    def run_lab(self, spec, *extra, seconds=None, accept=(0,)):
        """One trial of lab; its JSON."""
        case = self.run_cases([spec], "-r", "1", *extra, seconds=seconds, accept=accept)[0]
        trial = case["trials"][0]
        trial["syscalls"] = {
            side: sum(m["value"] for m in trial["metrics"]
                      if m["name"] == "system_calls" and m["side"] in (side, "both"))
            for side in ("client", "server")}
        return trial

    def run_bare(self, program, mode, *extra, seconds=None):
        path = os.path.join(self.bare, program)
        server = subprocess.Popen(
            [path, "server", "--port", "0", "--cpu", SERVER_CPU, *mode, *extra],
            stdout=subprocess.PIPE, text=True)
        try:
            port = server.stdout.readline().rsplit(":", 1)[1].strip()
            client = subprocess.run(
                [path, "client", "--port", port, "--cpu", CLIENT_CPU, "--warmup", "0.1", "--json",
                 "--seconds", str(seconds or self.args.seconds), *mode, *extra],
                capture_output=True, text=True, timeout=120)
            if client.returncode != 0:
                sys.exit(f"{program} client: {client.stderr.strip()}")
            result = json.loads(client.stdout)
        finally:
            server.send_signal(signal.SIGTERM)
            rest = server.stdout.read()
            server.wait()
        result["server"] = json.loads(rest.strip().splitlines()[-1])
        return result

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
        return self.pairs(
            lambda: self.run_lab(spec, "-c", str(connections), "-s", str(size)),
            lambda: self.run_bare(program, mode, "--connections", str(connections),
                                  "--size", str(size)))

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
    bench = kind(args)
    print(f"Linux {os.uname().release}, {os.cpu_count()} cores, {bench.cc}; {args.pairs} pairs of "
          f"{args.seconds:g} s; ratios lab / other: median [interval]")
    for section in args.sections or kind.SECTIONS:
        getattr(bench, section)()
    if bench.failed:
        print(f"{len(bench.failed)} missed: " + "; ".join(bench.failed))
        return 1
    return 0
