#!/usr/bin/env python3
"""`inferos serve` under load: what it promises for many, slow, hostile and vanishing clients, measured from outside.

    tests/e2e/serve_load.py build/release/inferos [--full] [--model FILE] [NAME...]

Names: health idle resets slow policy random throughput. Each prints its figures and fails when a promise is broken.
Without --full everything is small enough for a test. The full sizes need 12,000 open files for server and client each
(ulimit -n) and as many local ports (sysctl net.ipv4.ip_local_port_range); `slow` needs Debian's slowhttptest.
Without --model the built-in one is served. Exit codes: 0, 1 a broken promise, 77 nothing could be run.
"""
import argparse
import asyncio
import collections
import heapq
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import random_bodies

TOKEN = "token-of-the-load-test"
SKIPPED = 77
TEXT = "Once upon a time there was an old king who"


class Broken(Exception):
    """A promise that was not kept."""


class Skip(Exception):
    """What is missing here."""


def require(kept, message):
    if not kept:
        raise Broken(message)


def say(text):
    print(f"  {text}", flush=True)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]


def times_text(seconds):
    return (f"p50 {percentile(seconds, .5) * 1e3:.1f} ms, p99 {percentile(seconds, .99) * 1e3:.1f} ms, "
            f"most {max(seconds) * 1e3:.1f} ms ({len(seconds)})")


