"""The image stream as a person types it."""

import os
import signal
import subprocess
import unittest

from harness import EXIT_BAD, EXIT_OK, LAB, LabCase, main

COUNTED = ("-q", "-r", "1", "-e", "epoll")
SHORT = (*COUNTED, "-d", "100ms", "-w", "20ms")
HELP = subprocess.run([LAB, "run", "--help"], capture_output=True, text=True, check=False).stdout
BUILT = "--images-per-op" in HELP


@unittest.skipUnless(BUILT, "lab was built without nghttp2")
class ImageStream(LabCase):
    def images(self, *words, exit_code=EXIT_OK):
        """The one trial of a run, and what its client and server counted."""
        document = self.run_json("image-stream", *COUNTED, *words, exit_code=exit_code)
        trial = document["cases"][0]["trials"][0]
        metrics = {(m["side"], m["name"]): m for m in trial["metrics"]}
        return trial, metrics

    def test_the_table_shows_images(self):
        result = self.lab("run", "image-stream", *COUNTED, "-n", "20", "--max-errors", "0")
        self.assert_exit(result, EXIT_OK)
        self.assert_says(
            result.stdout, "images/s", "MB/s", "3 images an op", "1 connection", "first image, p50",
            "window of the client",
        )

    def test_what_is_counted_adds_up(self):
        trial, metrics = self.images("-n", "40", "--images-per-op", "5")
        self.assertEqual(trial["ops"], 40)
        self.assertEqual(metrics["client", "images"]["value"], 200)
        self.assertEqual(metrics["client", "image_ns"]["count"], 200)
        self.assertEqual(metrics["client", "image_gap_ns"]["count"], 160)
        self.assertEqual(metrics["client", "first_image_ns"]["count"], 40)
        # An op is its first image, the gaps to the others, and what comes behind the last.
        parts = [metrics["client", name] for name in ("first_image_ns", "image_gap_ns")]
        whole = 40 * trial["latency_ns"]["mean"]
        self.assertLessEqual(sum(m["count"] * m["value"]["mean"] for m in parts), 1.01 * whole)
        self.assertEqual(trial["bytes"], 40 * (2 * 273075 + 2 * 467749 + 204552))
        self.assertEqual(metrics["server", "images_sent_bytes"]["value"], trial["bytes"])

    def test_flow_control_is_known_an_op(self):
        _, metrics = self.images("-n", "20", "--window", "65535")
        stalled = metrics["client", "stalled_ns"]
        self.assertEqual(stalled["count"], 20)
        self.assertGreater(stalled["value"]["max"], 0)
        _, metrics = self.images("-n", "20", "--window", "16MiB")
        self.assertEqual(metrics["client", "stalled_ns"]["count"], 20)
        self.assertEqual(metrics["client", "stalled_ns"]["value"]["max"], 0)

    def test_a_sweep_is_a_case_for_each_size(self):
        document = self.run_json(
            "image-stream", "-q", "-r", "1", "-n", "1", "-e", "epoll", "--sweep", "seed"
        )
        sizes = [case["params"]["images_per_op"] for case in document["cases"]]
        self.assertEqual(sizes, [3 * i for i in range(1, 97, 5)])
        self.assert_refused("run", "image-stream", "--sweep", "sead", says=("sead", "seed"))
        self.assert_refused("run", "echo", "--sweep", "seed", says=("seed", "echo"))
        self.assert_refused(
            "run", "image-stream", "--sweep", "seed", "--images-per-op", "3",
            says=("sweep seed", "images-per-op"),
        )

    def test_lists_say_nothing_of_images(self):
        result = self.lab("run", "image-stream", *COUNTED, "-n", "20", "--rpc", "list")
        self.assert_exit(result, EXIT_OK)
        self.assert_says(result.stdout, "image-stream  list, 1 connection")
        self.assertNotIn("images an op", result.stdout)
        self.assertNotIn("first image", result.stdout)

    def test_over_a_socket_that_is_a_file(self):
        """Its path is nothing that a request's :authority may say."""
        listen = f"unix:{self.folder}/s.sock"
        _, address = self.serve("-e", "epoll", workload="image-stream", listen=listen)
        self.assertEqual(address, listen)
        trial, _ = self.images("--server", address, "-n", "5")
        self.assertEqual((trial["ops"], trial["errors_by_kind"]), (5, {}))

    def test_a_folder_is_served(self):
        folder = os.path.join(self.folder, "pictures")
        os.mkdir(folder)
        for name, content in (("b.png", b"second"), ("a.jpg", b"first" * 1000), ("empty", b"")):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        with open(os.path.join(os.fsencode(folder), b"bad\xff.png"), "wb") as file:
            file.write(b"no string of protobuf's")
        os.mkfifo(os.path.join(folder, "pipe"))
        process, address = self.serve(
            "-e", "epoll", "-v", "--images", folder, workload="image-stream"
        )
        trial, metrics = self.images("--server", address, "--images", "learn", "-n", "10")
        self.assertEqual(trial["errors"], 0)
        self.assertEqual(trial["bytes"], 10 * (5000 + 6 + 5000))
        code, _, err = self.finish(process, signal.SIGTERM)
        self.assertEqual(code, EXIT_OK)
        self.assert_says(err, "empty: it is empty", "bad?.png: its name is not UTF-8",
                         "pipe: it is no file", "images_sent 30", "connections_accepted")
        # A run that starts its server says so too, whichever process that is.
        for engine in ("epoll", "null"):
            trial, _ = self.images("--images", folder, "-e", engine)
            notes = [mark["evidence"] for mark in trial["watermarks"] if mark["name"] == "note"]
            self.assertEqual(len(notes), 1, trial["watermarks"])
            self.assert_says(notes[0], "left out", "empty: it is empty", "pipe: it is no file")

    def test_a_folder_that_is_none_is_refused(self):
        for name, says in (("nowhere", "nowhere"), (".", "no file")):
            self.assert_refused(
                "serve", "image-stream", "-e", "epoll", "--images", name, "--listen",
                "127.0.0.1:0", says=says,
            )
            self.assert_refused("run", "image-stream", *SHORT, "--images", name, says=says)
        self.assert_refused(
            "run", "image-stream", *SHORT, "--server", "127.0.0.1:1", "--images", "laern",
            says=("laern", "learn"),
        )

    def test_wrong_pictures_are_errors_by_kind(self):
        folder = os.path.join(self.folder, "pictures")
        os.mkdir(folder)
        with open(os.path.join(folder, "image-0.jpg"), "wb") as file:
            file.write(b"x" * 273075)
        _, address = self.serve("-e", "epoll", "--images", folder, workload="image-stream")
        trial, _ = self.images("--server", address, "-n", "5", exit_code=EXIT_BAD)
        self.assertEqual(trial["errors_by_kind"], {"wrong-content": 5})
        self.assertEqual(trial["ops"], 0)
        for words in (("--images", "learn"), ("--check", "size")):
            trial, _ = self.images("--server", address, *words, "-n", "5")
            self.assertEqual((trial["ops"], trial["errors"]), (5, 0), words)

    def test_the_flat_contract_and_the_nested_one_differ(self):
        _, address = self.serve("-e", "epoll", "--contract", "flat", workload="image-stream")
        trial, _ = self.images("--server", address, "--contract", "flat", "-n", "5")
        self.assertEqual((trial["ops"], trial["errors"]), (5, 0))
        trial, _ = self.images("--server", address, "-n", "5", exit_code=EXIT_BAD)
        self.assertEqual(trial["ops"], 0)

    def test_a_server_that_ends_meanwhile_drains(self):
        process, address = self.serve("-e", "epoll", workload="image-stream")
        client = self.start("run", "image-stream", address, "-e", "epoll", "-r", "1", "-d", "3",
                            "-q", "--json", "-")
        self.assertIsNone(client.poll())
        process.send_signal(signal.SIGTERM)
        code, _, err = self.finish(process)
        self.assertEqual((code, err), (EXIT_OK, ""))
        self.finish(client, signal.SIGINT)

    def test_impossible_values_are_refused(self):
        for words, says in (
            (("--window", "1000"), "window"),
            (("--window", "some"), "window"),
            (("--frame-size", "1k"), "frame-size"),
            (("--close", "server", "--reconnect"), "close"),
            (("--contract", "nest"), "nested"),
        ):
            with self.subTest(words=words):
                self.assert_refused("run", "image-stream", *words, says=says)


if __name__ == "__main__":
    main()
