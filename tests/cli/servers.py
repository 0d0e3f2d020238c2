"""Servers that others might have written, some of them badly: what lab is pointed at with --server.

    with server("silent") as address: ...
"""

import contextlib
import socket
import threading


def _echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)


def _close(conn):
    pass


def _silent(conn):
    while conn.recv(65536):
        pass


def _other(conn):
    while conn.recv(65536):
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)


def _flipped(conn):
    while data := conn.recv(65536):
        conn.sendall(bytes([data[0] ^ 1]) + data[1:])


def _twice(conn):
    while data := conn.recv(65536):
        conn.sendall(data + data)


def _once(conn):
    conn.sendall(conn.recv(1024))


KINDS = {
    "echo": _echo,
    "close": _close,
    "silent": _silent,
    "other": _other,
    "flipped": _flipped,
    "twice": _twice,
    "once": _once,
    "deaf": None,  # a listen queue of one, and nobody who accepts
}


@contextlib.contextmanager
def server(kind, family=socket.AF_INET, accepted=lambda conn: None):
    """Gives the address as lab takes it; ends with the block. Calls accepted() with each
    connection."""
    serve = KINDS[kind]
    listener = socket.socket(family)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen(1 if serve is None else 1024)
    conns = []

    def one(conn):
        with contextlib.suppress(OSError), conn:
            serve(conn)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                conns.append(conn)
                accepted(conn)
                threading.Thread(target=one, args=(conn,), daemon=True).start()

    if serve is not None:
        threading.Thread(target=accept, daemon=True).start()
    host, port = listener.getsockname()[:2]
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for conn in conns:
            conn.close()
