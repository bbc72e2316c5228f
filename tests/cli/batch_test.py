#!/usr/bin/env python3
"""inferos batch: tasks in, a line of result each, whatever happens in between."""
import json
import signal
import subprocess

import program


class BatchTest(program.ProgramTest):
    def tasks(self, *lines):
        path = self.folder / "tasks.jsonl"
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        return path

    def results(self, name="tasks.results.jsonl"):
        return {line["id"]: line for line in map(json.loads, (self.folder / name).read_text().splitlines())}

    def test_each_task_gets_the_answer_that_run_gives(self):
        prompts = {"king": "The old king", "time": "Once upon a time", "wolf": "The wolf"}
        path = self.tasks(*({"id": name, "prompt": text, "max_tokens": 12, "temperature": 0}
                            for name, text in prompts.items()))
        self.assertIn("3 of 3 tasks done", self.output("batch", path))
        results = self.results()
        for name, text in prompts.items():
            self.assertEqual(results[name]["text"] + "\n", self.output("run", "-p", text, "-n", 12, "--temp", 0))
            self.assertEqual(results[name]["finish_reason"], "length")

    def test_drafts_change_no_result(self):
        path = self.tasks(*({"id": str(n), "prompt": text, "max_tokens": 60, "temperature": n % 2, "seed": n}
                            for n, text in enumerate(["The old king", "Once upon a time", "The wolf", "The sea"])))
        plain = self.document("batch", path, "--draft-max", 0)
        self.assertEqual(plain["drafted_tokens"], 0)
        texts = {name: result["text"] for name, result in self.results().items()}
        drafted = self.document("batch", path, "--draft", self.tales, "--fresh")
        self.assertEqual({name: result["text"] for name, result in self.results().items()}, texts)
        self.assertLessEqual(drafted["accepted_tokens"], drafted["drafted_tokens"])
        self.assertIn("no such file", self.error(3, "batch", path, "--fresh", "--draft", self.folder / "none.gguf"))

    def test_turns_continue_each_other(self):
        path = self.tasks({"id": "a", "turns": ["The king", " and the queen", " were"], "max_tokens": 5, "temperature": 0})
        self.output("batch", path)
        turns = self.results()["a"]["turns"]
        self.assertEqual(len(turns), 3)
        self.assertGreater(turns[2]["prompt_tokens"], turns[1]["prompt_tokens"] + 5)

    def test_a_second_run_does_only_what_is_missing(self):
        first = self.tasks({"id": "a", "prompt": "x", "max_tokens": 2})
        self.output("batch", first)
        both = self.tasks({"id": "a", "prompt": "x", "max_tokens": 2}, {"id": "b", "prompt": "y", "max_tokens": 2})
        document = self.document("batch", both)
        self.assertEqual((document["tasks"], document["skipped"], document["done"]), (2, 1, 1))
        self.assertEqual(set(self.results()), {"a", "b"})
        self.assertEqual(self.document("batch", both, "--fresh")["done"], 2)

    def test_a_result_that_was_cut_off_is_done_again(self):
        path = self.tasks({"id": "a", "prompt": "x", "max_tokens": 2}, {"id": "b", "prompt": "y", "max_tokens": 2})
        self.output("batch", path)
        results = self.folder / "tasks.results.jsonl"
        results.write_bytes(results.read_bytes()[:-5])
        self.assertEqual(self.document("batch", path)["done"], 1)
        self.assertEqual(set(self.results()), {"a", "b"})

    def test_a_deadline_ends_its_task_and_keeps_the_text(self):
        path = self.tasks({"id": "late", "turns": ["x"] * 1000, "max_tokens": 100, "deadline": 0.2},
                          {"id": "good", "prompt": "x", "max_tokens": 2})
        document = self.document("batch", path, "--ignore-eos")
        self.assertEqual(document["finish_reasons"]["length"], 1)
        late = self.results()["late"]
        self.assertEqual(late["finish_reason"], "deadline")
        self.assertTrue("".join(turn["text"] for turn in late["turns"]))
        self.assertIsNotNone(late["overshoot_ms"])  # Below zero where a turn would have come too late and was refused.

    def test_stages_are_named(self):
        path = self.tasks({"id": "a", "prompt": "x", "max_tokens": 3})
        self.output("batch", path, "--staged")
        self.assertEqual(self.results()["a"]["turns"][0]["stage"], "normal")

    def test_one_bad_task_is_told_in_its_result_and_one_bad_line_before_anything_runs(self):
        path = self.tasks({"id": "long", "prompt": "word " * 5000}, {"id": "good", "prompt": "x", "max_tokens": 2})
        self.output("batch", path)
        self.assertIn("shorten the prompt", self.results()["long"]["error"]["message"])
        self.assertEqual(self.results()["good"]["finish_reason"], "length")
        bad = self.tasks({"prompt": "x"}, '{"promt": "y"}\n')
        self.assertIn("tasks.jsonl: line 2: the key \"promt\" is unknown", self.error(3, "batch", bad))

    def test_results_of_something_else_are_not_touched(self):
        path = self.tasks({"id": "a", "prompt": "x"})
        other = self.folder / "notes.txt"
        other.write_text("my notes\n")
        self.assertIn("--fresh", self.error(3, "batch", path, "-o", other))
        self.assertEqual(other.read_text(), "my notes\n")

    def test_tasks_come_from_a_pipe_when_results_have_a_file(self):
        task = b'{"id": "a", "prompt": "x", "max_tokens": 2}\n'
        self.assertIn("-o FILE", self.error(2, "batch", "-", stdin=task))
        self.output("batch", "-", "-o", self.folder / "out.jsonl", stdin=task)
        self.assertIn("a", self.results("out.jsonl"))

    def test_an_interrupt_ends_it_with_what_is_done(self):
        path = self.tasks(*({"id": str(number), "prompt": "x", "max_tokens": 900} for number in range(1000)))
        process = subprocess.Popen([self.binary, "batch", str(path), "--ignore-eos"], env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        results = self.folder / "tasks.results.jsonl"
        while process.poll() is None and not (results.exists() and results.read_text()):
            pass
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=program.TIMEOUT)
        self.assertEqual(process.returncode, 1, error)
        self.assertIn(b"stopped by the user", error)
        done = self.results()
        self.assertTrue(0 < len(done) < 1000, len(done))
        self.assertEqual({result["finish_reason"] for result in done.values()}, {"length"})


if __name__ == "__main__":
    program.main()
