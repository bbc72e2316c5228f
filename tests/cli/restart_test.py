#!/usr/bin/env python3
"""A server whose engine hangs: the truth at once, a clean error for requests, and a new engine on the same port."""
import http.client
import json
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import program


class RestartTest(program.ProgramTest):
    def start(self, *arguments):
        process = subprocess.Popen([self.binary, "serve", "--json", *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True,
                                   env=self.environment(INFEROS_RANDOM_PORT="true", INFER_TEST_HANG=str(self.hang)))
        self.addCleanup(self.stop, process)
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            self.assertTrue(line)
            text += line
        return process, json.loads(text)

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=program.TIMEOUT)
        return process.returncode, out, err

    def setUp(self):
        super().setUp()
        self.hang = self.folder / "hang"

    def complete(self, url, answers=None):
        request = urllib.request.Request(url + "/v1/completions", json.dumps(
            {"prompt": "The old king", "max_tokens": 8, "temperature": 0}).encode())
        try:
            with urllib.request.urlopen(request, timeout=program.TIMEOUT) as response:
                status, body = response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, json.load(error)
        except OSError as error:
            status, body = 0, str(error)
        if answers is not None:
            answers.append((status, body))
        return status, body

    def until(self, condition):
        start = time.monotonic()
        while not condition():
            self.assertLess(time.monotonic() - start, program.TIMEOUT)
            time.sleep(0.02)
        return time.monotonic()

    def is_ready(self, url):
        try:
            with urllib.request.urlopen(url + "/health", timeout=program.TIMEOUT):
                return True
        except OSError:
            return False

    def test_a_lost_engine_is_replaced_on_the_same_port(self):
        process, served = self.start()
        status, before = self.complete(served["url"])
        self.assertEqual(status, 200)
        self.hang.write_text("")
        answers = []
        client = threading.Thread(target=self.complete, args=(served["url"], answers))
        client.start()
        began = self.until(lambda: not self.hang.exists())
        seen = self.until(lambda: not self.is_ready(served["url"])) - began
        back = self.until(lambda: self.is_ready(served["url"])) - began
        client.join()
        print(f"not ready after {seen:.2f} s, ready again after {back:.2f} s")
        self.assertEqual(len(answers), 1)
        status, body = answers[0]
        self.assertGreaterEqual(status, 500, body)
        self.assertIn("error", body)
        status, after = self.complete(served["url"])
        self.assertEqual((status, after["choices"]), (200, before["choices"]))
        self.assertIsNone(process.poll())  # It is the same process.
        code, out, err = self.stop(process)
        self.assertEqual((code, out), (0, ""))
        self.assertIn("restart 1", err)

    def test_a_server_told_to_end_while_its_engine_hangs_ends(self):
        process, served = self.start("--drain", "100ms")
        self.hang.write_text("")
        client = threading.Thread(target=self.complete, args=(served["url"],))
        client.start()
        self.until(lambda: not self.hang.exists())
        self.until(lambda: not self.is_ready(served["url"]))
        code, _, err = self.stop(process)
        client.join()
        self.assertEqual(code, 1)
        self.assertIn("left behind", err)


program.main()
