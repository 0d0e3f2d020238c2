"""What the tests of the image stream against other people's programs have in common: stubs made
from the contract, the pictures that are right, and programs that are started, waited for, ended.

The stubs of both contracts have the same names, so a process imports one of them.
"""

import atexit
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cli"))

import harness  # noqa: E402

BUILD = os.environ.get("LAB_BUILD", "build")
PICTURES = os.path.join(BUILD, "proto")
KERNEL_ENGINES = ("blocking", "epoll", "io_uring")
SERVICE = "image_service.ImageService"


def need(program, package):
    """The program's path, or the test is skipped."""
    path = shutil.which(program)
    if path is None:
        raise unittest.SkipTest(f"{program} is not there (apt install {package})")
    return path


def stubs(contract="nested"):
    """The messages and the service of a contract: (image_service_pb2, image_service_pb2_grpc)."""
    name = {"nested": "image_service", "flat": "image_service_flat"}[contract]
    folder = tempfile.mkdtemp(prefix="lab-stubs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    plugin = need("grpc_python_plugin", "protobuf-compiler-grpc")
    command = [
        need("protoc", "protobuf-compiler"), f"--proto_path={HERE}", f"--python_out={folder}",
        f"--grpc_python_out={folder}", f"--plugin=protoc-gen-grpc_python={plugin}", f"{name}.proto",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    sys.path.insert(0, folder)
    return importlib.import_module(name + "_pb2"), importlib.import_module(name + "_pb2_grpc")


def pictures(folder=PICTURES):
    """{name: content} of what lab serves when it is given no folder."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".jpg"):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
    return found


def engine_reason(engine):
    """Why the engine cannot run here, or None."""
    done = subprocess.run(
        [harness.LAB, "engines", engine], capture_output=True, text=True, check=False
    )
    here = re.search(r"^here: (.*)", done.stdout, re.M)
    return None if here and here.group(1).startswith("yes") else done.stdout.strip() or "unknown"


def image_stream_reason():
    """Why lab has no image stream, or None."""
    command = [harness.LAB, "serve", "image-stream", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def for_each_engine(namespace):
    """Class decorator: puts a class for each engine that talks to the kernel into the namespace.
    The class itself, which has none, is not to be run, so its name is given to nothing."""

    def decorate(case):
        for engine in KERNEL_ENGINES:
            name = f"{case.__name__}_{engine}"
            reason = image_stream_reason() or engine_reason(engine)
            one = type(name, (case,), {"engine": engine, "__module__": case.__module__})
            namespace[name] = unittest.skip(reason)(one) if reason else one

    return decorate


class PeerCase(harness.LabCase):
    """A test that also starts programs of other people."""

    engine = "epoll"

    def peer(self, *words, ready=r"listening on (\S+)", env=None):
        """Starts a program that says on stdout where it listens: (process, address)."""
        process = self.launch(*words, env={"PYTHONPATH": HERE, **(env or {})})
        return process, self.address_of(process, words[0], ready)

    def tool(self, *words, timeout_s=harness.TIMEOUT_S):
        """Runs a program to its end."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment(PYTHONPATH=HERE),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def serve_images(self, *words, engine=None):
        """`lab serve image-stream`: (process, address)."""
        return self.serve("-e", engine or self.engine, *words, workload="image-stream")
