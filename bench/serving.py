#!/usr/bin/env python3
"""What clients of a server see, measured over HTTP with one tool for inferos and for llama-server.

    bench/serving.py streams -m M.gguf [--llama ROOT] [--rounds N]   many streams at once: tokens/s, first token
    bench/serving.py prefix -m M.gguf [--tokens 4096]                first token: cold, again, and after a restart
    bench/serving.py overload -m M.gguf [--llama ROOT]               goodput at saturation and at five times as much

The model needs a vocabulary (bench/with_vocabulary.py gives it one). Prompts are random tokens, so that no two begin alike
unless they shall. With --llama, llama.cpp installed in ROOT (with the model linked into ROOT/models) takes turns with
inferos. The client is this process: it takes some of the machine, from both alike.
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
BINARY = REPOSITORY / "build" / "release" / "inferos"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Server:
    """A server under measurement; started with `with`, ended with its block."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.port = 0

    def __enter__(self):
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([word.replace("PORT", str(self.port)) for word in self.command],
                                        stdout=self.log, stderr=self.log)
        for _ in range(3000):
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"{self.name} ended: {self.log.read().decode()[-2000:]}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"{self.name} does not become ready")

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait(60)

    def complete(self, prompt, tokens, **more):
        """Streams one answer: (status, instants of its tokens, from the request on). Raises OSError."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, **more}
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        instants, reason, usage = [], None, {}
        if response.status != 200:
            response.read()
            return response.status, instants, reason, usage
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                reason = choice.get("finish_reason") or reason
                if choice.get("text") or not choice.get("finish_reason"):
                    instants.append(time.monotonic() - begin)
        return 200, instants, reason, usage


def inferos(model, context, parallel, *more):
    return Server("inferos", [str(BINARY), "serve", "-m", model, "--ctx", str(context), "--parallel", str(parallel),
                              "--port", "PORT", "--kv", "f16", "--json", *more])


def llama(root, model, context, parallel):
    inside = pathlib.Path(root) / "models" / pathlib.Path(model).name
    if not inside.exists():
        os.link(model, inside)
    return Server("llama-server", ["chroot", root, "llama-server", "-m", f"/models/{inside.name}", "-t", "2", "-dev",
                                   "none", "-c", str(context * parallel), "-np", str(parallel), "--host", "127.0.0.1",
                                   "--port", "PORT", "--no-webui"])


VOCABULARY = 40000


def random_prompt(rng, tokens):
    return [rng.randrange(1000, VOCABULARY) for _ in range(tokens)]


def together(jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def streams_round(server, arguments, rng):
    outcomes = []
    prompts = [random_prompt(rng, arguments.prompt) for _ in range(arguments.streams)]
    begin = time.monotonic()
    together([lambda p=p: outcomes.append(server.complete(p, arguments.answer)) for p in prompts])
    seconds = time.monotonic() - begin
    for status, instants, _, _ in outcomes:
        if status != 200 or len(instants) < arguments.answer - 2:
            raise SystemExit(f"{server.name}: an answer of {len(instants)} tokens, status {status}")
    first = [instants[0] for _, instants, _, _ in outcomes]
    rest = [(len(i) - 1) / (i[-1] - i[0]) for _, i, _, _ in outcomes]
    return {"tokens_per_second": arguments.streams * arguments.answer / seconds, "first_p95": quantile(first, 0.95),
            "first_p50": quantile(first, 0.5), "each": statistics.median(rest)}


def streams(arguments):
    context = arguments.prompt + arguments.answer + 64
    makers = [lambda: inferos(arguments.model, context, arguments.streams)]
    if arguments.llama is not None:
        makers.append(lambda: llama(arguments.llama, arguments.model, context, arguments.streams))
    results = {}
    for number in range(arguments.rounds):
        for make in makers if number % 2 == 0 else reversed(makers):
            with make() as server:
                server.complete(random_prompt(random.Random(99), 64), 8)
                result = streams_round(server, arguments, random.Random(number))
            results.setdefault(server.name, []).append(result)
            print(f"{server.name:13} {result['tokens_per_second']:7.1f} tokens/s in all, {result['each']:6.2f} each, "
                  f"first token p50 {result['first_p50']:.2f} s, p95 {result['first_p95']:.2f} s", flush=True)
    medians = {name: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
               for name, rounds in results.items()}
    if len(medians) == 2:
        ours, theirs = medians["inferos"], medians["llama-server"]
        print(f"ratio of tokens/s {ours['tokens_per_second'] / theirs['tokens_per_second']:.2f}, of first token p95 "
              f"{ours['first_p95'] / theirs['first_p95']:.2f}")


def prefix(arguments):
    """Texts share their first tokens; the last 16 differ."""
    rng = random.Random(1)
    shared = random_prompt(rng, arguments.tokens)
    folder = tempfile.mkdtemp(prefix="prefixes-")
    ask = lambda server: server.complete(shared + random_prompt(rng, 16), 4)[1][0]
    make = lambda: inferos(arguments.model, arguments.tokens + 256, 2, "--prefix-cache", folder)
    try:
        with make() as server:
            server.complete(random_prompt(rng, 64), 8)
            cold, warm = ask(server), [ask(server) for _ in range(3)]
        with make() as server:
            server.complete(random_prompt(rng, 64), 8)
            restored = ask(server)
        with make() as server:
            at_once = ask(server)
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    finally:
        shutil.rmtree(folder)
    print(f"first token behind {arguments.tokens} tokens: cold {cold * 1e3:.0f} ms; again "
          f"{statistics.median(warm) * 1e3:.0f} ms, {100 * statistics.median(warm) / cold:.2f} %; after a restart "
          f"{restored * 1e3:.0f} ms, {100 * restored / cold:.2f} %; as the first request {at_once * 1e3:.0f} ms, "
          f"{100 * at_once / cold:.2f} %; {size / 1e6:.0f} MB on disk")


class ReadyRequests:
    """Requests made beforehand, sent and read over connections that stay by one thread: what the client takes of the
    machine it takes from the server, and five times as much at five times the rate."""

    def __init__(self, server, arguments, rng, count):
        self.port, self.requests, self.idle = server.port, [], []
        self.whole = f'"completion_tokens":{arguments.answer},'.encode()
        for _ in range(count):
            body = json.dumps({"prompt": random_prompt(rng, arguments.prompt), "max_tokens": arguments.answer,
                               "temperature": 0, "ignore_eos": True, "infer_os": {"deadline_ms": arguments.deadline_ms}})
            self.requests.append((f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                  f"Content-Length: {len(body)}\r\n\r\n{body}").encode())

    def send(self, selector, number):
        connection = self.idle.pop() if self.idle else socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(self.requests[number])
        selector.register(connection, selectors.EVENT_READ, [time.monotonic(), b""])

    def receive(self, selector, key):
        """None, or (status, whether the answer is whole, seconds) where that is all."""
        begin, seen = key.data
        part = key.fileobj.recv(1 << 16)
        seen += part
        key.data[1] = seen
        head, found, body = seen.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head) if found else None
        if part and (length is None or len(body) < int(length[1])):
            return None
        selector.unregister(key.fileobj)
        if part:
            self.idle.append(key.fileobj)
        else:
            key.fileobj.close()
        status = int(seen[9:12]) if seen.startswith(b"HTTP/1.1 ") else 0
        return status, self.whole in body, time.monotonic() - begin

    def run(self, due, at_once=None):
        """Each is sent when it is due, or, with at_once, whenever fewer are under way. Their outcomes."""
        outcomes, number, begin = [], 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            while number < len(due) or selector.get_map():
                wait = max(0, begin + due[number] - time.monotonic()) if number < len(due) else 60
                if number < len(due) and wait == 0 and len(selector.get_map()) < (at_once or len(due)):
                    self.send(selector, number)
                    number += 1
                    continue
                for key, _ in selector.select(wait or 60):
                    outcome = self.receive(selector, key)
                    if outcome is not None:
                        outcomes.append(outcome)
        return outcomes, time.monotonic() - begin


def goodput(server, rate, seconds, arguments, rng):
    """Answers finished within their deadline, per second, of requests that come in at `rate`."""
    due = [0.0]
    while due[-1] < seconds:
        due.append(due[-1] + rng.expovariate(rate))
    requests = ReadyRequests(server, arguments, rng, len(due))
    cpu = time.process_time()
    outcomes, taken = requests.run(due)
    cpu = (time.process_time() - cpu) / taken
    in_time = arguments.deadline_ms / 1e3 + 0.1
    good = sum(1 for status, whole, took in outcomes if status == 200 and whole and took <= in_time)
    refused = sum(1 for status, _, _ in outcomes if status != 200)
    print(f"{server.name:13} {rate:6.2f} requests/s come in: {good / taken:.2f} good answers/s; {len(outcomes)} requests, "
          f"{good} good, {len(outcomes) - good - refused} ended late or short, {refused} refused; the client took "
          f"{100 * cpu:.1f} % of a core", flush=True)
    return good / taken


def overload(arguments):
    with inferos(arguments.model, arguments.prompt + arguments.answer + 64, 8) as server:
        rng = random.Random(5)
        # What it can do: eight at a time, one after the other.
        requests = ReadyRequests(server, arguments, rng, arguments.count)
        outcomes, taken = requests.run([0.0] * arguments.count, 8)
        capacity = len(outcomes) / taken
        print(f"{server.name:13} eight clients, one after the other: {capacity:.2f} answers/s", flush=True)
        saturated = goodput(server, capacity, arguments.seconds, arguments, rng)
        flooded = goodput(server, 5 * capacity, arguments.seconds, arguments, rng)
        print(f"goodput at five times as much: {100 * flooded / saturated:.0f} % of that at saturation")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("streams", "prefix", "overload"))
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--llama", metavar="ROOT")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--answer", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--count", type=int, default=64, help="of the requests that the capacity is measured with")
    parser.add_argument("--deadline-ms", type=int, default=10000)
    parser.add_argument("--vocabulary", type=int, default=40000, help="prompts are of tokens below this")
    arguments = parser.parse_args()
    global VOCABULARY
    VOCABULARY = arguments.vocabulary
    {"streams": streams, "prefix": prefix, "overload": overload}[arguments.what](arguments)


main()
