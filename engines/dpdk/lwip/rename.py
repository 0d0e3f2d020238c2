"""Gives definitions in one of lwIP's sources another name: lwip_own_NAME. Their callers, in that
file too, then call what reach.c defines by the old one, as they do in the packaged library.

usage: rename.py SOURCE OUT NAME...

A definition's name stands first on its line. Exit 1 if a NAME has none there.
"""
import re
import sys


def main(source, out, *names):
    with open(source, encoding="utf-8") as f:
        text = f.read()
    for name in names:
        text, count = re.subn(rf"^{name}\(", f"lwip_own_{name}(", text, flags=re.MULTILINE)
        if count == 0:
            return f"{source}: {name}() is not defined there: this is no lwIP that lab knows"
    with open(out, "w", encoding="utf-8") as f:
        f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
