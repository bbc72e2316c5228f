#!/usr/bin/env python3
"""Tests of bench/compare against stand-ins for inferos and llama-bench."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import stat
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
LOADER = importlib.machinery.SourceFileLoader("compare", str(HERE / "compare"))
SPEC = importlib.util.spec_from_loader("compare", LOADER)
compare = importlib.util.module_from_spec(SPEC)
sys.modules["compare"] = compare
LOADER.exec_module(compare)


class CompareTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.calls = self.folder / "calls"
        self.model = self.folder / "some.gguf"
        self.model.write_bytes(b"GGUF")

    def program(self, name, body):
        """An executable that notes its call and then runs `body` (Python; `turn` counts its own calls from 0)."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nimport json, os, sys\n"
                        f"calls = open({str(self.calls)!r}, 'a+'); calls.seek(0)\n"
                        f"turn = sum(json.loads(line)[0] == {name!r} for line in calls)\n"
                        f"print(json.dumps([{name!r}, *sys.argv[1:]]), file=calls, flush=True)\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def inferos(self, name, prefill="100.0", decode="10.0", output_hash="'abc'"):
        return self.program(name, "print(json.dumps({'prefill_tokens_per_second': %s, 'decode_tokens_per_second': %s, "
                                  "'output_hash': %s}))" % (prefill, decode, output_hash))

    def called(self):
        return [json.loads(line) for line in self.calls.read_text().splitlines()]

    def run_main(self, *arguments):
        """(exit code, stdout, stderr) of compare for the model of this test."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = compare.main(["-m", str(self.model), *map(str, arguments)])
            except SystemExit as end:
                code = end.code
        return code, out.getvalue(), errors.getvalue()

    def test_base_and_candidate_take_turns_and_swap_their_order(self):
        old, new = self.inferos("old"), self.inferos("new")
        code, _, errors = self.run_main(new, "--against", old, "--rounds", "3")
        self.assertEqual(code, 0, errors)
        self.assertEqual([call[0] for call in self.called()], ["old", "new", "new", "old", "old", "new"])

    def test_the_ratio_is_the_median_over_rounds_with_quartiles(self):
        old = self.inferos("old", prefill="[100, 200, 400, 100, 100][turn]")
        new = self.inferos("new", prefill="[110, 240, 480, 150, 100][turn]", decode="5")
        code, text, errors = self.run_main(new, "--against", old, "--rounds", "5", "--json")
        self.assertEqual(code, 0, errors)
        metrics = json.loads(text)["metrics"]
        self.assertAlmostEqual(metrics["prefill"]["ratio"]["median"], 1.2)
        self.assertAlmostEqual(metrics["prefill"]["ratio"]["low"], 1.1)
        self.assertAlmostEqual(metrics["prefill"]["ratio"]["high"], 1.2)
        self.assertAlmostEqual(metrics["prefill"]["base"]["median"], 100)
        self.assertAlmostEqual(metrics["prefill"]["candidate"]["median"], 150)
        self.assertAlmostEqual(metrics["decode"]["ratio"]["median"], 0.5)

    def test_the_table_names_both_the_machine_and_the_load(self):
        old, new = self.inferos("old"), self.inferos("new", "130.0")
        code, text, errors = self.run_main(new, "--against", old, "--rounds", "2")
        self.assertEqual(code, 0, errors)
        self.assertIn("| some.gguf | base | candidate | ratio (quartiles) |", text)
        self.assertIn("| prefill, tokens/s | 100.0 ± 0.0 | 130.0 ± 0.0 | 1.300 (1.300 to 1.300) |", text)
        self.assertIn(f"{os.cpu_count()} CPUs", text)
        self.assertIn("Load average", text)

    def test_less_memory_counts_as_better(self):
        metric = next(metric for metric in compare.METRICS if metric.key == "peak_memory")
        self.assertFalse(metric.higher_is_better)
        run = {"prefill": 1.0, "decode": 1.0}
        rounds = [{"base": compare.Outcome({**run, "peak_memory": 300.0}),
                   "candidate": compare.Outcome({**run, "peak_memory": 100.0})}]
        self.assertAlmostEqual(compare.summarize(rounds)["peak_memory"]["ratio"]["median"], 3.0)

    def test_peak_memory_is_that_of_the_program_itself(self):
        big = self.inferos("big", prefill="(len(bytearray(b'x') * 200_000_000), 1.0)[1]")
        small = self.inferos("small")
        _, text, errors = self.run_main(small, "--against", big, "--rounds", "1", "--json")
        peaks = json.loads(text)["rounds"][0]
        self.assertGreater(peaks["base"]["peak_memory"], 200, errors)
        self.assertLess(peaks["candidate"]["peak_memory"], 150)

    def test_builds_with_different_outputs_are_refused(self):
        old, new = self.inferos("old"), self.inferos("new", output_hash="'other'")
        code, text, errors = self.run_main(new, "--against", old)
        self.assertEqual((code, text), (1, ""))
        self.assertIn("the outputs differ: abc", errors)
        self.assertEqual(len(self.called()), 2, "it must stop after the first round")
        code, text, _ = self.run_main(new, "--against", old, "--any-output", "--rounds", "1")
        self.assertEqual(code, 0)
        self.assertIn("decode, tokens/s", text)

    def test_a_build_without_output_hash_is_refused(self):
        old, new = self.inferos("old", output_hash="''"), self.inferos("new")
        code, _, errors = self.run_main(new, "--against", old)
        self.assertEqual(code, 1)
        self.assertIn("old reports no output_hash", errors)

    def test_a_build_whose_output_changes_from_run_to_run_is_refused(self):
        old, new = self.inferos("old"), self.inferos("new", output_hash="['abc', 'xyz'][turn]")
        code, _, errors = self.run_main(new, "--against", old)
        self.assertEqual(code, 1)
        self.assertIn("another output from run to run: abc, xyz", errors)

    def program_on_path(self, name, body):
        self.program(name, body)
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = f"{self.folder}{os.pathsep}{path}"

    def test_several_sequences_are_compared_with_batched_bench(self):
        self.program_on_path("llama-batched-bench", "print()\nprint(json.dumps({'speed_pp': 200.0, 'speed_tg': 40.0}))")
        code, text, errors = self.run_main(self.inferos("new", decode="120.0"), "--llama", "", "--rounds", "1",
                                           "--pp", "100", "--tg", "16", "--sequences", "8", "--json")
        self.assertEqual(code, 0, errors)
        base, candidate = self.called()
        model = str(self.model)
        self.assertEqual(base, ["llama-batched-bench", "-m", model, "-t", "2", "-dev", "none", "-c", "928",
                                "-npp", "100", "-ntg", "16", "-npl", "8", "--output-format", "jsonl"])
        self.assertEqual(candidate[-3:], ["--sequences", "8", "--after-prompt"])
        document = json.loads(text)
        self.assertEqual(document["workload"]["sequences"], 8)
        self.assertAlmostEqual(document["metrics"]["decode"]["ratio"]["median"], 3.0)

    def test_batched_bench_without_a_result_is_quoted(self):
        self.program_on_path("llama-batched-bench", "print('| PP | TG |')")
        code, _, errors = self.run_main(self.inferos("new"), "--llama", "", "--sequences", "2")
        self.assertEqual(code, 1)
        self.assertIn("printed no usable JSON", errors)

    def test_both_programs_get_the_same_work(self):
        self.program_on_path("llama-bench",
                             "print(json.dumps([{'n_gen': 0, 'avg_ts': 50.0}, {'n_gen': 32, 'avg_ts': 20.0}]))")
        code, text, errors = self.run_main(self.inferos("new"), "--llama", "", "--rounds", "1", "--depth", "1024",
                                           "--tg", "16", "--threads", "1", "--base-arg=-fa", "--base-arg=1", "--json")
        self.assertEqual(code, 0, errors)
        base, candidate = self.called()
        model = str(self.model)
        self.assertEqual(base, ["llama-bench", "-m", model, "-t", "1", "-dev", "none", "-p", "512", "-n", "16",
                                "-r", "1", "-o", "json", "-d", "1024", "-fa", "1"])
        self.assertEqual(candidate, ["new", "bench", "-m", model, "--pp", "512", "--tg", "16", "--threads", "1",
                                     "--json", "--depth", "1024"])
        ratios = {key: metric["ratio"]["median"] for key, metric in json.loads(text)["metrics"].items()}
        self.assertAlmostEqual(ratios["prefill"], 2.0)
        self.assertAlmostEqual(ratios["decode"], 0.5)

    def test_the_model_is_linked_into_the_root_of_the_peer(self):
        root = self.folder / "root"
        program = compare.LlamaBench(str(root))
        work = compare.Workload(str(self.model), 512, 32, 0, 2)
        command = program.command(work)
        self.assertEqual(command[:5], ["chroot", str(root), "llama-bench", "-m", "/models/some.gguf"])
        self.assertEqual((root / "models/some.gguf").read_bytes(), b"GGUF")
        inside = root / "models/deep/other.gguf"
        inside.parent.mkdir()
        inside.write_bytes(b"GGUF")
        self.assertEqual(program.visible(str(inside)), "/models/deep/other.gguf")

    def test_another_file_of_the_same_name_in_the_root_is_refused(self):
        root = self.folder / "root"
        (root / "models").mkdir(parents=True)
        (root / "models/some.gguf").write_bytes(b"GGUF and more")
        with self.assertRaisesRegex(compare.CompareError, "is another file than"):
            compare.LlamaBench(str(root)).visible(str(self.model))

    def test_a_failing_program_is_quoted(self):
        old = self.program("old", "sys.exit('no tensor blk.7.attn_q.weight')")
        code, _, errors = self.run_main(self.inferos("new"), "--against", old)
        self.assertEqual(code, 1)
        self.assertIn("exit code 1", errors)
        self.assertIn("no tensor blk.7.attn_q.weight", errors)

    def test_a_program_that_hangs_is_ended(self):
        old = self.program("old", "import signal; signal.pause()")
        code, _, errors = self.run_main(self.inferos("new"), "--against", old, "--timeout", "0.5")
        self.assertEqual(code, 1)
        self.assertIn("signal 9; one run may take 0.5 s", errors)

    def test_a_program_that_is_missing_or_prints_no_json_is_named(self):
        code, _, errors = self.run_main(self.inferos("new"), "--against", self.folder / "absent")
        self.assertEqual(code, 1)
        self.assertIn("absent does not start: No such file", errors)
        for body in ("print('hello')", "print('{}')", "print('[]')"):
            code, _, errors = self.run_main(self.inferos("new"), "--against", self.program("old", body))
            self.assertEqual(code, 1)
            self.assertIn("printed no usable JSON", errors)

    def test_a_speed_of_zero_is_refused(self):
        old, new = self.inferos("old"), self.inferos("new", decode="0.0")
        code, _, errors = self.run_main(new, "--against", old, "--rounds", "1")
        self.assertEqual(code, 1)
        self.assertIn("a run reported 0 for decode", errors)

    def test_a_missed_bar_fails_and_a_reached_one_does_not(self):
        old, new = self.inferos("old"), self.inferos("new", prefill="80.0")
        code, text, errors = self.run_main(new, "--against", old, "--rounds", "1", "--at-least", "prefill=0.9")
        self.assertEqual(code, 1)
        self.assertIn("prefill: ratio 0.800, at least 0.9 is asked", errors)
        self.assertIn("| prefill", text)
        code, _, _ = self.run_main(new, "--against", old, "--rounds", "1", "--at-least", "prefill=0.7")
        self.assertEqual(code, 0)

    def test_bad_usage_exits_with_2(self):
        for arguments in ((), ("--against", "a", "--llama", "b"), ("--against", "a", "--rounds", "0"),
                          ("--llama", "", "--depth", "9", "--sequences", "2"), ("--against", "a", "--at-least", "speed=1"),
                          ("--against", "a", "--at-least", "decode=fast")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.run_main("new", *arguments)[0], 2)

    def test_a_missing_model_is_named_before_anything_runs(self):
        self.model.unlink()
        code, _, errors = self.run_main(self.inferos("new"), "--against", self.inferos("old"))
        self.assertEqual(code, 1)
        self.assertIn(f"there is no model {self.model}", errors)
        self.assertFalse(self.calls.exists())


if __name__ == "__main__":
    unittest.main()
