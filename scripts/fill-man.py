#!/usr/bin/env python3
"""Completes a man page with what the built program says of its own options.

usage: fill-man.py TEMPLATE VERSION OUTPUT LAB
"""

import subprocess
import sys


def main():
    template, version, output, lab = sys.argv[1:]

    def dumped(what):
        words = [lab, "--dump-options", what]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.rstrip("\n")

    with open(template, encoding="utf-8") as file:
        page = file.read()
    page = page.replace("@VERSION@", version).replace("@OPTIONS@", dumped("man"))
    page = page.replace("@LINKS@", dumped("man-links"))
    with open(output, "w", encoding="utf-8") as file:
        file.write(page)


if __name__ == "__main__":
    main()
