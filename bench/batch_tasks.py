#!/usr/bin/env python3
"""Tasks for `inferos batch`, to measure with: prompts cut from a text, answers of one length, deadlines of all sizes.

    bench/batch_tasks.py models/tales-heldout.txt --tasks 4000 --deadlines 0.01 10 > tasks.jsonl
"""
import argparse
import json
import math
import random
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--words", type=int, nargs=2, default=(5, 600), metavar=("LEAST", "MOST"),
                        help="of a prompt, log-uniform")
    parser.add_argument("--tokens", type=int, default=100, help="of an answer")
    parser.add_argument("--deadlines", type=float, nargs=2, metavar=("LEAST", "MOST"), help="seconds, log-uniform")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.text, encoding="utf-8") as file:
        words = file.read().split()
    rng = random.Random(options.seed)

    def log_uniform(least, most):
        return math.exp(rng.uniform(math.log(least), math.log(most)))

    for number in range(options.tasks):
        count = round(log_uniform(*options.words))
        begin = rng.randrange(max(1, len(words) - count))
        task = {"id": str(number), "prompt": " ".join(words[begin:begin + count]), "max_tokens": options.tokens}
        if options.deadlines:
            task["deadline"] = round(log_uniform(*options.deadlines), 4)
        json.dump(task, sys.stdout)
        print()


if __name__ == "__main__":
    main()
