"""kill_test.py WRITER KILLS: kills a writer of the history KILLS times; all that it acknowledged must be there."""

import os
import random
import subprocess
import sys
import tempfile


def write_until_killed(writer, path, first, lines):
    """The last record that was acknowledged, or first - 1."""
    process = subprocess.Popen([writer, "write", path, str(first)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    last = first - 1
    for _ in range(lines):
        line = process.stdout.readline()
        if not line:
            break
        last = int(line)
    process.kill()
    rest, errors = process.stdout.read(), process.stderr.read()
    process.wait()
    # What it printed between our last look and its end counts too; a number that was cut off does not.
    for line in rest.decode().split("\n")[:-1]:
        last = int(line)
    if process.returncode != -9 or errors:
        sys.exit(f"the writer ended with {process.returncode}: {errors.decode()}")
    return last


def main():
    writer, kills = sys.argv[1], int(sys.argv[2])
    seed = int(os.environ.get("INFER_SEED", "1"))
    print(f"INFER_SEED={seed}")
    rng = random.Random(seed)
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "history.db")
        first = 1
        for kill in range(kills):
            acknowledged = write_until_killed(writer, path, first, rng.choice([0, 1, 2, 5, rng.randrange(60)]))
            outcome = subprocess.run([writer, "read", path], capture_output=True, text=True, check=False)
            numbers = [int(line) for line in outcome.stdout.split()]
            if outcome.returncode != 0 or outcome.stderr:
                sys.exit(f"kill {kill}: the history is damaged: {outcome.stderr}")
            # Each once and in order; beyond the acknowledged ones at most the batch that was under way.
            if numbers != list(range(1, len(numbers) + 1)):
                sys.exit(f"kill {kill}: records are missing or double")
            if not acknowledged <= len(numbers) <= acknowledged + 8:
                sys.exit(f"kill {kill}: {acknowledged} records were acknowledged, {len(numbers)} are there")
            first = len(numbers) + 1
            total = len(numbers)
        others = sorted(name for name in os.listdir(folder) if not name.startswith("history.db"))
        damaged = [name for name in os.listdir(folder) if "damaged" in name or name.endswith(".2")]
        if others or damaged:
            sys.exit(f"files were set aside: {others + damaged}")
    if total < kills:
        sys.exit(f"only {total} records in {kills} runs: the writer does not write")
    print(f"{kills} kills, {total} records")


main()
