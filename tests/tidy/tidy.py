#!/usr/bin/env python3
"""The repository's rules as tests.

usage: tidy.py [--root FOLDER] [--build FOLDER] RULE...
"""

import argparse
import importlib
import pathlib
import sys

sys.dont_write_bytecode = True

from source_tree import SourceTree  # noqa: E402

RULES = ("layers", "kernel_symbols", "orphans", "bans", "sizes", "names", "documents", "headers")


def main():
    parser = argparse.ArgumentParser(description="Checks rules of this repository.")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--build", help="a configured build folder, for rules that look at it")
    parser.add_argument("rules", nargs="+", choices=RULES)
    arguments = parser.parse_args()

    tree = SourceTree(arguments.root, arguments.build)
    findings = [finding for rule in arguments.rules for finding in importlib.import_module(rule).check(tree)]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
