"""A side elsewhere: its messages go over the stdin and stdout of whatever starts it."""

import os
import shutil
import subprocess

from harness import LabCase, main

# Links that have just been made may lose what is sent first, and TCP repeats it after 200 ms.
SHORT = ("-q", "-r", "1", "-d", "500ms", "-w", "20ms", "-c", "4")


class Namespaces(LabCase):
    """The server in one namespace, the clients in another, a veth pair between them."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("named network namespaces need root")
        if not shutil.which("ip"):
            self.skipTest("ip is not there (apt install iproute2)")
        self.near, self.far = f"labn{os.getpid()}", f"labf{os.getpid()}"
        self.addCleanup(self.remove)
        for words in (
            f"ip netns add {self.near}",
            f"ip netns add {self.far}",
            f"ip -n {self.near} link add v0 type veth peer name v1 netns {self.far}",
            f"ip -n {self.near} addr add 10.77.0.1/24 dev v0",
            f"ip -n {self.far} addr add 10.77.0.2/24 dev v1",
            f"ip -n {self.near} link set v0 up",
            f"ip -n {self.far} link set v1 up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                self.skipTest(f"{words}: {done.stderr.strip()}")

    def remove(self):
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def test_both_sides_elsewhere(self):
        document = self.run_json(
            "echo", *SHORT, "-e", "epoll", "--listen", "10.77.0.2:0",
            "--server-via", f"ip netns exec {self.far}",
            "--client-via", f"ip netns exec {self.near}",
        )  # fmt: skip
        case = document["cases"][0]
        self.assertEqual(case["link"], "net")
        trial = case["trials"][0]
        self.assertGreater(trial["ops"], 0)
        self.assertEqual(trial["errors"], 0)
        self.assertEqual({p["side"] for p in trial["processes"]}, {"client", "server"})

    def test_several_clients_share_the_work(self):
        via = f"ip netns exec {self.near}"
        document = self.run_json(
            "echo", *SHORT, "-e", "epoll", "--listen", "10.77.0.2:0",
            "--server-via", f"ip netns exec {self.far}",
            "--client-via", via, "--client-via", via,
        )  # fmt: skip
        trial = document["cases"][0]["trials"][0]
        clients = [p for p in trial["processes"] if p["side"] == "client"]
        self.assertEqual([p["index"] for p in clients], [0, 1])
        self.assertEqual(trial["errors"], 0)
        self.assertGreater(trial["ops"], 0)

    def test_this_hosts_ports_bind_nobody_elsewhere(self):
        # A hundred thousand ports in TIME_WAIT: not here.
        rate = ["--reconnect", "-c", "1", "--rate", "1M", "-d", "100ms", "--warmup", "0", "-r", "1"]
        result = self.lab("run", "echo", "-e", "epoll", *rate)
        self.assertEqual(result.returncode, 2)
        self.assert_says(result.stderr, "--local-addrs")
        result = self.lab(
            "run", "echo", "-e", "epoll", *rate, "--timeout", "100ms", "--listen", "10.77.0.2:0",
            "--server-via", f"ip netns exec {self.far}",
            "--client-via", f"ip netns exec {self.near}",
        )  # fmt: skip
        self.assertIn(result.returncode, (0, 1), result.stderr)
        self.assert_says(result.stdout, "epoll")

    def test_the_wrong_place_is_a_sentence(self):
        result = self.lab(
            "run", "echo", *SHORT, "-e", "epoll", "--listen", "10.77.0.9:0",
            "--server-via", f"ip netns exec {self.far}",
        )  # fmt: skip
        self.assertNotEqual(result.returncode, 0)
        self.assert_says(result.stdout + result.stderr, "10.77.0.9")


if __name__ == "__main__":
    main()
