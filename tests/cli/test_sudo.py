"""Under sudo: client and server are the user's once their engine is open, and so are files."""

import os
import signal
import socket
import time

from harness import EXIT_OK, SLOWER, LabCase, main

USER = 65534  # nobody, and no group of it either


def identity(pid):
    """(uids, gids, effective capabilities) of each of its threads that still is there."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as status:
                lines = dict(line.split(":", 1) for line in status)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.add((lines["Uid"].split()[1], lines["Gid"].split()[1], lines["CapEff"].strip()))
    return found


class Sudo(LabCase):
    SUDO = {"SUDO_UID": str(USER), "SUDO_GID": str(USER)}
    NOBODY = {(str(USER), str(USER), "0" * 16)}

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can play sudo")

    def test_a_server_by_hand(self):
        for engine in ("blocking", "epoll", "io_uring"):
            with self.subTest(engine=engine):
                process, address = self.serve(
                    "-e", engine, "--server-workers", "2", env=self.SUDO
                )
                self.assertEqual(identity(process.pid), self.NOBODY)
                host, port = address.rsplit(":", 1)
                with socket.create_connection((host, int(port)), timeout=10 * SLOWER) as conn:
                    conn.sendall(b"x")
                    self.assertEqual(conn.recv(1), b"x")
                    self.assertEqual(identity(process.pid), self.NOBODY, "a thread came since")
                code, _, stderr = self.finish(process, signal.SIGTERM)
                self.assertEqual(code, EXIT_OK, stderr)

    def test_what_takes_rights_later_keeps_them(self):
        if self.lab("engines", "epoll:busy_poll=10us").returncode != EXIT_OK:
            self.skipTest("busy_poll cannot be had here")
        process, _ = self.serve(
            "-e", "epoll:busy_poll=10us", env=self.SUDO
        )
        self.assertEqual({uid for uid, _, _ in identity(process.pid)}, {"0"})
        self.finish(process, signal.SIGTERM)
        path = os.path.join(self.folder, "socket")
        process, _ = self.serve(
            "-e", "epoll", listen=f"unix:{path}", env=self.SUDO
        )
        code, _, stderr = self.finish(process, signal.SIGTERM)
        self.assertEqual(code, EXIT_OK, stderr)
        self.assertFalse(os.path.exists(path), "its file is left")

    def test_a_run(self):
        process = self.start(
            "run", "echo", "-q", "-e", "epoll", "-r", "1", "-d", "30", "--json", "out.json",
            env=self.SUDO,
        )  # fmt: skip
        until = time.monotonic() + 10 * SLOWER
        found = []
        while time.monotonic() < until:
            pids = [pid for pid in self.processes() if pid != process.pid]
            try:
                found = [identity(pid) for pid in pids]
            except FileNotFoundError:
                continue
            if found == [self.NOBODY] * 2:
                break
            time.sleep(0.02)
        self.assertEqual(found, [self.NOBODY] * 2)
        process.kill()
        process.communicate(timeout=20 * SLOWER)
        self.assert_nothing_left()

    def test_files(self):
        result = self.lab(
            "run", "echo", "-q", "-e", "epoll", "-r", "1", "-d", "50ms", "--json", "out.json",
            env=self.SUDO,
        )  # fmt: skip
        self.assert_exit(result, EXIT_OK)
        status = os.stat(os.path.join(self.folder, "out.json"))
        self.assertEqual((status.st_uid, status.st_gid), (USER, USER))


if __name__ == "__main__":
    main()
