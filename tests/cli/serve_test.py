#!/usr/bin/env python3
"""inferos serve: starts, says what it does, answers, and ends when it is told to."""
import http.client
import json
import os
import random
import re
import shlex
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request

import program


class ServeTest(program.ServerTest):
    def test_it_answers_like_run_and_ends_politely(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            process, served = self.start()
            self.assertEqual(self.get(served["url"] + "/health")["status"], "healthy")
            answer = self.post(served["url"] + "/v1/completions",
                               {"prompt": "The old king", "max_tokens": 12, "temperature": 0})
            self.assertEqual(answer["choices"][0]["text"] + "\n",
                             self.output("run", "-p", "The old king", "-n", 12, "--temp", 0))
            self.assertEqual(self.stop(process, how), (0, "", ""))

    def test_an_evaluation_runs_beside_requests_and_its_result_stays(self):
        _, served = self.start("--kv", "q4", INFEROS_AGENT_TOKEN="a-token-of-the-test")
        url = served["url"] + "/v1/evaluate"
        token = {"X-Inferos-Token": "a-token-of-the-test"}

        def told():
            request = urllib.request.Request(url, headers=token)
            with urllib.request.urlopen(request, timeout=program.TIMEOUT) as response:
                return json.load(response)

        self.assertEqual(self.post(url, {"windows": 2}, **token)["status"], "started")
        # Evaluations have what time requests leave, and these leave none where a step takes longer than their client.
        for _ in range(20):
            answer = self.post(served["url"] + "/v1/completions", {"prompt": "The old king", "max_tokens": 4})
            self.assertEqual(answer["usage"]["completion_tokens"], 4)
        status = self.until(told, lambda status: status["results"])
        self.assertEqual(status["current"]["status"], "done")
        self.assertEqual(status["current"]["progress"], 1)
        result = status["results"][0]
        self.assertEqual(result["model"], "tales")
        self.assertEqual(result["positions"], 2 * 255)
        self.assertGreater(result["kld_mean"], 0)
        self.assertAlmostEqual(result["current_ppl"] - result["baseline_ppl"], result["delta_ppl"], 9)
        full = self.until(lambda: self.get(served["url"] + "/v1/metrics")["quality"]["full_evaluation"],
                          lambda full: full["delta_ppl"] == result["delta_ppl"])
        self.assertIsNotNone(full["next_scheduled"])

    def test_a_request_under_way_is_finished_before_the_end(self):
        process, served = self.start()
        host = served["url"].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=program.TIMEOUT)
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": "Once", "max_tokens": 300, "ignore_eos": True, "stream": True}))
        response = connection.getresponse()
        response.readline()
        process.send_signal(signal.SIGTERM)
        rest = response.read().decode()
        self.assertTrue(rest.endswith("data: [DONE]\n\n"), rest[-200:])
        self.assertEqual(self.stop(process), (0, "", ""))

    def test_what_takes_longer_than_the_drain_is_cut_off(self):
        process, served = self.start("--drain", "1ms")
        host = served["url"].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=program.TIMEOUT)
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": "Once", "max_tokens": -1, "ignore_eos": True, "stream": True, "n": 8}))
        response = connection.getresponse()
        response.readline()
        code, _, err = self.stop(process)
        self.assertEqual(code, 0)
        self.assertRegex(err, "1 request was cut off|^$")

    def test_the_port_is_that_of_flag_or_environment(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process, served = self.start("--port", str(port))
        self.assertEqual(served["url"], f"http://127.0.0.1:{port}")
        message = self.error(1, "serve", "--port", port)
        self.assertIn(f"port {port} is in use", message)
        self.assertIn("--port", message)
        self.stop(process)
        self.assertIn("INFEROS_AGENT_PORT", self.error(2, "serve", environment={"INFEROS_AGENT_PORT": "70000"}))
        self.assertIn("--port", self.error(2, "serve", "--port", "x"))

    def complete(self, served, prompt):
        answer = self.post(served["url"] + "/v1/completions", {"prompt": prompt, "max_tokens": 12, "temperature": 0})
        return answer["choices"][0]["text"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    def metric(self, served, name):
        with urllib.request.urlopen(served["url"] + "/metrics", timeout=program.TIMEOUT) as response:
            lines = response.read().decode().split("\n")
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    def test_prefixes_outlive_the_server(self):
        prompt = "The old king had three sons. " * 30
        folder = self.folder / "prefixes"
        process, served = self.start("--kv", "f16", "--prefix-cache", str(folder))
        text, cached = self.complete(served, prompt)
        self.assertEqual(cached, 0)
        self.stop(process)
        process, served = self.start("--kv", "f16", "--prefix-cache", str(folder))
        self.assertEqual(self.complete(served, "Something else. " + prompt)[1], 0)
        again, cached = self.complete(served, prompt)
        self.assertEqual(again, text)
        self.assertGreaterEqual(cached, 128)
        self.until(lambda: self.metric(served, "inferos_prefix_store_restored_tokens_total"),
                   lambda restored: restored == cached)
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        self.stop(process)

    def test_a_folder_that_cannot_be_used_costs_only_the_prefixes(self):
        self.folder.joinpath("file").write_text("not a folder")
        process, served = self.start("--prefix-cache", str(self.folder / "file"))
        self.complete(served, "The old king")
        code, _, err = self.stop(process)
        self.assertEqual(code, 0)
        self.assertIn("prefixes are not kept on disk", err)

    def test_two_servers_killed_at_any_moment_leave_good_prefixes(self):
        seed = int(os.environ.get("INFER_SEED", "1"))
        rng = random.Random(seed)
        folder = self.folder / "prefixes"
        texts = {}
        refused = reused = 0
        for kill in range(6):
            servers = [self.start("--kv", "f16", "--prefix-cache", str(folder)) for _ in range(2)]
            for _ in range(4):
                prompt = f"Story number {rng.randrange(4)}. " * 40
                text, cached = self.complete(servers[rng.randrange(2)][1], prompt)
                self.assertEqual(texts.setdefault(prompt, text), text, f"INFER_SEED={seed}, kill {kill}")
                reused += cached
            refused += sum(self.metric(served, "inferos_prefix_store_files_refused_total") for _, served in servers)
            for process, _ in servers:
                self.stop(process, signal.SIGKILL)
        self.assertEqual(refused, 0)
        self.assertGreater(reused, 0)

    def test_two_servers_run_side_by_side(self):
        _, first = self.start()
        _, second = self.start()
        self.assertNotEqual(first["url"], second["url"])
        for served in (first, second):
            self.assertEqual(self.get(served["url"] + "/v1/models")["data"][0]["id"], "tales")

    def test_the_token_is_kept_for_its_owner_only(self):
        process, served = self.start()
        path = served["token_file"]
        token = self.folder.joinpath(path).read_text().strip()
        self.assertRegex(token, "^[0-9a-f]{64}$")
        mode = stat.S_IMODE(self.folder.joinpath(path).stat().st_mode)
        self.assertEqual(mode, 0o600)
        self.stop(process)
        process, served = self.start()
        self.assertEqual(self.folder.joinpath(served["token_file"]).read_text().strip(), token)
        self.stop(process)
        _, served = self.start(INFEROS_AGENT_TOKEN="a-secret-of-my-own")
        self.assertIsNone(served["token_file"])
        self.assertIn("INFEROS_AGENT_TOKEN", self.no_start(2, INFEROS_AGENT_TOKEN="short"))

    def test_other_addresses_need_the_token_for_everything(self):
        _, served = self.start("--host", "0.0.0.0", INFEROS_AGENT_TOKEN="a-secret-of-my-own")
        url = "http://127.0.0.1:" + served["url"].rsplit(":", 1)[1]
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.get(url + "/v1/models")
        self.assertEqual(refused.exception.code, 401)
        self.assertEqual(json.load(refused.exception)["error"]["code"], "invalid_api_key")
        request = urllib.request.Request(url + "/v1/models", headers={"Authorization": "Bearer a-secret-of-my-own"})
        with urllib.request.urlopen(request, timeout=program.TIMEOUT) as response:
            self.assertEqual(response.status, 200)

    def test_a_draft_model_changes_no_answer_and_is_counted(self):
        process, served = self.start("--draft", self.tales)
        self.assertEqual(served["draft_model"], "tales-q8_0.gguf")
        self.assertGreater(served["draft_bytes_max"], 6_000_000)
        for temperature in (0, 0.8):
            body = {"prompt": "The old king had three sons, and", "max_tokens": 60, "temperature": temperature, "seed": 7}
            self.assertEqual(self.post(served["url"] + "/v1/completions", body)["choices"][0]["text"] + "\n",
                             self.output("run", "-p", body["prompt"], "-n", 60, "--temp", temperature, "--seed", 7))
        drafts = self.until(lambda: self.get(served["url"] + "/v1/metrics")["quality"]["accept_rate"]["drafts"],
                            lambda drafts: drafts["draft_model"]["kv_bytes"] == 0)
        self.assertGreater(self.metric(served, "inferos_draft_model_computed_tokens_total"), 0)
        self.assertEqual(self.metric(served, "inferos_draft_model_failures_total"), 0)
        self.assertLessEqual(drafts["model"]["accepted"], drafts["model"]["drafted"])
        self.stop(process)

    def test_a_draft_model_that_cannot_be_used_says_why(self):
        random_weights = self.folder / "tiny.gguf"
        self.output("make-model", "--shape", "llama-tiny", "--type", "f32", random_weights)
        self.assertIn("has no vocabulary", self.no_start(3, "--draft", random_weights))
        self.assertIn("no such file", self.no_start(3, "--draft", self.folder / "none.gguf"))
        too_little = self.no_start(5, "--draft", self.tales, "--memory-limit", "60MB")
        self.assertRegex(too_little, r"tales-q8_0.gguf, beside .* of tales")

    def test_a_wrong_model_is_an_error_of_the_file(self):
        self.assertIn("no such file", self.no_start(3, "-m", self.folder / "none.gguf"))

    def test_prompts_and_answers_are_never_logged(self):
        process, served = self.start("--verbose")
        answer = self.post(served["url"] + "/v1/completions", {"prompt": "Zanzibar secret", "max_tokens": 9})
        code, _, err = self.stop(process)
        self.assertEqual(code, 0)
        self.assertRegex(err, r"POST /v1/completions 200 \d+ bytes")
        self.assertNotIn("Zanzibar", err)
        self.assertNotIn(answer["choices"][0]["text"].strip()[:12] or "never", err)

    def test_contents_are_logged_where_that_is_asked_for(self):
        process, served = self.start("--log-content")
        answer = self.post(served["url"] + "/v1/completions", {"prompt": "Zanzibar\nsecret", "max_tokens": 9},
                           **{"X-Request-Id": "mine"})
        code, _, err = self.stop(process)
        self.assertEqual(code, 0)
        lines = [line.split(" ", 3)[1:] for line in err.splitlines()]
        self.assertEqual([line[:2] for line in lines], [["mine", "asked"], ["mine", "answered"]])
        self.assertEqual(json.loads(json.loads(lines[0][2]))["prompt"], "Zanzibar\nsecret")
        self.assertEqual(json.loads(lines[1][2]), answer["choices"][0]["text"])

    def test_lines_of_requests_obey_the_level_of_the_log(self):
        process, served = self.start("--verbose", *self.config("infer_os:\n  log_level: warning\n"),
                                     INFEROS_AGENT_TOKEN="a-token-of-the-test")
        # One connection: the line of a request is written before the next one is read.
        connection = http.client.HTTPConnection(served["url"].removeprefix("http://"), timeout=program.TIMEOUT)
        self.addCleanup(connection.close)

        def ask(method, path, body=None):
            connection.request(method, path, body and json.dumps(body), {"X-Inferos-Token": "a-token-of-the-test"})
            return json.load(connection.getresponse())

        ask("GET", "/v1/health?first")
        self.assertEqual(ask("POST", "/v1/config", {"log_level": "info"})["needs_restart"], [])
        ask("GET", "/v1/health?second")
        ask("POST", "/v1/config", {"log_level": "error"})
        ask("GET", "/v1/health?third")
        connection.close()
        code, _, err = self.stop(process)
        self.assertEqual(code, 0)
        self.assertNotIn("first", err)
        self.assertRegex(err, r"GET /v1/health\?second 200 \d+ bytes")
        self.assertNotIn("third", err)

    def config(self, text):
        path = self.folder / "inferos.yaml"
        path.write_text(text)
        return "--config", str(path)

    def refusal(self, url, body, **headers):
        """Status and error object of a request that must fail."""
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.post(url, body, **headers)
        with refused.exception as reply:
            return reply.code, json.load(reply)["error"]

    def test_the_file_names_threads_and_what_is_logged(self):
        blocked = self.folder / "file"
        blocked.write_text("in the way")  # Of a folder: a warning.
        threads = []
        for count, level in ((1, "error"), (4, "warning")):
            process, served = self.start("--prefix-cache", str(blocked / "below"), *self.config(
                f"infer_os:\n  log_level: {level}\n  server:\n    io_threads: {count}\n"))
            self.assertEqual(self.get(served["url"] + "/health")["status"], "healthy")
            if os.path.isdir("/proc/self/task"):
                threads.append(len(os.listdir(f"/proc/{process.pid}/task")))
            code, _, err = self.stop(process)
            self.assertEqual(code, 0)
            self.assertEqual("warning" in err, level == "warning", err)
        if threads:
            self.assertEqual(threads[1] - threads[0], 3)

    def test_a_limit_for_the_first_token_is_that_of_the_file_or_of_the_request(self):
        prompt = "The old king had three sons. " * 250
        _, served = self.start(*self.config("infer_os:\n  deadlines:\n    first_token_ms: 1\n    stall_ms: 60000\n"))
        url = served["url"] + "/v1/completions"
        code, error = self.refusal(url, {"prompt": prompt, "max_tokens": 4})
        self.assertEqual((code, error["code"]), (504, "deadline_exceeded"))
        self.assertIn("first_token_ms passed before the first token", error["message"])
        own = {"first_token_ms": 60000, "stall_ms": 60000}
        answer = self.post(url, {"prompt": prompt, "max_tokens": 4, "ignore_eos": True, "infer_os": own})
        self.assertEqual(answer["usage"]["completion_tokens"], 4)
        self.assertIsNone(answer["infer_os"]["passed_limit"])
        for wrong in ({"first_token_ms": 0}, {"stall_ms": "soon"}):
            code, error = self.refusal(url, {"prompt": prompt, "infer_os": wrong})
            self.assertEqual((code, error["param"]), (400, "infer_os." + next(iter(wrong))))

    def test_more_than_may_wait_is_told_to_come_back(self):
        _, served = self.start(*self.config("infer_os:\n  server:\n    running_max: 1\n    waiting_max: 1\n"))
        host = served["url"].removeprefix("http://")
        body = {"prompt": "Once", "max_tokens": 2000, "ignore_eos": True, "stream": True}
        connections = []
        for number in range(8):  # One is computed, one waits; the others come at once.
            connection = http.client.HTTPConnection(host, timeout=program.TIMEOUT)
            self.addCleanup(connection.close)
            connection.request("POST", "/v1/completions", json.dumps({**body, "prompt": f"{number}"}))
            connections.append(connection)
        refused = [reply for reply in (connection.getresponse() for connection in connections) if reply.status != 200]
        self.assertTrue(refused)
        for reply in refused:
            self.assertEqual(reply.status, 503)
            self.assertTrue(reply.headers["Retry-After"])
            self.assertIn("the queue is full (1 waiting, at most 1)", json.load(reply)["error"]["message"])

    def test_a_bias_chooses_and_forbids_tokens(self):
        _, served = self.start()
        url = served["url"] + "/v1/completions"
        ids = self.document("tokenize", "--no-special", "-p", " king")["ids"]
        self.assertEqual(len(ids), 1)
        body = {"prompt": "The old", "max_tokens": 5, "temperature": 0, "ignore_eos": True}
        chosen = self.post(url, {**body, "logit_bias": {str(ids[0]): 100}})["choices"][0]["text"]
        self.assertEqual(chosen, " king" * 5)
        forbidden = self.post(url, {**body, "max_tokens": 60, "logit_bias": {str(ids[0]): -100}})
        self.assertNotIn(" king", forbidden["choices"][0]["text"])
        code, error = self.refusal(url, {**body, "logit_bias": {"4096": 1}})
        self.assertEqual((code, error["param"]), (400, "logit_bias"))

    def test_parallel_tool_calls_is_a_word_of_the_chat_api(self):
        _, served = self.start()
        url = served["url"] + "/v1/chat/completions"
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}
        plain = self.post(url, body)["choices"][0]["message"]
        self.assertEqual(self.post(url, {**body, "parallel_tool_calls": False})["choices"][0]["message"], plain)
        code, error = self.refusal(url, {**body, "parallel_tool_calls": "no"})
        self.assertEqual((code, error["param"]), (400, "parallel_tool_calls"))

    def test_settings_without_effect_are_named(self):
        _, served = self.start(INFEROS_AGENT_TOKEN="a-token-of-the-test")
        token = {"X-Inferos-Token": "a-token-of-the-test"}
        reply = self.post(served["url"] + "/v1/config",
                          {"scheduler": {"decode_device": "npu"}, "kv": {"recent_window": 128}}, **token)
        self.assertEqual(list(reply["without_effect"]), ["scheduler.decode_device"])
        self.assertIn("kv.recent_window", reply["applied"])

    def test_the_documented_lines_work(self):
        process, served = self.start()
        for name in ("README.md", "README.ja.md", "docs/formats/openai_api.md"):
            lines = re.findall(r"^    (curl .*)$", (self.repository / name).read_text(), re.MULTILINE)
            self.assertTrue(lines, name)
            for line in lines:
                arguments = shlex.split(line.replace("http://127.0.0.1:7031", served["url"]))
                result = subprocess.run([*arguments, "-sS", "--fail"], capture_output=True, timeout=program.TIMEOUT,
                                        check=False)
                self.assertEqual(result.returncode, 0, f"{line}\n{result.stderr.decode()}")
                self.assertTrue(result.stdout, line)
        self.stop(process)

    def test_what_is_printed_can_be_pasted(self):
        process = subprocess.Popen([self.binary, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True,
                                   env=self.environment())
        self.addCleanup(self.stop, process)
        lines = []
        while sum(line.startswith("curl ") for line in lines) < 3:
            lines.append(process.stdout.readline())
            self.assertTrue(lines[-1])
        for line in lines:
            if line.startswith("curl "):
                result = subprocess.run([*shlex.split(line), "-sS", "--fail"], capture_output=True,
                                        timeout=program.TIMEOUT, check=False)
                self.assertEqual(result.returncode, 0, line)
                self.assertTrue(result.stdout)


program.main()
