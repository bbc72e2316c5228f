#!/usr/bin/env python3
"""Chats: a model's template makes the prompt, sessions keep what was said, and messages cannot become control tokens."""
import struct
import sys

import program

EOS = "<|eos|>"
PLAIN = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"


def text_value(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


class ChatTest(program.ProgramTest):
    def model_with(self, template):
        """The tales model with a chat template: one more key in front, and the tensors where they have to be."""
        sys.path.insert(0, str(self.repository / "tests/golden"))
        import tiny_models
        with open(self.tales, "rb") as file:
            data = file.read()
        reader = tiny_models.Reader(data)
        reader.metadata()
        infos = reader.at
        begin = min(place for _, _, place in reader.tensors().values())
        count, = struct.unpack_from("<Q", data, 16)
        key = text_value("tokenizer.chat_template") + struct.pack("<I", 8) + text_value(template)
        head = data[:16] + struct.pack("<Q", count + 1) + key + data[24:infos] + data[infos:reader.at]
        path = self.folder / "chat.gguf"
        path.write_bytes(head + bytes(-len(head) % 32) + data[begin:])
        return path

    def test_the_template_makes_the_prompt(self):
        model = self.model_with("{{ 'Tale of ' ~ messages[-1].content ~ ':' if messages[0].role == 'user' else messages[0].content }}")
        words = ["-n", 8, "--temp", 0]
        chat = self.document("run", "-m", model, "--chat", "-p", "the king", *words)
        plain = self.document("run", "-m", model, "-p", "Tale of the king:", *words)
        self.assertEqual((chat["tokens"], chat["prompt_tokens"]), (plain["tokens"], plain["prompt_tokens"]))
        system = self.document("run", "-m", model, "--system", "The old king", "-p", "?", *words)
        self.assertEqual(system["text"], self.document("run", "-m", model, "-p", "The old king", *words)["text"])

    def test_special_tokens_in_a_message_stay_text(self):
        model = self.model_with(PLAIN)
        as_text = self.output("tokenize", "-m", model, "-p", EOS, "--ids").split()
        self.assertGreater(len(as_text), 4)
        found = self.document("run", "-m", model, "--chat", "-p", EOS, "-n", 0)["prompt_tokens"]
        self.assertEqual(found, len(as_text) + 1, "the template's own is one token")

    def test_a_session_answers_as_if_the_whole_conversation_were_one_text(self):
        model = self.model_with(PLAIN)
        words = ["-m", model, "-n", 6, "--temp", 0]
        first, second = self.output("run", *words, "--interactive", stdin=b"Once upon a time\nThe king\n").splitlines()
        self.assertEqual(first, self.output("run", *words, "--parse-special", "-p", "Once upon a time" + EOS).rstrip("\n"))
        whole = f"Once upon a time{EOS}{first}{EOS}The king{EOS}"
        self.assertEqual(second, self.output("run", *words, "--parse-special", "-p", whole).rstrip("\n"))

    def test_a_session_without_a_chat_continues_the_text(self):
        model = self.model_with(PLAIN)
        words = ["-n", 6, "--temp", 0, "--interactive"]
        typed = b"Once upon a time\n"
        self.assertEqual(self.output("run", "-m", model, "--no-chat", *words, stdin=typed),
                         self.output("run", "-m", self.tales, *words, stdin=typed))

    def test_a_model_without_a_template_is_told_about(self):
        result = self.run_program("run", "--chat", "-p", "Once", "-n", 3)
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"no chat template", result.stderr)

    def test_inspect_says_what_the_template_does(self):
        model = self.model_with("{{ tools }}<tool_call>{{ messages[0].content.split('</think>')[0] }}")
        found = self.document("inspect", model)["chat_template"]
        self.assertEqual((found["renders"], found["tools"], found["tool_call_format"], found["reasoning"]), (True, True, "hermes", True))
        self.assertIn("renders, tools (hermes), reasoning", self.output("inspect", model))

    def test_a_template_that_is_broken_or_refuses_is_an_error(self):
        broken = self.model_with("{% if %}")
        self.assertIn("cannot be used", self.output("inspect", broken))
        message = self.error(3, "run", "-m", broken, "--chat", "-p", "a")
        self.assertIn("line 1, column", message)
        self.assertIn("--no-chat", message)
        refusing = self.model_with("{{ raise_exception('no messages today') }}")
        self.assertIn("no messages today", self.error(2, "run", "-m", refusing, "--chat", "-p", "a"))
        self.assertIn("does not render", self.output("inspect", refusing))


if __name__ == "__main__":
    program.main()
