#!/usr/bin/env python3
"""What a person sees: colours and remarks on a terminal only, and a prompt that survives Ctrl-C."""
import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

import program


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, command, environment):
        self.main, child = pty.openpty()
        self.process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment,
                                        start_new_session=True, preexec_fn=take_terminal)
        os.close(child)
        self.seen = b""

    def expect(self, pattern):
        """Reads until the pattern shows up in what was not yet matched; returns the match."""
        end = time.monotonic() + program.TIMEOUT / 2
        while True:
            match = re.search(pattern, self.seen, re.DOTALL)
            if match:
                self.seen = self.seen[match.end():]
                return match
            if time.monotonic() > end or not self.read(0.5):
                raise AssertionError(f"{pattern!r} did not come; there is {self.seen!r}")

    def read(self, seconds):
        """False at the end."""
        if select.select([self.main], [], [], seconds)[0]:
            try:
                data = os.read(self.main, 65536)
            except OSError:
                return False
            self.seen += data
            return bool(data)
        return True

    def expect_prompt(self, before=rb""):
        """Waits for a prompt that takes keys one by one, as line editing does."""
        self.expect(before + rb">>> ")
        end = time.monotonic() + program.TIMEOUT / 2
        while termios.tcgetattr(self.main)[3] & termios.ICANON:
            if time.monotonic() > end:
                raise AssertionError("the terminal stays in line mode")
            time.sleep(0.001)

    def send(self, data):
        os.write(self.main, data)

    def close(self):
        """Everything that still comes, and the exit code."""
        while self.read(5):
            pass
        code = self.process.wait(program.TIMEOUT)
        os.close(self.main)
        return self.seen, code


def take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class TerminalTest(program.ProgramTest):
    def terminal(self, *arguments, **environment):
        return Terminal([self.binary, *map(str, arguments)], self.environment(**environment))

    def test_an_answer_is_followed_by_a_remark_in_grey(self):
        text, code = self.terminal("run", "-p", "Once upon a time", "-n", 5).close()
        self.assertEqual(code, 0)
        self.assertRegex(text, rb"\x1b\[2m5 tokens.*KV .*\x1b\[0m")

    def test_no_color_is_respected(self):
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            text, _ = self.terminal("run", "-p", "Once", "-n", 5, **environment).close()
            self.assertNotRegex(text, rb"\x1b\[[0-9;]*m")
            self.assertIn(b"5 tokens", text)

    def test_a_session_goes_on_after_ctrl_c(self):
        terminal = self.terminal("run", "--interactive", "--ignore-eos", "--ctx", 2048, "--seed", 1)
        terminal.expect_prompt()
        terminal.send(b"Once upon a time\r")
        terminal.expect(rb"time\r\n.{20}")  # The answer has begun.
        terminal.send(b"\x03")
        terminal.expect_prompt(rb"\(stopped\).*")
        terminal.send(b"half a line\x03")
        terminal.expect_prompt(rb"half a line.*\r\n.*")
        terminal.send(b"/stats\r")
        terminal.expect_prompt(rb"tokens/s.*")
        terminal.send(b"\x04")
        _, code = terminal.close()
        self.assertEqual(code, 0)

    def test_history_comes_back_in_the_next_session(self):
        first = self.terminal("run", "-i", "-n", 1)
        first.expect_prompt()
        first.send("/set tokens 2\r".encode())
        first.expect_prompt()
        first.send("昔々あるところに\r".encode())
        first.expect_prompt(rb"tokens.*")
        first.send(b"/bye\r")
        self.assertEqual(first.close()[1], 0)
        history = self.folder / ".local/state/inferos/history"
        self.assertEqual(history.stat().st_mode & 0o077, 0)

        second = self.terminal("run", "-i", "-n", 1)
        second.expect_prompt()
        second.send(b"\x1b[A\x1b[A")  # Up: /bye, then the line before.
        second.expect("昔々あるところに".encode())
        second.send(b"\x03")
        second.expect_prompt()
        second.send(b"\x04")
        self.assertEqual(second.close()[1], 0)

    def test_a_history_that_cannot_be_kept_is_no_error(self):
        terminal = self.terminal("run", "-i", "-n", 1, XDG_STATE_HOME="/dev/null/no")
        terminal.expect_prompt()
        terminal.send(b"Once\r")
        terminal.expect_prompt(rb"1 tokens.*")
        terminal.send(b"\x04")
        self.assertEqual(terminal.close()[1], 0)


if __name__ == "__main__":
    program.main()
