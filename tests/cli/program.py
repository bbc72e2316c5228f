"""Runs the program under test: `program.main()` takes its path and the repository's from the command line."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

TIMEOUT = 120


class ProgramTest(unittest.TestCase):
    """A test with the binary, the repository and a folder of its own that is removed afterwards."""
    binary = ""
    repository = pathlib.Path()

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="inferos-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def tales(self):
        return str(self.repository / "models/tales-q8_0.gguf")

    def environment(self, **extra):
        """A plain environment, with the state folder inside the test's."""
        plain = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "TERM": "xterm", "LC_ALL": "C"}
        kept = {name: value for name, value in os.environ.items() if name.startswith(("ASAN_", "UBSAN_", "TSAN_"))}
        return {**plain, **kept, **extra}

    def run_program(self, *arguments, stdin=b"", environment=None, **options):
        arguments = [argument if isinstance(argument, bytes) else str(argument) for argument in arguments]
        return subprocess.run([self.binary, *arguments], input=stdin, capture_output=True, timeout=TIMEOUT,
                              env=self.environment(**(environment or {})), check=False, **options)

    def output(self, *arguments, **options):
        """The standard output of a run that must succeed without a word on standard error."""
        result = self.run_program(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout.decode()

    def document(self, *arguments, **options):
        return json.loads(self.output(*arguments, "--json", **options))

    def error(self, code, *arguments, **options):
        """The one line on standard error of a run that must fail with this exit code."""
        result = self.run_program(*arguments, **options)
        text = result.stderr.decode()
        self.assertEqual(result.returncode, code, text)
        self.assertTrue(text.startswith("inferos: ") and text.endswith("\n"), text)
        self.assertEqual(text.count("\n"), 1, text)
        return text


class ServerTest(ProgramTest):
    """A test with servers, which are stopped after it."""

    def start(self, *arguments, **environment):
        """A server on a free port; the JSON that it printed."""
        process = subprocess.Popen([self.binary, "serve", "--json", *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True,
                                   env=self.environment(INFEROS_RANDOM_PORT="true", **environment))
        self.addCleanup(self.stop, process)
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            self.assertTrue(line, process.stderr.read() if not line else "")
            text += line
        return process, json.loads(text)

    def no_start(self, code, *arguments, **environment):
        """The one line of a server that must not start: on a free port, so that it fails for its own reason only."""
        return self.error(code, "serve", *arguments, environment={"INFEROS_RANDOM_PORT": "true", **environment})

    def stop(self, process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
        out, err = process.communicate(timeout=TIMEOUT)
        return process.returncode, out, err

    def until(self, ask, right):
        """Asks until the answer is right, and returns it: figures are published after the answers that they count."""
        deadline = time.monotonic() + TIMEOUT
        while not right(seen := ask()):
            self.assertLess(time.monotonic(), deadline, seen)
        return seen

    def get(self, url):
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return json.load(response)

    def post(self, url, body, **headers):
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)


def main():
    ProgramTest.binary, ProgramTest.repository = sys.argv[1], pathlib.Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
