#!/usr/bin/env python3
"""Every command does what its help says, in text and in JSON."""
import json
import os
import signal
import subprocess
import sys

import program


class CommandsTest(program.ProgramTest):
    def test_version_and_help_go_to_standard_output(self):
        self.assertRegex(self.output("--version"), r"^inferos \d+\.\d+\.\d+\n$")
        self.assertIn("make-model", self.output("--help"))
        self.assertEqual(self.output(), self.output("--help"))
        for command in ["run", "inspect", "tokenize", "perplexity", "bench", "make-model"]:
            self.assertIn(f"Examples:\n  inferos {command}", self.output(command, "--help"))

    def test_run_continues_with_the_embedded_model_and_repeats_with_a_seed(self):
        first = self.output("run", "-p", "Once upon a time", "-n", 20, "--seed", 7)
        self.assertGreater(len(first), 20)
        self.assertTrue(first.endswith("\n"))
        self.assertEqual(first, self.output("run", "-p", "Once upon a time", "-n", 20, "--seed", 7))
        self.assertEqual(first, self.output("run", "-p", "Once upon a time", "-n", 20, "--seed", 7, "--no-stream"))
        self.assertEqual(first, self.output("run", "-m", self.tales, "-p", "Once upon a time", "-n", 20, "--seed", 7))

    def test_the_threads_do_not_change_the_answer(self):
        answers = {self.output("run", "-p", "The old king", "-n", 30, "--temp", 0, "--threads", n) for n in (1, 2, 3)}
        self.assertEqual(len(answers), 1)

    def test_a_prompt_comes_from_an_argument_a_file_or_a_pipe(self):
        path = self.folder / "prompt.txt"
        path.write_text("The old king\n")
        words = ["-n", 8, "--temp", 0]
        from_argument = self.output("run", "-p", "The old king", *words)
        self.assertEqual(from_argument, self.output("run", "-f", path, *words))
        self.assertEqual(from_argument, self.output("run", *words, stdin=b"The old king\n"))
        self.assertEqual(from_argument, self.output("run", "-f", "-", *words, stdin=b"The old king\n"))

    def test_run_as_json_has_the_documented_fields(self):
        document = self.document("run", "-p", "Once upon a time", "-n", 5, "--temp", 0)
        for field in ["text", "finish_reason", "prompt_tokens", "generated_tokens", "prefill_tokens_per_second",
                      "decode_tokens_per_second", "time_to_first_token_ms", "kv_bytes", "kv_bytes_f16", "peak_rss_bytes"]:
            self.assertIn(field, document)
        self.assertEqual((document["generated_tokens"], document["finish_reason"]), (5, "length"))
        self.assertEqual(document["text"] + "\n", self.output("run", "-p", "Once upon a time", "-n", 5, "--temp", 0))

    def test_drafts_change_no_answer_of_run(self):
        for temperature in (0, 0.8):
            words = ["run", "-p", "The old king had three sons, and", "-n", 120, "--temp", temperature, "--seed", 7]
            plain = self.document(*words, "--draft-max", 0)
            self.assertEqual((plain["drafted_tokens"], plain["accepted_tokens"]), (0, 0))
            for more in ([], ["--draft", self.tales], ["--model-draft", self.tales, "--draft-max", 3]):
                drafted = self.document(*words, *more)
                self.assertEqual(drafted["tokens"], plain["tokens"])
                self.assertLessEqual(drafted["accepted_tokens"], drafted["drafted_tokens"])
        lines = self.output("run", "-i", "--temp", 0, "-n", 30, "--draft", self.tales, stdin=b"The king\nThe queen\n")
        self.assertEqual(lines, self.output("run", "-i", "--temp", 0, "-n", 30, "--draft-max", 0,
                                            stdin=b"The king\nThe queen\n"))
        self.assertIn("no such file", self.error(3, *words, "--draft", self.folder / "none.gguf"))

    def test_repacked_weights_are_kept_where_and_when_the_user_says(self):
        cache = self.folder / "weights"
        words = ["run", "-m", self.tales, "-p", "Once upon a time", "-n", 5, "--temp", 0, "--repack-cache-limit", "1GB"]
        first = self.document(*words, "--repack-cache", cache)
        self.assertEqual(first["weights"], "repacked")
        self.assertEqual([path.suffix for path in cache.iterdir()], [".panels"])
        second = self.document(*words, "--repack-cache", cache)
        self.assertEqual((second["weights"], second["tokens"]), ("cache", first["tokens"]))
        named = {"INFEROS_REPACK_CACHE": str(cache)}
        self.assertEqual(self.document(*words, environment=named)["weights"], "cache")
        self.assertEqual(self.document(*words, "--no-repack-cache", environment=named)["weights"], "repacked")
        self.assertEqual(self.document(*words, environment={"INFEROS_REPACK_CACHE": "off"})["weights"], "repacked")

    def test_a_cache_that_cannot_be_written_is_one_warning(self):
        blocked = self.folder / "file"
        blocked.write_text("in the way")
        result = self.run_program("run", "-m", self.tales, "-p", "Once", "-n", 2, "--repack-cache", blocked / "below",
                                  "--repack-cache-limit", "1GB")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr.decode(), r"^inferos: warning: [^\n]*not kept[^\n]*\n$")

    def test_the_answer_ends_before_a_stop_text(self):
        whole = self.document("run", "-p", "Once upon a time", "-n", 40, "--temp", 0)["text"]
        word = whole.split()[5]
        document = self.document("run", "-p", "Once upon a time", "-n", 40, "--temp", 0, "--stop", "@@@", "--stop", word)
        self.assertEqual(document["finish_reason"], "stop")
        self.assertEqual(document["text"], whole[:whole.index(word)])

    def test_answers_follow_a_grammar_or_a_schema(self):
        words = ["run", "-p", "Is it late?", "-n", 80]
        rule = 'root ::= "yes" | "no" "!"{2}'
        path = self.folder / "answer.gbnf"
        path.write_text(rule)
        for given in (rule, path):
            document = self.document(*words, "--seed", 3, "--grammar", given)
            self.assertIn(document["text"], ["yes", "no!!"])
            self.assertEqual(document["finish_reason"], "stop")
        schema = {"type": "object", "required": ["a", "b"],
                  "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 42}, "b": {"enum": ["x", None]}}}
        path = self.folder / "schema.json"
        path.write_text(json.dumps(schema))
        for seed, given in [(1, json.dumps(schema)), (2, path), (3, path)]:
            value = json.loads(self.document(*words, "--seed", seed, "--temp", 2, "--json-schema", given)["text"])
            self.assertEqual(list(value), ["a", "b"])
            self.assertTrue(3 <= value["a"] <= 42 and value["b"] in ("x", None))
        self.assertTrue(self.output(*words, "--temp", 0, "--json-object").startswith("{"))
        self.assertEqual(self.document(*words, "--grammar", 'root ::= ""')["generated_tokens"], 0)

    def test_a_context_beyond_the_training_is_warned_about(self):
        result = self.run_program("run", "-p", "Once", "-n", 2, "--ctx", 4096)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr.decode(), r"^inferos: warning: .*4096.*2048.*\n$")

    def test_an_empty_prompt_is_taken_when_it_is_meant(self):
        self.assertEqual(self.document("run", "-p", "", "-n", 3)["prompt_tokens"], 1)

    def test_no_tokens_are_no_text(self):
        self.assertEqual(self.output("run", "-p", "Once", "-n", 0), "\n")

    def test_a_deadline_keeps_what_is_there(self):
        result = self.run_program("run", "-p", "Once", "-n", -1, "--ignore-eos", "--deadline", "0.15s", "--json")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn(b"deadline", result.stderr)
        document = json.loads(result.stdout)
        if "error" not in document:  # On a very slow machine it can pass while loading.
            self.assertEqual(document["finish_reason"], "deadline")

    def test_every_instruction_set_of_this_machine_can_be_forced(self):
        ran = {}
        for isa in ["amx", "avx512", "avx2", "scalar"]:
            environment = {"INFEROS_FORCE_ISA": isa}
            words = ["run", "-p", "Once", "-n", 8, "--temp", 0]
            if self.run_program(*words, environment=environment).returncode == 0:
                ran[isa] = self.document(*words, environment=environment)
                self.assertEqual(ran[isa]["isa"], isa)
                bench = ["bench", "--pp", 8, "--tg", 2, "-r", 1]
                self.assertEqual(self.document(*bench, environment=environment)["isa"], isa)
            else:
                self.assertIn("lacks it", self.error(2, *words, environment=environment))
        self.assertIn("scalar", ran)
        self.assertEqual(self.document("run", "-p", "Once", "-n", 1)["isa"], next(iter(ran)), "the best is the default")
        self.assertEqual(len({document["text"] for document in ran.values()}), 1)
        text = self.error(2, "run", "-p", "x", environment={"INFEROS_FORCE_ISA": "mmx"})
        self.assertIn("scalar", text)

    def test_interactive_reads_lines_of_a_pipe(self):
        lines = "Once upon a time\n/set temperature 0\n/nonsense\n/stats\n\"\"\"two\nlines\"\"\"\n\n/reset\n/bye\nnot read\n"
        result = self.run_program("run", "--interactive", "-n", 4, "--seed", 1, stdin=lines.encode())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"unknown command /nonsense", result.stderr)
        self.assertIn(b"4 tokens", result.stdout)
        self.assertNotIn(b">>>", result.stdout)

    def test_inspect_tells_the_models_shape_and_its_memory(self):
        document = self.document("inspect")
        self.assertEqual((document["file"], document["parameters"]), ("tales (embedded)", 5770496))
        self.assertEqual((document["model"]["layers"], document["model"]["kv_bytes_per_token"]), (6, 6 * 2 * 2 * (64 * 2 + 4)))
        self.assertEqual((document["tokenizer"]["tokens"], document["tokenizer"]["eos"]), (4096, 4095))
        longer = self.document("inspect", self.tales, "--ctx", 1024)["model"]["memory"]
        self.assertEqual(document["model"]["memory"]["kv_bytes"], 2 * longer["kv_bytes"])
        text = self.output("inspect", "-m", self.tales, "--metadata", "--tensors")
        self.assertIn("general.architecture", text)
        self.assertIn("blk.5.ffn_down.weight", text)
        self.assertEqual(len(self.document("inspect", "--tensors", "--metadata")["tensors"]), document["tensor_count"])

    def test_inspect_shows_types_vocabulary_and_what_is_unusual(self):
        document = self.document("inspect", self.tales)
        self.assertEqual(sum(kind["tensors"] for kind in document["types"].values()), document["tensor_count"])
        self.assertEqual(document["parameters_active"], document["parameters"])
        self.assertEqual((document["tokenizer"]["end_tokens"], document["tokenizer"]["control_tokens"]), ([4095], 2))
        self.assertIsNone(document["chat_template"])
        self.assertEqual([remark["name"] for remark in document["unusual"]], ["tied_output", "no_chat_template"])
        text = self.output("inspect", self.tales, "--ctx", 512)
        self.assertRegex(text, r"q8_0 +43 tensors +6.13 MB +99.8 %")
        self.assertRegex(text, r"memory +[0-9.]+ MB for 512 tokens of context\n +weights [0-9.]+ MB, KV cache")
        self.assertIn("BOS 4094 <|bos|> (put in front), ends with 4095 <|eos|>", text)

    def test_inspect_describes_files_that_cannot_be_run(self):
        sys.path.insert(0, str(self.repository / "tests/golden"))
        import tiny_models
        model = tiny_models.Model(1)
        model.string("general.architecture", "llama")
        model.string("tokenizer.ggml.model", "gpt2")
        model.string("tokenizer.ggml.pre", "gpt-2")
        model.strings("tokenizer.ggml.tokens", ["a", "b", "<|im_end|>", "<x>"])
        model.integers("tokenizer.ggml.token_type", [1, 1, 3, 4])
        model.strings("tokenizer.ggml.merges", [])
        model.string("tokenizer.chat_template", "{% for message in messages %}\n{{ message }}{% endfor %}")
        model.number("mystery.depth", 3)
        model.tensor("token_embd.weight", 32, 4)
        for layer, width in enumerate((32, 32, 64)):
            model.tensor(f"blk.{layer}.ffn_up.weight", 32, width)
        model.tensor("blk.1.attn_q.bias", 32)
        path = self.folder / "odd.gguf"
        model.write(path)
        document = self.document("inspect", path)
        self.assertFalse(document["model"]["runnable"])
        self.assertIn("llama.", document["model"]["reason"])
        template = document["chat_template"]
        self.assertEqual((template["bytes"], template["first_line"]), (55, "{% for message in messages %}"))
        self.assertTrue(template["renders"])
        self.assertEqual((document["tokenizer"]["end_tokens"], document["tokenizer"]["user_defined_tokens"]), ([2], 1))
        remarks = [(remark["name"], remark["text"]) for remark in document["unusual"]]
        self.assertEqual([name for name, _ in remarks],
                         ["tied_output", "biases", "unequal_layers", "unequal_layers", "unknown_keys"])
        self.assertIn("attn_q.bias: [32] in 1 of 3 layers", remarks[2][1])
        self.assertIn("ffn_up.weight: [32, 32] in 2 of 3 layers, [32, 64] in 1 of 3 layers", remarks[3][1])
        self.assertIn("mystery.depth", remarks[4][1])
        text = self.output("inspect", path)
        self.assertIn("{% for message in messages %}", text)
        self.assertIn("cannot be run", text)

    def test_tokenize_shows_ids_and_pieces(self):
        document = self.document("tokenize", "-p", "Hello")
        self.assertEqual(document["ids"][0], 4094)
        self.assertEqual("".join(token["piece"] for token in document["tokens"][1:]), "Hello")
        self.assertEqual(self.output("tokenize", "-p", "Hello", "--ids").split(), [str(id) for id in document["ids"]])
        self.assertEqual(self.document("tokenize", "-p", "Hello", "--no-special")["ids"], document["ids"][1:])
        self.assertEqual(self.document("tokenize", "--no-special", "--parse-special", "-p", "<|eos|>")["ids"], [4095])
        self.assertGreater(self.document("tokenize", "--no-special", "-p", "<|eos|>")["count"], 1)
        self.assertEqual(self.output("tokenize", "--ids", stdin=b"Hello"), self.output("tokenize", "-p", "Hello", "--ids"))
        self.assertEqual(self.document("tokenize", "--no-special", "-p", "")["ids"], [])

    def test_tokenize_takes_many_texts_at_once(self):
        texts = ["Hello", "", "two\nlines\0", "昔々"]
        one_by_one = [self.document("tokenize", "--no-special", stdin=text.encode())["ids"] for text in texts]
        lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
        words = ["tokenize", "--no-special", "--each"]
        self.assertEqual([line.split() for line in self.output(*words, "json", stdin=lines).split("\n")[:-1]],
                         [[str(id) for id in ids] for ids in one_by_one])
        self.assertEqual([text["ids"] for text in self.document(*words, "json", stdin=lines)["texts"]], one_by_one)
        for cut, data in (("line", b"Hello\n\nHello"), ("nul", b"Hello\0\0Hello\0")):
            document = self.document(*words, cut, stdin=data)
            self.assertEqual([text["ids"] for text in document["texts"]], [one_by_one[0], [], one_by_one[0]])
        self.assertEqual(self.output(*words, "line", stdin=b""), "")
        self.assertIn("line 2", self.error(2, *words, "json", stdin=b'"a"\n[1]\n'))
        self.assertIn("line 1", self.error(2, *words, "json", stdin=b'"a\n'))
        self.assertIn("nul", self.error(2, *words, "word", stdin=b""))

    def test_tokenize_takes_bytes_that_are_no_text_when_told_to(self):
        self.assertIn("byte 1", self.error(2, "tokenize", "--ids", stdin=b"a\xff"))
        document = self.document("tokenize", "--any-bytes", "--no-special", stdin=b"a\xff\xfe")
        self.assertEqual(document["count"], 3)

    def test_tokenize_measures_its_speed(self):
        document = self.document("tokenize", "--bench", "-f", self.repository / "models/tales-heldout.txt")
        self.assertGreater(document["bytes_per_second"], 0)
        self.assertGreater(document["bytes"], document["tokens"])
        self.assertRegex(self.output("tokenize", "--bench", "-p", "Once upon a time"), r"MB/s.* million tokens/s")
        self.assertIn("empty", self.error(2, "tokenize", "--bench", "-p", ""))

    def test_perplexity_agrees_with_the_reference(self):
        text = self.repository / "models/tales-heldout.txt"
        document = self.document("perplexity", "-f", text, "--chunks", 4)
        self.assertEqual((document["chunks"], document["ctx"], document["tokens_scored"]), (4, 512, 4 * 255))
        self.assertTrue(20 < document["ppl"] < 50, document)
        self.assertIn("perplexity", self.output("perplexity", "-f", text, "--chunks", 1))

    def test_perplexity_compares_levels_of_the_kv_cache(self):
        text = self.repository / "models/tales-heldout.txt"
        words = ["perplexity", "-f", text, "--chunks", 2, "--ctx", 1024, "--kld"]
        plain = self.document(*words)
        self.assertEqual((plain["kv"], plain["divergence"]["kld_max"], plain["divergence"]["same_top"]), ("f16", 0, 1))
        for mode, share, divergence in [("q8", 0.65, 1e-3), ("q4", 0.45, 3e-3)]:
            lowered = self.document(*words, "--kv", mode)
            self.assertLess(lowered["kv_bytes"], share * lowered["kv_bytes_f16"])
            self.assertAlmostEqual(lowered["divergence"]["ppl_f16"], plain["ppl"], delta=1e-6)
            error = lowered["divergence"]["delta_ppl_stderr"]
            self.assertLess(abs(lowered["divergence"]["delta_ppl"]), 5 * error)
            self.assertTrue(0 < lowered["divergence"]["kld_mean"] < divergence, lowered)
            self.assertGreater(lowered["divergence"]["same_top"], 0.98)
        self.assertIsNone(self.document(*words[:-1])["divergence"])
        self.assertIn("same most likely token", self.output(*words, "--kv", "q8", "--decode", "--chunks", 1, "--ctx", 256))

    def test_perplexity_in_floats_is_that_of_16_bits(self):
        text = self.repository / "models/tales-heldout.txt"
        words = ["perplexity", "-f", text, "--chunks", 4]
        plain, floats = self.document(*words), self.document(*words, "--kv", "f32")
        self.assertEqual((plain["kv"], floats["kv"]), ("f16", "f32"))
        self.assertNotEqual(floats["ppl"], plain["ppl"])
        self.assertAlmostEqual(floats["ppl"], plain["ppl"], delta=0.01)
        self.assertEqual(floats["kv_bytes"], 2 * floats["kv_bytes_f16"])

    def test_run_takes_a_level_for_the_kv_cache(self):
        words = ["run", "-p", "Once upon a time", "-n", 300, "--seed", 1, "--ignore-eos"]
        plain, lowered = self.document(*words), self.document(*words, "--kv", "q4", "--kv-window", 32)
        self.assertLess(lowered["kv_bytes"], 0.7 * plain["kv_bytes"])
        self.assertEqual(lowered["kv_bytes_f16"], plain["kv_bytes_f16"])

    def test_bench_measures_and_its_output_repeats(self):
        words = ["--pp", 16, "--tg", 4, "--repetitions", 2]
        document = self.document("bench", *words)
        self.assertGreater(document["prefill_tokens_per_second"], 0)
        self.assertGreater(document["decode_tokens_per_second"], 0)
        self.assertEqual(document["output_hash"], self.document("bench", *words, "--threads", 1)["output_hash"])
        self.assertNotEqual(document["output_hash"], self.document("bench", *words, "--depth", 32)["output_hash"])
        self.assertIn("prefill", self.output("bench", *words))

    def test_bench_of_several_sequences_counts_all_of_them(self):
        words = ["--pp", 16, "--tg", 4, "--repetitions", 1]
        one, four = self.document("bench", *words), self.document("bench", *words, "--sequences", 4, "--after-prompt")
        self.assertEqual((four["sequences"], four["depth"], four["decode_depth"]), (4, 0, 16))
        self.assertEqual(four["kv_bytes"], 4 * one["kv_bytes"])
        self.assertNotEqual(four["output_hash"], one["output_hash"])
        self.assertGreater(four["bytes_per_step"], one["bytes_per_step"])
        self.assertIn("4 x 16", self.output("bench", *words, "--sequences", 4))

    def test_bench_prints_limits_with_units_and_shares(self):
        words = ["bench", "--pp", 8, "--tg", 2, "--repetitions", 1, "--limits"]
        text = self.output(*words)
        self.assertRegex(text, r"limits +read [0-9.]+ GB/s, int8 [0-9.]+ Gop/s, bf16 ([0-9.]+ Gop/s|-), f32 [0-9.]+ Gop/s")
        self.assertRegex(text, r"prefill.*tokens/s.*Gop/s.*% of the limit of [0-9.]+ tokens/s")
        self.assertRegex(text, r"decode.*tokens/s.*GB/s.*% of the limit of [0-9.]+ tokens/s")
        limits = self.document(*words)["limits"]
        self.assertGreater(limits["read_bytes_per_second"], 0)
        self.assertIn("bf16_ops_per_second", limits)
        self.assertGreater(limits["decode_share"], 0)

    def test_make_model_writes_models_that_bench_runs(self):
        for number, kind in enumerate(["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K",
                                      "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs", "mxfp4"]):
            path = self.folder / f"{number}.gguf"
            document = self.document("make-model", "--shape", "llama-tiny", "--type", kind, path)
            self.assertEqual(document["bytes"], path.stat().st_size)
            self.assertIn(kind.lower() if kind[-1] != "K" else kind, self.document("inspect", path)["types"])
            self.document("bench", "-m", path, "--pp", 8, "--tg", 2, "-r", 1)
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir() if "partial" in entry.name), [])

    def test_a_reader_that_goes_away_ends_the_program_quietly(self):
        command = [self.binary, "run", "-p", "Once upon a time", "-n", "500", "--ignore-eos"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment()) as process:
            process.stdout.read(1)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(program.TIMEOUT), 0)

    def test_an_interrupt_ends_the_answer_and_says_so(self):
        command = [self.binary, "run", "-p", "Once", "--ignore-eos", "--json"]
        with subprocess.Popen([*command[:-1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.environment()) as process:
            os.read(process.stdout.fileno(), 1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=program.TIMEOUT)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors.decode(), r"^inferos: run: stopped after \d+ tokens\n$")


if __name__ == "__main__":
    program.main()
