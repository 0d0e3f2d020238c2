"""Runs the built `lab` as a person types it, and leaves nothing behind.

A case derives from LabCase. Each test has an empty folder of its own as working and temporary
directory, and a token in the environment that all its processes inherit: whatever carries the
token once the test has ended is a process that lab left running, and fails the test, as do
sockets and files of lab's own in the folder.

    class Engines(LabCase):
        def test_unknown_name(self):
            result = self.lab("engines", "epol")
            self.assert_exit(result, 2)
            self.assert_says(result.stderr, "did you mean")

Run one file by hand: LAB=build/lab python3 tests/cli/test_basics.py -v
"""

import json
import os
import re
import signal
import stat
import subprocess
import tempfile
import time
import unittest
import uuid

LAB = os.path.abspath(os.environ.get("LAB", "build/lab"))
# Sanitizers and a busy machine make everything slower; a hang is to be told from both.
SLOWER = float(os.environ.get("LAB_TEST_SLOWER", "1"))
TIMEOUT_S = 60 * SLOWER
# What a process that lab ended may still need to be gone; not what it may take to notice.
SETTLE_S = 3 * SLOWER

EXIT_OK = 0
EXIT_BAD = 1
EXIT_USAGE = 2
EXIT_DOUBT = 3
EXIT_FAILED = 4
EXIT_UNAVAILABLE = 77
EXIT_INTERRUPTED = 130


def processes_with(token):
    """Pids of the living whose environment holds the token (zombies have none)."""
    needle = token.encode()
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if needle in file.read():
                    pids.append(int(name))
        except OSError:
            pass  # gone meanwhile, or another user's
    return pids


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


class LabCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if not os.access(LAB, os.X_OK):
            self.fail(f"{LAB} is not there: build it, or set LAB")
        self._folder = tempfile.TemporaryDirectory(prefix="lab-test-")
        self.folder = self._folder.name
        self._token = f"LAB_TEST_TOKEN={uuid.uuid4()}"
        self._started = []
        self.addCleanup(self._clean_up)

    def environment(self, **changes):
        """What lab sees. None takes a variable away."""
        name, value = self._token.split("=")
        env = dict(os.environ, TMPDIR=self.folder, LC_ALL="C.UTF-8", **{name: value})
        for unwanted in ("NO_COLOR", "COLUMNS", "LINES", "TERM"):
            env.pop(unwanted, None)
        for key, change in changes.items():
            if change is None:
                env.pop(key, None)
            else:
                env[key] = change
        return env

    def lab(self, *words, timeout_s=TIMEOUT_S, stdin=subprocess.DEVNULL, env=None, **options):
        """Runs lab to its end: .returncode, .stdout, .stderr (text)."""
        try:
            return subprocess.run(
                [LAB, *map(str, words)],
                cwd=self.folder,
                env=self.environment(**(env or {})),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
                **options,
            )
        except subprocess.TimeoutExpired as hang:
            self.fail(f"lab {' '.join(map(str, words))} hung; so far: {hang.stdout} {hang.stderr}")

    def launch(self, *words, env=None, **options):
        """Starts a program and goes on; it is ended after the test if it still runs."""
        process = subprocess.Popen(
            list(map(str, words)),
            cwd=self.folder,
            env=self.environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        self._started.append(process)
        return process

    def start(self, *words, **options):
        """The same of lab."""
        return self.launch(LAB, *words, **options)

    def address_of(self, process, what, ready=r"listening on (\S+)"):
        """Where a program that was launched says on stdout that it listens."""
        line = process.stdout.readline()
        found = re.match(ready, line)
        if not found:
            process.kill()
            self.fail(f"{what} said {line!r}: {process.communicate()[1]}")
        return found.group(1)

    def serve(self, *words, workload="echo", listen="127.0.0.1:0", **options):
        """Starts `lab serve`, waits until it listens: (process, address). listen None: where the
        link says."""
        where = () if listen is None else ("--listen", listen)
        process = self.start("serve", workload, *where, *words, **options)
        return process, self.address_of(process, "lab serve")

    def finish(self, process, signal_number=None, timeout_s=TIMEOUT_S):
        """Sends the signal, waits for the end: (exit code, stdout, stderr)."""
        if signal_number is not None:
            process.send_signal(signal_number)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"it did not end: {process.communicate()}")
        return process.returncode, out, err

    def processes(self):
        """Pids of everything that this test has started and that still lives."""
        return processes_with(self._token)

    def run_json(self, *words, exit_code=EXIT_OK, **options):
        """`lab run WORDS --json -`: the parsed document."""
        result = self.lab("run", *words, "--json", "-", **options)
        self.assert_exit(result, exit_code)
        return json.loads(result.stdout)

    def assert_exit(self, result, code):
        if result.returncode != code:
            self.fail(
                f"exit {result.returncode} instead of {code} by {' '.join(result.args)}\n"
                f"--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
            )

    def assert_says(self, text, *parts):
        for part in parts:
            if part not in text:
                self.fail(f"{part!r} is not said in: {text}")

    def assert_refused(self, *words, says=(), code=EXIT_USAGE, **options):
        """A usage error: the code, a sentence of few lines on stderr, nothing on stdout."""
        result = self.lab(*words, **options)
        self.assert_exit(result, code)
        self.assertEqual(result.stdout, "")
        self.assertLessEqual(len(result.stderr.splitlines()), 4, result.stderr)
        self.assert_says(result.stderr, *([says] if isinstance(says, str) else says))
        return result

    def assert_nothing_left(self, within_s=SETTLE_S):
        until = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            self.fail(f"still running: {[(pid, command_of(pid)) for pid in left]}")
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if stat.S_ISSOCK(os.lstat(path).st_mode) or name.startswith(".lab"):
                self.fail(f"left behind: {name}")

    def _clean_up(self):
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=SETTLE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        try:
            self.assert_nothing_left()
        finally:
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._folder.cleanup()


def main():
    unittest.main(verbosity=2)
