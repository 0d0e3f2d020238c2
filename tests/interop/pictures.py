#!/usr/bin/env python3
"""Decodes the default pictures with Pillow: whole, of the right size, and no two alike.

usage: pictures.py FOLDER
"""

import glob
import hashlib
import os
import sys

try:
    from PIL import Image
except ImportError as error:
    print(f"Pillow cannot be imported ({error}): pip install pillow")
    sys.exit(77)


def main():
    paths = sorted(glob.glob(os.path.join(sys.argv[1], "image-*.jpg")))
    seen = set()
    for path in paths:
        with Image.open(path) as picture:
            picture.load()  # a truncated or broken scan is an error
            if (picture.format, picture.size, picture.mode) != ("JPEG", (1920, 1200), "RGB"):
                raise SystemExit(f"{path}: {picture.format} {picture.size} {picture.mode}")
            # That something is to be seen: a broken scan of a right length is often flat.
            if len(picture.resize((96, 60)).getcolors(96 * 60)) < 1000:
                raise SystemExit(f"{path}: hardly any colours")
            seen.add(hashlib.sha256(picture.tobytes()).digest())
    if len(seen) != 3:
        raise SystemExit(f"{len(seen)} different pictures instead of 3 among {paths}")
    print("3 pictures decoded")


if __name__ == "__main__":
    main()
