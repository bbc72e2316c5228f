#!/usr/bin/env python3
"""Settings that are searched and compared: inferos tune and ab, /v1/tune and /v1/ab of a server that answers meanwhile."""
import json
import time
import urllib.error
import urllib.request

import program

TOKEN = {"X-Inferos-Token": "a-token-of-the-test"}
# The least work that is a measurement.
LITTLE = ("--pp", 64, "-n", 8, "--trials", 8, "--try-threads", 1)


class CommandTest(program.ProgramTest):
    def test_tune_writes_settings_that_can_be_undone(self):
        file, before = self.folder / "tuned.yaml", self.folder / "tuned.yaml.before"
        file.write_text("infer_os:\n  kv:\n    mode: q8\n")
        found = self.document("tune", *LITTLE, "-o", file)
        self.assertFalse(found["stopped"])
        self.assertLessEqual(len(found["trials"]), 8)
        self.assertTrue(found["choice"]["allowed"])
        self.assertIn(found["drafts"]["draft_max"], (0, 15))
        self.assertIn("mode: " + found["choice"]["kv_mode"], file.read_text())
        self.assertIn(f"draft_max: {found['drafts']['draft_max']}", file.read_text())
        self.assertNotIn("running_max", file.read_text(), "one answer at once is not a choice")
        self.assertEqual(before.read_text(), "infer_os:\n  kv:\n    mode: q8\n")

        self.assertEqual(self.output("tune", "--undo", file), "")
        self.assertEqual(file.read_text(), "infer_os:\n  kv:\n    mode: q8\n")
        self.assertFalse(before.exists())
        self.assertIn("nothing to undo", self.error(3, "tune", "--undo", file))
        self.assertEqual(file.read_text(), "infer_os:\n  kv:\n    mode: q8\n")

    def test_undoing_removes_what_was_not_there_before(self):
        file = self.folder / "tuned.yaml"
        self.assertIn(f"inferos tune --undo {file} brings back", self.output("tune", *LITTLE, "-o", file))
        self.assertTrue(file.exists())
        self.output("tune", "--undo", file)
        self.assertEqual(sorted(path.name for path in self.folder.glob("tuned*")), [])

    def test_answers_at_once_are_searched_and_written(self):
        file = self.folder / "tuned.yaml"
        found = self.document("tune", *LITTLE, "--try-parallel", "2,1", "-o", file)
        self.assertEqual({trial["running_max"] for trial in found["trials"]}, {1, 2})
        self.assertIn(f"running_max: {found['choice']['running_max']}", file.read_text())

    def test_a_file_that_cannot_be_written_is_told_before_the_work(self):
        text = self.error(3, "tune", "-o", self.folder / "nowhere" / "tuned.yaml")
        self.assertIn("its folder does not exist", text)

    def test_what_is_wrong_is_said(self):
        short = self.folder / "short.txt"
        short.write_text("Too short.")
        for code, words, arguments in (
                (2, "give a longer text with -f, or less with --pp", ("tune", "-f", short)),
                (3, "no such file", ("tune", "-f", self.folder / "nothing.txt")),
                (2, "one of chat, batch, quality", ("tune", "--use", "everything")),
                (2, "not \"q5\"", ("ab", "kv.mode=q8", "kv.mode=q5")),
                (2, "did you mean kv.mode?", ("ab", "kv.mod=q8", "kv.mode=q4")),
                (2, "makes no difference here", ("ab", "server.port=1", "server.port=2"))):
            self.assertIn(words, self.error(code, *arguments))

    def test_ab_measures_both_and_gives_a_verdict(self):
        found = self.document("ab", "kv.mode=disabled", "kv.mode=q4,kv.recent_window=16", "--pairs", 4, "--pp", 192,
                              "-n", 16)
        self.assertEqual(found["a"]["delta_ppl"], [0, 0, 0, 0])
        self.assertTrue(all(delta > 0 for delta in found["b"]["delta_ppl"]))
        for arm in "ab":
            self.assertEqual(len(found[arm]["decode_tokens_per_second"]), 4)
        for difference in ("speed", "first_token", "quality"):
            self.assertLess(found[difference]["low"], found[difference]["high"])
        self.assertIn("perplexity", found["verdict"])


