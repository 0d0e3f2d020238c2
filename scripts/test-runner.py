#!/usr/bin/env python3
"""Runs the tests of a build directory through `meson test` and counts them one by one.

A program of Criterion or of Python's unittest holds many tests: their own totals are summed. Any
other program is one test: 0 passed, 77 skipped (its last line says why), all else failed. The
last line printed is `N passed, N failed, N skipped`; exit 1 if one failed or none was run.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys

CRITERION_TOTAL = re.compile(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)")
CRITERION_SKIP = re.compile(r"\[SKIP\] (\S+?): (.*)")
UNITTEST_TOTAL = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_END = re.compile(r"^(OK|FAILED)(?: \(([^)]*)\))?\s*$", re.M)
UNITTEST_SKIP = re.compile(r"^(\w+) \(([\w.]+)\).*?\.\.\. skipped (['\"])(.*)\3$", re.M | re.S)
NOISE = re.compile(r"\[(RUN |PASS|SKIP)\]|.* \.\.\. ok$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OUTPUT_LINES_MOST = 200


class Count:
    def __init__(self, passed=0, failed=0, skipped=None):
        self.passed = passed
        self.failed = failed
        self.skipped = skipped or []  # (name, reason)


def count_criterion(text):
    totals = [tuple(map(int, m)) for m in CRITERION_TOTAL.findall(text)]
    if not totals:
        return None
    return Count(
        sum(t[1] for t in totals), sum(t[2] for t in totals), CRITERION_SKIP.findall(text)
    )


def count_unittest(text):
    total, end = UNITTEST_TOTAL.search(text), UNITTEST_END.search(text)
    if not total or not end:
        return None
    notes = dict(re.findall(r"(\w[\w ]*)=(\d+)", end.group(2) or ""))
    failed = sum(int(notes.get(k, 0)) for k in ("failures", "errors", "unexpected successes"))
    reasons = [(name, reason) for name, _, _, reason in UNITTEST_SKIP.findall(text)]
    skipped = int(notes.get("skipped", 0))
    while len(reasons) < skipped:  # a whole class or module, which has no line of its own
        reasons.append(("unittest", "see its output"))
    return Count(int(total.group(1)) - failed - skipped, failed, reasons[:skipped])


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def count_test(entry):
    """Counts what one program of meson's log ran; a failure that no total shows is one more."""
    text = COLOUR.sub("", (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or ""))
    if entry["result"] == "SKIP" or entry.get("returncode") == 77:
        return Count(skipped=[("", last_line(text))])
    count = count_criterion(text) or count_unittest(text)
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    if count is None:
        return Count(1, 0) if good else Count(0, 1)
    if not good and count.failed == 0:  # a time-out, or what a sanitizer found at exit
        count.failed = 1
    return count


def select(build, patterns, suites):
    """The tests asked for, as meson's own listing of the build directory knows them."""
    with open(os.path.join(build, "meson-info", "intro-tests.json"), encoding="utf-8") as file:
        tests = json.load(file)
    chosen = []
    for test in tests:
        suite = test["suite"][0].split(":", 1)[-1] if test["suite"] else ""
        name = f"{suite}/{test['name']}"
        if suites and suite not in suites:
            continue
        if patterns and not any(p in name or fnmatch.fnmatch(name, p) for p in patterns):
            continue
        chosen.append(test["name"])
    return sorted(set(chosen)), len(chosen) == len(tests)


def run(build, names, everything, factor):
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    command = ["meson", "test", "-C", build, "--no-rebuild", "--timeout-multiplier", str(factor)]
    environment = dict(os.environ, CRITERION_VERBOSITY_LEVEL="1")
    # Standard input could be a terminal that a test then waits for.
    status = subprocess.run(
        command + ([] if everything else names),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    ).returncode
    if not os.path.exists(log):
        print(f"meson test ended with {status} and left no log")
        return []
    with open(log, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def print_failure(entry):
    print(f"\n--- {entry['name']} failed ({entry['result']}, exit {entry.get('returncode')}) ---")
    for stream in ("stdout", "stderr"):
        lines = [line for line in (entry.get(stream) or "").splitlines() if not NOISE.match(line)]
        if len(lines) > OUTPUT_LINES_MOST:
            print(f"[the last {OUTPUT_LINES_MOST} of {len(lines)} lines of {stream}]")
        for line in lines[-OUTPUT_LINES_MOST:]:
            print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="a build directory that is up to date")
    parser.add_argument("patterns", nargs="*", help="part of suite/name, or with * and ?")
    parser.add_argument("--suite", action="append", default=[], help="only this suite")
    parser.add_argument("--slow", type=float, default=1, help="time-outs are so many times longer")
    options = parser.parse_args()

    names, everything = select(options.build, options.patterns, options.suite)
    if not names:
        print(f"no test matches {' '.join(options.patterns + options.suite)}")
        print("0 passed, 0 failed, 0 skipped")
        return 1
    entries = run(options.build, names, everything, options.slow)
    passed = failed = 0
    skipped = []
    for entry in entries:
        count = count_test(entry)
        passed += count.passed
        failed += count.failed
        skipped += [(f"{entry['name']} {name}".strip(), reason) for name, reason in count.skipped]
        if count.failed:
            print_failure(entry)
    missing = len(names) - len({entry["name"] for entry in entries})
    if missing > 0:
        print(f"\n{missing} test programs of {len(names)} were not run to their end")
        failed += missing
    if skipped:
        print("\nskipped, and why:")
        for name, reason in skipped:
            print(f"  {name}: {reason}")
    print(f"\n{passed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed or passed + len(skipped) == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