class Server:
    """The program, serving on a free port until the block ends; then it must end politely."""

    def __init__(self, options, *arguments):
        self.command = [options.binary, "serve", "--json", *arguments]
        if options.model:
            self.command += ["--model", options.model]

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix="inferos-load-")
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOME": self.home, "XDG_STATE_HOME": self.home, "INFEROS_RANDOM_PORT": "true",
                 "INFEROS_AGENT_TOKEN": TOKEN})
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline()
            require(line, "the server did not start")
            text += line
        self.url = json.loads(text)["url"]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        if kind is None:
            require(code == 0, f"the server ended with {code}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask(self, method, path, body=None, **headers):
        """Status and JSON (or text) of one exchange."""
        with self.connect() as connection:
            status, reply = exchange(connection, method, path, body, headers)
        try:
            return status, json.loads(reply)
        except ValueError:
            return status, reply

    def figures(self):
        """The metrics of Prometheus, labels included in the names."""
        _, page = self.ask("GET", "/metrics")
        return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", page.decode(), re.M)}

    def wait_until_idle(self, seconds=60):
        end = time.monotonic() + seconds
        while True:
            _, health = self.ask("GET", "/v1/health")
            figures = self.figures()
            left = figures["inferos_requests_running"] + figures["inferos_requests_waiting"]
            if left == 0 and not health.get("calls"):
                return figures
            require(time.monotonic() < end, f"{left:.0f} requests are still under way, {health.get('calls')} calls")
            time.sleep(0.05)


def request_bytes(method, path, body=None, headers=None, close=False):
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n"
    for name, value in (headers or {}).items():
        head += f"{name.replace('_', '-')}: {value}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + data


def read_reply(connection, pending=b""):
    """Status, body and what came behind it, of a reply with a length."""
    while b"\r\n\r\n" not in pending:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed within a head")
        pending += more
    head, pending = pending.split(b"\r\n\r\n", 1)
    status = int(head.split(b" ", 2)[1])
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if length is None:  # A stream: to its end.
        while not pending.endswith(b"0\r\n\r\n"):
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("closed within a stream")
            pending += more
        return status, pending, b""
    size = int(length[1])
    while len(pending) < size:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed within a body")
        pending += more
    return status, pending[:size], pending[size:]


def exchange(connection, method, path, body=None, headers=None):
    connection.sendall(request_bytes(method, path, body, headers))
    status, reply, _ = read_reply(connection)
    return status, reply


def completion(tokens, number=0, **more):
    return {"prompt": f"{number} {TEXT}", "max_tokens": tokens, "ignore_eos": True, **more}


def raise_open_files(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"{wanted} open files are needed, but ulimit -Hn is {hard}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# ---- Clients that keep the engine busy, in a process of their own.

async def stream_for_ever(port, number):
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes("POST", "/v1/completions", completion(64, number, stream=True), close=True))
        while await reader.read(65536):
            pass
        writer.close()


def busy_clients(port, count):
    async def run():
        await asyncio.gather(*(stream_for_ever(port, number) for number in range(count)))
    asyncio.run(run())


def idle_connections(server, count):
    """Each was used once."""
    connections = []
    for _ in range(count):
        connection = server.connect()
        status, _ = exchange(connection, "GET", "/v1/health")
        require(status == 200, f"health is {status} while connections are opened")
        connections.append(connection)
    return connections


# ---- The scenarios.

def health(options):
    """Health answers in time while the engine has all that it can do."""
    idle, active, seconds = (1000, 100, 20) if options.full else (50, 20, 1.5)
    raise_open_files(idle + 300)
    with Server(options) as server:
        kept = idle_connections(server, idle)
        busy = multiprocessing.Process(target=busy_clients, args=(server.port, active), daemon=True)
        busy.start()
        while server.figures()["inferos_requests_waiting"] < active / 2:
            time.sleep(0.05)
        seen = {"/v1/health": [], "/v1/metrics": []}
        end = time.monotonic() + seconds
        with server.connect() as connection:
            while time.monotonic() < end:
                for path, times in seen.items():
                    start = time.monotonic()
                    status, _ = exchange(connection, "GET", path)
                    times.append(time.monotonic() - start)
                    require(status == 200, f"{path} is {status}")
                time.sleep(0.005)
        figures = server.figures()
        busy.terminate()
        busy.join()
        for connection in kept:
            status, _ = exchange(connection, "GET", "/v1/health")
            require(status == 200, "an idle connection was lost")
            connection.close()
        say(f"{idle} idle and {active} active connections, {figures['inferos_requests_running']:.0f} requests running "
            f"and {figures['inferos_requests_waiting']:.0f} waiting:")
        for path, times in seen.items():
            say(f"{path}: {times_text(times)}")
        worst = percentile(seen["/v1/health"], .99)
        require(worst <= 0.050, f"the 99th percentile of /v1/health is {worst * 1e3:.1f} ms, above 50 ms")


def idle(options):
    """Many connections that do nothing are kept, and cost little."""
    count, seconds = (10_000, 20) if options.full else (300, 0.5)
    raise_open_files(count + 300)
    with Server(options) as server:
        idle_connections(server, 1)[0].close()
        before, kernel_before = server.resident_bytes(), kernel_pages()
        kept = idle_connections(server, count)
        after, kernel_after = server.resident_bytes(), kernel_pages()
        time.sleep(seconds)
        for connection in kept[::max(1, count // 200)]:
            status, _ = exchange(connection, "GET", "/v1/health")
            require(status == 200, "an idle connection was lost")
        say(f"{count} idle connections: {(after - before) / count:.0f} bytes of the server's memory each, "
            f"{(kernel_after - kernel_before) * 4096 / count:.0f} of the system's for both ends")
        require((after - before) / count < 8192, "an idle connection costs more than 8 KiB")
        for connection in kept:
            connection.close()


def kernel_pages():
    """Pages that TCP holds, on the whole machine."""
    text = pathlib.Path("/proc/net/sockstat").read_text(encoding="ascii")
    return int(re.search(r"TCP:.* mem (\d+)", text)[1])


def reset_storm(server, count, rng):
    """Connections that send something, wait a random time and reset; at most 200 at once."""
    # Prompts of some pages of the KV cache, which later ones take over.
    prompts = [f"{TEXT} {number}" * 20 for number in range(8)]
    kinds = [
        *(request_bytes("POST", "/v1/completions", {**completion(40), "prompt": prompt, "stream": True})
          for prompt in prompts),
        *(request_bytes("POST", "/v1/completions", {**completion(40), "prompt": prompt}) for prompt in prompts),
        request_bytes("POST", "/v1/chat/completions",
                      {"messages": [{"role": "user", "content": prompts[0]}], "max_tokens": 40, "stream": True}),
        request_bytes("POST", "/v1/embeddings", {"input": [TEXT] * 3}),
        request_bytes("GET", "/v1/metrics"),
        request_bytes("GET", "/v1/events"),
    ]
    waiting = []
    for number in range(count):
        connection = server.connect()
        data = rng.choice(kinds)
        if rng.random() < 0.2:  # Only a part of it.
            data = data[:rng.randrange(len(data))]
        connection.sendall(data)
        heapq.heappush(waiting, (time.monotonic() + rng.random() * 0.2, number, connection))
        while waiting and (len(waiting) >= 200 or waiting[0][0] <= time.monotonic()):
            when, _, oldest = heapq.heappop(waiting)
            time.sleep(max(0.0, when - time.monotonic()))
            reset(oldest, rng)
    for _, _, connection in waiting:
        reset(connection, rng)


def reset(connection, rng):
    if rng.random() < 0.5:
        connection.setblocking(False)
        try:
            connection.recv(rng.randrange(1, 4096))
        except OSError:
            pass
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def resets(options):
    """Clients that vanish leave nothing behind."""
    count = 10_000 if options.full else 300
    rng = random.Random(5)
    with Server(options) as server:
        ask = completion(24, temperature=0)
        answer = server.ask("POST", "/v1/completions", ask)[1]["choices"][0]["text"]
        rounds = []
        for _ in range(3):  # The first fills caches and pools.
            reset_storm(server, count // 3, rng)
            figures = server.wait_until_idle()
            end = time.monotonic() + 30
            while server.open_files() > 40 and time.monotonic() < end:
                time.sleep(0.1)
            rounds.append((server.open_files(), server.resident_bytes(), figures))
        files = [each[0] for each in rounds]
        memory = [each[1] for each in rounds]
        figures = rounds[-1][2]
        nodes = figures["inferos_prefix_cache_nodes"]
        pages = sum(value for name, value in figures.items() if name.startswith("inferos_kv_cache_pages{"))
        say(f"{count} connections reset: open files {files}, memory {[round(m / 1e6, 1) for m in memory]} MB, "
            f"{pages:.0f} KV pages in {nodes:.0f} kept prefixes")
        require(max(files) - min(files) <= 2, f"files stayed open: {files}")
        growth = memory[-1] - memory[0]
        require(growth < (8 << 20) + 200 * count, f"memory grew by {growth} bytes from the first third to the last")
        require(nodes > 0 and pages % nodes == 0, f"{pages} pages are in use, but {nodes} prefixes are kept")
        again = server.ask("POST", "/v1/completions", ask)[1]["choices"][0]["text"]
        require(again == answer, "the answer to the same question is another one")


def slow(options):
    """Clients that send or read slowly do not hold up others."""
    tool = shutil.which("slowhttptest")
    if tool is None:
        raise Skip("slowhttptest is not installed (apt-get install slowhttptest)")
    seconds, attackers = (60, 1000) if options.full else (4, 50)
    raise_open_files(attackers + 300)
    with Server(options) as server:
        before = answer_times(server, min(10, seconds))
        say(f"alone: {times_text(before)}")
        post = ["-t", "POST", "-f", "application/json"]
        attacks = {
            "headers": ["-H", "-i", "5", "-t", "GET", "-u", server.url + "/v1/health"],
            "body": ["-B", "-i", "5", "-s", "8192", *post, "-u", server.url + "/v1/completions"],
            "read": ["-X", "-w", "16", "-y", "32", "-n", "3", "-z", "16", "-k", "3", "-u", server.url + "/openapi.json"],
        }
        for name, arguments in attacks.items():
            attack = subprocess.Popen([tool, "-c", str(attackers), "-r", str(max(50, attackers // 5)), "-l",
                                       str(seconds), "-p", "5", *arguments],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            time.sleep(min(2, seconds / 4))
            during = answer_times(server, seconds - min(4, seconds / 2))
            held = server.open_files()
            attack.communicate(timeout=seconds + 60)
            say(f"slow {name}, {held} files open: {times_text(during)}")
            limit = 2 * percentile(before, .99) + 0.010
            require(percentile(during, .99) <= limit, f"slow {name} made normal requests slow")
        server.wait_until_idle()


def answer_times(server, seconds):
    """Of short answers, one after the other, each over a connection of its own."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        status, reply = server.ask("POST", "/v1/completions", completion(4))
        times.append(time.monotonic() - start)
        require(status == 200, f"a normal request got {status}: {reply}")
        time.sleep(0.02)
    return times


def policy(options):
    """Optimization goes off and on under running answers, and no token is lost."""
    toggles, streams, tokens = (200, 8, 2000) if options.full else (10, 4, 200)
    with Server(options, "--ctx", str(tokens + 200)) as server:
        results, threads = [], []

        def stream(number):
            with server.connect() as connection:
                connection.sendall(request_bytes(
                    "POST", "/v1/completions",
                    completion(tokens, number, stream=True, stream_options={"include_usage": True})))
                _, body, _ = read_reply(connection)
            results.append([json.loads(event) for event in re.findall(rb"data: (\{.*?\})\n", body)])

        for number in range(streams):
            threads.append(threading.Thread(target=stream, args=(number,)))
            threads[-1].start()
        times, done = [], 0
        for number in range(toggles):
            if not any(thread.is_alive() for thread in threads):
                break
            start = time.monotonic()
            status, reply = server.ask("POST", "/v1/baseline", {"enable": number % 2 == 0}, X_Inferos_Token=TOKEN)
            times.append(time.monotonic() - start)
            require(status == 200 and reply["baseline"] == (number % 2 == 0), f"baseline: {status} {reply}")
            done += 1
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        for events in results:
            pieces = [e for e in events if e["choices"] and e["choices"][0]["finish_reason"] is None]
            last = next(e for e in events if e["choices"] and e["choices"][0]["finish_reason"] is not None)
            usage = events[-1]["usage"]["completion_tokens"]
            require(last["choices"][0]["finish_reason"] == "length", f"an answer ended by {last}")
            require(len(pieces) == usage == tokens, f"{len(pieces)} pieces and {usage} tokens instead of {tokens}")
        say(f"optimization switched {done} times under {streams} answers of {tokens} tokens, each whole; "
            f"a switch took {times_text(times)}")


def random_requests(options):
    """Whatever is sent to whatever route: an answer that is no fault of the server's, and no end."""
    count = 20_000 if options.full else 400
    with Server(options) as server:
        _, document = server.ask("GET", "/openapi.json")
        routes = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods
                  if path != "/v1/events"]
        routes += [("POST", path) for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses",
                                               "/v1/embeddings", "/v1/requests/x/cancel")] * 4
        routes += [("GET", "/v1/models"), ("GET", "/v1/models/x"), ("GET", "/v1/health"), ("GET", "/health")]
        seen, failures = collections.Counter(), []

        def send(seed):
            rng = random.Random(seed)
            for _ in range(count // 4):
                method, path = rng.choice(routes)
                body = random_bodies.make(rng)
                try:
                    status, reply = server.ask(method, path, body, X_Inferos_Token=TOKEN, X_Request_Timeout="1")
                except OSError as error:
                    failures.append(f"{method} {path} {body!r}: {error}")
                    return
                seen[status] += 1
                code = (reply.get("error") or {}).get("code") if isinstance(reply, dict) else None
                if status >= 500 and code not in ("overloaded", "deadline_exceeded"):
                    failures.append(f"{method} {path} {body!r}: {status} {reply}")

        threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(f"{sum(seen.values())} requests: " + ", ".join(f"{n} got {s}" for s, n in sorted(seen.items())))
        require(not failures, failures[0] if failures else "")
        require(server.ask("GET", "/v1/health")[0] == 200, "the server is not healthy afterwards")


def throughput(options):
    """Answers over HTTP come at the engine's own speed: the same requests by `inferos batch`, in turns."""
    tasks, tokens, turns = (8, 16, 1) if not options.full else (16, 64, 3) if options.model else (96, 128, 5)
    common = ["--parallel", "8", "--kv", "f16"]
    bodies = [completion(tokens, number, temperature=0) for number in range(tasks)]
    speeds = {"batch": [], "whole": [], "stream": []}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tasks.jsonl"
            path.write_text("".join(json.dumps({"id": str(n), "prompt": body["prompt"]}) + "\n"
                                    for n, body in enumerate(bodies)), encoding="utf-8")
            command = [options.binary, "batch", str(path), "--json", "--ignore-eos", "-n", str(tokens), "--temp", "0",
                       "-w", "16", *common] + (["--model", options.model] if options.model else [])
            result = subprocess.run(command, capture_output=True, check=False)
            require(result.returncode == 0, f"batch failed: {result.stderr.decode()}")
            done = json.loads(result.stdout)
            speeds["batch"].append(done["generated_tokens"] / done["seconds"])
        for kind in ("whole", "stream"):
            with Server(options, *common) as server:
                speeds[kind].append(serve_speed(server, bodies, kind == "stream", tokens))
    middle = {kind: percentile(values, .5) for kind, values in speeds.items()}
    say(f"batch {middle['batch']:.1f} tokens/s; over HTTP {middle['whole']:.1f} whole "
        f"({middle['whole'] / middle['batch']:.1%}), {middle['stream']:.1f} streamed "
        f"({middle['stream'] / middle['batch']:.1%}); {tasks} answers of {tokens} tokens, 8 at once, 16 clients, "
        f"middle of {turns}")
    if options.full:  # Too short otherwise to say anything.
        require(middle["whole"] >= 0.97 * middle["batch"], "HTTP costs more than 3 % of the speed")


def serve_speed(server, bodies, streamed, tokens):
    left = collections.deque(bodies)

    def client():
        with server.connect() as connection:
            while True:
                try:
                    body = left.popleft()
                except IndexError:
                    return
                status, reply = exchange(connection, "POST", "/v1/completions",
                                         {**body, "stream": True} if streamed else body)
                require(status == 200, f"{status}: {reply[:200]!r}")

    threads = [threading.Thread(target=client) for _ in range(16)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(bodies) * tokens / (time.monotonic() - start)


SCENARIOS = {"health": health, "idle": idle, "resets": resets, "slow": slow, "policy": policy,
             "random": random_requests, "throughput": throughput}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--full", action="store_true", help="the sizes of the promises")
    parser.add_argument("--model", help="a GGUF file; the built-in model otherwise")
    options = parser.parse_intermixed_args()
    unknown = [name for name in options.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no {unknown[0]}")
    broken = ran = 0
    for name in options.names or SCENARIOS:
        print(f"{name}: {SCENARIOS[name].__doc__}", flush=True)
        try:
            SCENARIOS[name](options)
            ran += 1
        except Skip as reason:
            say(f"skipped: {reason}")
        except Broken as promise:
            say(f"BROKEN: {promise}")
            broken += 1
    sys.exit(1 if broken else 0 if ran else SKIPPED)


if __name__ == "__main__":
    main()