class ServerTest(program.ServerTest):
    def ask(self, url):
        with urllib.request.urlopen(urllib.request.Request(url, headers=TOKEN), timeout=program.TIMEOUT) as response:
            return json.load(response)

    def wait_for(self, url, status):
        """Asks until the work at this address has ended; requests come meanwhile, as many as an A/B test needs."""
        deadline = time.monotonic() + 2 * program.TIMEOUT
        requests = 0
        while self.ask(url)["status"] == "running":
            if requests < 16:
                self.complete(url)
            requests += 1
            self.assertLess(time.monotonic(), deadline)
        told = self.ask(url)
        self.assertEqual(told["status"], status)
        return told

    def complete(self, url):
        base = url.rpartition("/v1/")[0]
        return self.post(base + "/v1/completions", {"prompt": "The old king", "max_tokens": 24, "ignore_eos": True})

    def refusal(self, url, body):
        with self.assertRaises(urllib.error.HTTPError) as raised:
            self.post(url, body, **TOKEN)
        return raised.exception.code, json.load(raised.exception)["error"]

    def test_a_server_tunes_itself_beside_requests_and_goes_back(self):
        _, served = self.start(INFEROS_AGENT_TOKEN=TOKEN["X-Inferos-Token"])
        tune, policy = served["url"] + "/v1/tune", served["url"] + "/v1/policy"
        before = self.get(policy)
        started = self.post(tune, {"use": "quality", "trials": 8, "apply": True}, **TOKEN)
        self.assertEqual(started["status"], "started")
        left_out = {each["setting"]: each["reason"] for each in started["not_searched"]}
        self.assertEqual(set(left_out), {"model.threads", "server.running_max", "model.draft_max"})
        self.assertTrue(all("when a server starts" in reason for reason in left_out.values()))

        told = self.wait_for(tune, "done")
        self.assertLessEqual(len(told["trials"]), 8)
        self.assertEqual(told["max_delta_ppl"], 0.1)
        self.assertTrue(told["choice"]["allowed"])
        self.assertTrue(told["reason"])
        self.assertEqual(told["not_searched"], started["not_searched"])
        deadline = time.monotonic() + program.TIMEOUT
        while not self.ask(tune)["can_undo"]:
            self.assertLess(time.monotonic(), deadline)
        now = self.get(policy)
        self.assertEqual(now["kv"]["mode"], told["choice"]["kv_mode"])
        self.assertEqual(now["kv"]["recent_window"], told["choice"]["recent_window"])

        self.assertEqual(self.post(tune, {"undo": True}, **TOKEN)["status"], "undone")
        self.assertEqual(self.get(policy), before)
        self.assertEqual(self.refusal(tune, {"undo": True}), (409, {
            "code": 409, "message": "Nothing to undo",
            "details": "no choice of a tuning is in effect, or another policy was chosen since"}))

    def test_a_tuning_can_be_cancelled_and_one_runs_at_a_time(self):
        _, served = self.start(INFEROS_AGENT_TOKEN=TOKEN["X-Inferos-Token"])
        tune = served["url"] + "/v1/tune"
        before = self.get(served["url"] + "/v1/policy")
        self.post(tune, {"parallel": 8, "apply": True}, **TOKEN)
        code, error = self.refusal(tune, {})
        self.assertEqual(code, 409)
        self.assertIn("wait for it, or cancel it", error["details"])
        self.assertEqual(self.post(tune, {"cancel": True}, **TOKEN)["status"], "cancelled")
        self.assertEqual(self.ask(tune)["status"], "cancelled")
        self.assertEqual(self.get(served["url"] + "/v1/policy"), before)
        code, error = self.refusal(tune, {"trials": 3})
        self.assertEqual(code, 400)
        self.assertIn("trials", error["details"])

    def test_a_server_compares_two_policies_on_its_requests(self):
        _, served = self.start(INFEROS_AGENT_TOKEN=TOKEN["X-Inferos-Token"])
        compare, policy = served["url"] + "/v1/ab", served["url"] + "/v1/policy"
        before = self.get(policy)
        wished = {"a": {"kv": {"mode": "disabled"}}, "b": {"kv": {"mode": "throughput_optimized"}}, "answers": 8}
        self.assertEqual(self.post(compare, wished, **TOKEN)["status"], "started")
        self.assertEqual(self.refusal(compare, wished)[0], 409)
        told = self.wait_for(compare, "done")
        for arm, mode in (("a", "disabled"), ("b", "throughput_optimized")):
            self.assertEqual(told[arm]["policy"]["kv"]["mode"], mode)
            self.assertGreater(told[arm]["answers"], 0)
            self.assertGreater(told[arm]["decode_tokens_per_second"], 0)
        self.assertGreaterEqual(told["a"]["answers"] + told["b"]["answers"], 8)
        self.assertIn("first token", told["verdict"])
        self.assertEqual(self.get(policy), before)
        code, error = self.refusal(compare, {"b": {"kv": {"mode": "q5"}}})
        self.assertEqual(code, 400)
        self.assertIn("kv.mode must be one of", error["details"])

    def test_what_tune_wrote_is_what_a_server_does(self):
        file = self.folder / "tuned.yaml"
        found = self.document("tune", *LITTLE, "--try-parallel", "2,1", "-o", file)
        _, served = self.start("--config", str(file), INFEROS_AGENT_TOKEN=TOKEN["X-Inferos-Token"])
        settings = self.get(served["url"] + "/v1/config")["infer_os"]
        self.assertEqual(settings["kv"]["mode"], found["choice"]["kv_mode"])
        self.assertEqual(settings["server"]["running_max"], found["choice"]["running_max"])
        self.assertEqual(settings["model"]["threads"], 1)
        self.assertEqual(settings["model"]["draft_max"], found["drafts"]["draft_max"])


if __name__ == "__main__":
    program.main()
