"""The command as a person meets it: a process with arguments, standard streams and an exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tiny_checkpoints import write_tiny_checkpoint
from tiny_gguf import write_model

from quantize.pipeline import quantize_checkpoint

TERMINAL_PATIENCE_S = 120  # only what hangs takes so long
CHAT = [sys.executable, "-W", "error", "-c", "from edge.cli import chat_main; chat_main()"]
EDGE = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()"]
JSON_KEYS = {
    "answer": None,
    "thinking": None,
    "raw": None,
    "decision": {"think", "reason", "source"},
    "usage": {
        "prompt_tokens",
        "cached_tokens",
        "judge_tokens",
        "thinking_tokens",
        "answer_tokens",
        "forced_tokens",
    },
    "timings": {
        "queue_s",
        "load_s",
        "ttft_s",
        "prefill_s",
        "thinking_s",
        "close_s",
        "answer_s",
        "total_s",
        "decode_s",
        "decode_tokens_per_s",
        "start_s",
    },
    "finish_reason": None,
    "model": None,
    "backend": None,
    "tool_calls": None,
    "malformed_tool_calls": None,
    "document": None,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights, in the dialect with a judge."""
    folder = tmp_path_factory.mktemp("models")
    return quantize_checkpoint(write_tiny_checkpoint(folder / "checkpoint"), folder / "bundle", name="tiny").path


@pytest.fixture
def few(bundle: Path) -> list[str]:
    """Options for a short answer of the tiny bundle that is the same every time."""
    return ["--model", str(bundle), "--max-tokens", "6", "--temperature", "0", "--threads", "1", "--think", "off"]


def call(
    command: list[str], *arguments: str, stdin: bytes | int = subprocess.DEVNULL, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end; bytes for ``stdin`` are piped in."""
    streams = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*command, *arguments],
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
        **streams,
    )


def complaint(result: subprocess.CompletedProcess[bytes], code: int) -> str:
    """What a failed command said: exactly one line, no traceback, nothing on standard output."""
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert result.stdout == b""
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    assert text.rstrip().endswith((".", "`"))
    return text


# --- answers --------------------------------------------------------------------------------------------------------


def test_answer_on_stdout_and_one_closing_line_on_stderr(few: list[str]) -> None:
    result = call(CHAT, "2+3=?", *few)
    assert result.returncode == 0
    assert b"\x1b" not in result.stdout + result.stderr
    closing = result.stderr.decode()
    assert re.fullmatch(
        r"\[think off: thinking off was asked for · 0 thinking \+ 6 answer tokens · first token \d+\.\d\d s · "
        r"\d+ tokens/s · cut at --max-tokens\]\n",
        closing,
    )


def test_json_has_the_fixed_keys(few: list[str]) -> None:
    """Scripts read these keys: one more or less breaks them."""
    result = call(CHAT, "2+3=?", "--json", *few)
    value = json.loads(result.stdout)
    assert value.keys() == JSON_KEYS.keys()
    for key, inner in JSON_KEYS.items():
        assert inner is None or value[key].keys() == inner
    assert value["model"] == "tiny"
    assert result.stdout.count(b"\n") == 1


def test_the_start_of_the_process_is_reported_beside_the_deadline(few: list[str]) -> None:
    """The deadline includes the loading; what comes before that is no part of it, and told."""
    result = call(CHAT, "2+3=?", "--deadline", "50s", *few)
    found = re.search(r" · (\d+\.\d\d) s in all, after (\d+\.\d\d) s to start", result.stderr.decode())
    assert found is not None
    timings = json.loads(call(CHAT, "2+3=?", "--deadline", "50s", "--json", *few).stdout)["timings"]
    assert 0 < timings["start_s"] < 50 and timings["load_s"] > 0
    assert json.loads(call(CHAT, "2+3=?", "--json", *few).stdout)["timings"]["start_s"] == 0


def test_edge_chat_is_edge_chat(few: list[str]) -> None:
    assert call(CHAT, "2+3=?", *few).stdout == call(EDGE, "chat", "2+3=?", *few).stdout


def test_words_are_joined_and_a_pipe_is_added(few: list[str]) -> None:
    """A prompt from the command line and one from a pipe must cost the same tokens."""
    spoken = json.loads(call(CHAT, "2+3", "is", "what", "--json", *few).stdout)
    piped = json.loads(call(CHAT, "--json", *few, stdin=b"2+3 is what").stdout)
    assert spoken["usage"] == piped["usage"]
    both = json.loads(call(CHAT, "2+3", "--json", *few, stdin=b"is what").stdout)
    assert both["usage"]["prompt_tokens"] == spoken["usage"]["prompt_tokens"] + 1  # two line ends for one blank


def test_thinking_is_printed_in_a_pipe_only_when_asked_for(bundle: Path) -> None:
    few = ["--model", str(bundle), "-n", "6", "--temperature", "0", "--threads", "1", "--think", "on"]
    assert call(CHAT, "2+3=?", *few).stdout == b""
    assert call(CHAT, "2+3=?", *few, "--show-thinking").stdout.startswith(b"[thinking]\n")
    hidden = call(CHAT, "2+3=?", *few, "--hidethinking")
    assert (hidden.returncode, hidden.stdout) == (1, b"")


def test_an_empty_answer_is_a_failure_with_its_reason(bundle: Path, tmp_path: Path) -> None:
    """A script that reads nothing has to see from the exit code that there was no answer."""
    few = ["--model", str(bundle), "-n", "6", "--temperature", "0", "--threads", "1", "--think", "on"]
    result = call(CHAT, "2+3=?", *few)
    assert result.returncode == 1
    assert result.stderr.decode().rstrip().endswith("· no answer: cut at --max-tokens]")
    assert call(CHAT, "2+3=?", "--json", *few).returncode == 1
    (tmp_path / "prompts.jsonl").write_text('"2+3=?"')
    assert call(CHAT, "--jsonl", str(tmp_path / "prompts.jsonl"), *few).returncode == 1


def test_jsonl_answers_each_line_and_says_which_failed(few: list[str], tmp_path: Path) -> None:
    """One bad line must not cost the answers of the others."""
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        '"2+3=?"',
        "",
        '{"prompt": "4+4=?"}',
        "2+3",
        '{"messages": [{"role": "user", "content": "hi"}]}',
        "{oops",
        '{"prompt": "x", "think": "on"}',
        '{"messages": [{"role": "robot", "content": "hi"}]}',
        '""',
        '"line\u2028separator"',
    ]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    result = call(CHAT, "--jsonl", str(prompts), *few)
    values = [json.loads(line) for line in result.stdout.decode().strip("\n").split("\n")]
    assert result.returncode == 1
    assert [value.get("line") for value in values] == [None, None, 4, None, 6, 7, 8, 9, None]
    assert "Line 4" in values[2]["error"]
    assert "'think'" in values[5]["error"]
    assert values[0].keys() == JSON_KEYS.keys()


def test_history_is_kept_only_when_asked_for(few: list[str], state_path: Path) -> None:
    call(CHAT, "a secret", *few)
    assert not (state_path / "history.jsonl").exists()
    call(CHAT, "no secret", "--history", *few)
    kept = json.loads((state_path / "history.jsonl").read_text(encoding="utf-8"))
    assert kept["prompt"] == "no secret"
    assert (state_path / "history.jsonl").stat().st_mode & 0o077 == 0


def test_a_session_goes_on_where_the_last_run_left_it(few: list[str], tmp_path: Path) -> None:
    """The second run reads its new question only: what was said before comes back with the cache."""
    path = tmp_path / "chat.session"
    usages = []
    for question in ("2+3=?", "and 4+5?"):
        result = call(CHAT, question, "--session", str(path), "--json", *few)
        assert result.returncode == 0, result.stderr
        usages.append(json.loads(result.stdout)["usage"])
    assert usages[1]["cached_tokens"] > usages[0]["prompt_tokens"] / 2
    saved = json.loads(path.read_bytes().partition(b"\n")[0])
    assert [message["content"] for message in saved["messages"][::2]] == ["2+3=?", "and 4+5?"]
    refused = complaint(call(CHAT, "hi", "--session", str(path), "--system", "Be short.", *few), 2)
    assert "--system" in refused


def test_verbose_says_what_was_chosen(few: list[str]) -> None:
    text = call(CHAT, "2+3=?", "--verbose", *few).stderr.decode()
    assert "Dialect hipo: its chat template has <judge>." in text
    assert "Threads: 1 (asked for)." in text


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[""], ["  ", "\n"]])
def test_empty_prompt(few: list[str], words: list[str]) -> None:
    assert "prompt is empty" in complaint(call(CHAT, *words, *few), 2)


def test_no_terminal_and_no_prompt(few: list[str]) -> None:
    """An interactive chat without a terminal would wait for ever, or end without a word."""
    assert "prompt is empty" in complaint(call(CHAT, *few), 2)


def test_closed_stdin(few: list[str]) -> None:
    script = 'exec "$0" "$@" <&-'
    result = subprocess.run(["sh", "-c", script, *CHAT, *few], capture_output=True, timeout=60, check=False)
    assert "prompt is empty" in complaint(result, 2)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output(few: list[str], closed: str) -> None:
    """Python has no stream at all there, and whatever asks it a question fails."""
    command = ["sh", "-c", f'exec "$0" "$@" </dev/null {closed}', *CHAT, "hi", *few]
    result = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert result.returncode == 0
    assert b"unexpected" not in result.stderr


@pytest.mark.parametrize("command", [[*EDGE, "--version"], [*CHAT, "hi"], [*CHAT, "hi", "--json"]])
def test_full_disk_behind_the_output(few: list[str], command: list[str]) -> None:
    """What is left in the buffer must not fail a second time when the interpreter ends."""
    options = few if "hi" in command else []
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" </dev/null >/dev/full', *command, *options],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert "The output cannot be written (No space left on device)" in complaint(result, 1)


def test_a_silent_pipe_beside_a_prompt_is_not_waited_for(few: list[str]) -> None:
    """Schedulers and wrappers leave an open pipe as standard input: reading it to its end would hang for ever."""
    far_end, held_open = os.pipe()
    try:
        result = call(CHAT, "2+3=?", *few, stdin=far_end)
    finally:
        os.close(far_end)
        os.close(held_open)
    assert result.returncode == 0
    assert "Nothing came from standard input" in result.stderr.decode()


def test_invalid_utf8_on_stdin(few: list[str]) -> None:
    assert "byte 0xff at position 3" in complaint(call(CHAT, *few, stdin=b"abc\xff"), 2)


def test_invalid_utf8_in_an_argument(few: list[str]) -> None:
    result = subprocess.run(
        [*map(os.fsencode, [*CHAT, *few]), b"abc\xff"],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "not valid Unicode" in complaint(result, 2)


def test_prompt_longer_than_the_context(few: list[str]) -> None:
    text = complaint(call(CHAT, "2+3=? " * 100, "--ctx", "64", *few), 2)
    assert "the context holds 64" in text


def test_missing_model() -> None:
    assert "no-such.gguf" in complaint(call(CHAT, "hi", "--model", "no-such.gguf"), 1)


def test_foreign_model(tmp_path: Path) -> None:
    path = tmp_path / "picture.gguf"
    path.write_bytes(b"\x89PNG and so on")
    assert "not a GGUF" in complaint(call(CHAT, "hi", "--model", str(path)), 1)


def test_truncated_model(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in complaint(call(CHAT, "hi", "--model", str(path)), 1)


def test_damaged_bundle(bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for file in bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.gguf").write_bytes(b"GGUF")
    assert "model.gguf" in complaint(call(CHAT, "hi", "--model", str(damaged)), 1)


def test_unknown_family(few: list[str]) -> None:
    assert "'klingon'" in complaint(call(CHAT, "hi", *few, "--dialect", "klingon"), 1)


def test_unknown_checkpoint_family(tmp_path: Path) -> None:
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "klingon"}))
    assert "'klingon'" in complaint(call(EDGE, "quantize", str(checkpoint), str(tmp_path / "bundle")), 1)


@pytest.mark.parametrize("has_home", [True, False])
def test_state_folder_that_cannot_be_written(few: list[str], tmp_path: Path, has_home: bool) -> None:
    """State is a convenience: without it there is a warning and an answer."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    result = call(
        CHAT, "2+3=?", *few, "--history", EDGE_STATE=str(in_the_way / "state") if has_home else "~nosuch/state"
    )
    assert result.returncode == 0
    assert result.stdout
    assert "EDGE_STATE" in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--think", "maybe"], "'maybe'"),
        (["--max-tokens", "0"], "max_tokens is 0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--deadline", "soon"], "'soon'"),
        (["--deadline", "0s"], "'0s'"),
        (["--deadline", "-1s"], "'-1s'"),
        (["--deadline", "nan"], "'nan'"),
        (["--think-tokens", "-1"], "think_tokens is -1"),
        (["--reasoning-budget", "100000"], "think_tokens is 100,000"),
        (["--think", "off", "--min-think", "5"], "min_think_tokens is 5"),
        (["--threads", "0"], "threads"),
        (["--ctx", "many"], "--ctx"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--backend", "abacus"], "'abacus'"),
        (["--jsonl", "prompts.jsonl"], "--jsonl"),
        (["--json", "--hide-thinking"], "--hide-thinking"),
        (["--when-full", "explode"], "'explode'"),
        (["--when-full", "drop"], "--when-full"),
        (["--session", "no/such/folder/chat"], "no/such/folder/chat"),
        (["--tools", "no/such/tools.json"], "no/such/tools.json"),
    ],
)
def test_wrong_use_is_one_sentence(few: list[str], arguments: list[str], named: str) -> None:
    assert named in complaint(call(CHAT, "hi", *few, *arguments), 2)


TOOLS = '[{"type": "function", "function": {"name": "weather"}}]'


@pytest.mark.parametrize(
    ("text", "more", "named"),
    [
        ("[{", [], "not JSON"),
        ("{}", [], "write a JSON list"),
        ("[]", [], "at least one"),
        ('[{"name": "weather"}]', [], "Tool 1 is not of the form"),
        (TOOLS, ["--grammar", "GRAMMAR"], "a grammar and there are tools"),
        (TOOLS, ["--dialect", "plain"], "the dialect plain of tiny"),
    ],
)
def test_tools_that_cannot_be_used_are_one_sentence(
    few: list[str], tmp_path: Path, text: str, more: list[str], named: str
) -> None:
    (tmp_path / "tools.json").write_text(text)
    (tmp_path / "GRAMMAR").write_text('start: "a"')
    more = [str(tmp_path / word) if word == "GRAMMAR" else word for word in more]
    assert named in complaint(call(CHAT, "hi", *few, "--tools", str(tmp_path / "tools.json"), *more), 2)


def test_tools_stand_in_the_prompt(few: list[str], tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(TOOLS)
    usages = [
        json.loads(call(CHAT, "hi", "--json", *few, *more).stdout)["usage"]["prompt_tokens"]
        for more in ([], ["--tools", str(tmp_path / "tools.json")])
    ]
    assert usages[1] > usages[0] + 50


@pytest.mark.parametrize("arguments", [[], ["models"], ["dance"], ["bench"], ["--verbose", "chat", "hi"]])
def test_wrong_command_is_one_sentence(arguments: list[str]) -> None:
    complaint(call(EDGE, *arguments), 2)


def test_a_prompt_that_begins_with_a_dash(few: list[str]) -> None:
    assert "put -- before" in complaint(call(CHAT, *few, "-5+3=?"), 2)
    assert call(CHAT, *few, "--", "-5+3=?").returncode == 0


def test_closed_pipe_is_quiet(bundle: Path) -> None:
    """``| head -1`` closes its end early; Python's own complaint at exit must not appear."""
    chat = subprocess.Popen(
        [*CHAT, "count", "--model", str(bundle), "--think", "off", "--temperature", "0", "-n", "3000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert chat.stdout is not None and chat.stderr is not None
    chat.stdout.read(1)
    chat.stdout.close()
    assert chat.stderr.read() == b""
    chat.stderr.close()
    assert chat.wait(timeout=30) == 1


def test_interrupt_keeps_what_was_said(bundle: Path) -> None:
    chat = subprocess.Popen(
        [*CHAT, "count", "--model", str(bundle), "--think", "off", "--temperature", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert chat.stdout is not None
    first = chat.stdout.read(1)
    chat.send_signal(signal.SIGINT)
    output, errors = chat.communicate(timeout=30)
    assert first + output
    assert chat.returncode == 1
    assert errors.decode().rstrip().endswith("stopped]")


# --- at a terminal --------------------------------------------------------------------------------------------------


class Terminal:
    """A chat on a pseudo-terminal: what a person types and sees."""

    def __init__(self, *arguments: str, command: Sequence[str] = CHAT) -> None:
        self._handle, self._far_end = pty.openpty()
        open_terminal = 'exec "$@" <>"$0" >&0 2>&0'  # opened by a session's first process, it sends that Ctrl-C
        self._process = subprocess.Popen(
            ["sh", "-c", open_terminal, os.ttyname(self._far_end), *command, *arguments],
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )
        self.seen = ""

    def type(self, text: str) -> None:
        """Send ``text`` as key strokes."""
        os.write(self._handle, text.encode())

    def wait_for(self, pattern: str, *, is_running: bool = False) -> str:
        """Read until ``pattern`` and then the chat's prompt appear in what is new; returns what was new.

        ``is_running``: no prompt follows, an answer is under way.
        """
        new, end_s = "", time.monotonic() + TERMINAL_PATIENCE_S
        whole = pattern if is_running else f"{pattern}.*> $"
        while not re.search(whole, new, re.DOTALL):
            assert time.monotonic() < end_s, f"{pattern!r} did not appear in {new!r}"
            new += self.read()
        self.seen += new
        if is_running:
            return new
        time.sleep(0.3)  # line editing takes the terminal over just after it shows the prompt
        return new

    def read(self) -> str:
        """What appears within a moment."""
        if not select.select([self._handle], [], [], 0.05)[0]:
            return ""
        return os.read(self._handle, 65536).decode(errors="replace")

    def end(self) -> int:
        """Wait for the process and return its exit code; one that does not end is killed."""
        end_s = time.monotonic() + TERMINAL_PATIENCE_S
        while self._process.poll() is None and time.monotonic() < end_s:
            self.seen += self.read()
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        self._process.kill()
        self._process.wait()
        os.close(self._handle)
        os.close(self._far_end)


@pytest.fixture
def terminal(bundle: Path) -> Iterator[Terminal]:
    """An interactive chat with the tiny bundle, at its first prompt."""
    chat = Terminal("--model", str(bundle), "--think", "off", "--temperature", "0", "--max-tokens", "3000", "-t", "1")
    try:
        chat.wait_for("Ctrl-D leaves")
        yield chat
    finally:
        chat.close()


def test_commands_at_a_terminal(terminal: Terminal) -> None:
    terminal.type("/think\n")
    terminal.wait_for("think off")
    terminal.type("/think sometimes\n")
    terminal.wait_for("use auto, on or off")
    terminal.type("/help\n")
    assert "/clear" in terminal.wait_for("keep the chat")
    terminal.type("/dance\n")
    terminal.wait_for("no command /dance")
    terminal.type("/clear\n")
    terminal.wait_for("forgotten")
    terminal.type("/exit\n")
    assert terminal.end() == 0


@pytest.fixture
def counting(repository: Path) -> Iterator[Terminal]:
    """An interactive chat with a model that counts for ever, so that no key comes too late however slow the machine."""
    script = repository / "tests" / "slow_chat.py"
    chat = Terminal("--think", "off", command=[sys.executable, "-W", "error", str(script)])
    try:
        chat.wait_for("Ctrl-D leaves")
        yield chat
    finally:
        chat.close()


def test_ctrl_c_stops_the_answer_and_keeps_the_chat(counting: Terminal) -> None:
    counting.type("count\n")
    counting.wait_for("1 2 3", is_running=True)
    counting.type("\x03")
    counting.wait_for(r"stopped\]")
    counting.type("half a line\x03")
    counting.wait_for("\n")
    counting.type("\x04")
    assert counting.end() == 0
    assert "Traceback" not in counting.seen


def test_first_ctrl_c_ends_the_thinking_and_the_second_the_answer(counting: Terminal) -> None:
    """Whoever waits for a long thought wants the answer, not the end of everything."""
    counting.type("/think on\n")
    counting.wait_for("think on")
    counting.type("count\n")
    counting.wait_for("1 2 3", is_running=True)
    counting.type("\x03")
    counting.wait_for(r"No more time\..*1 2 3", is_running=True)
    counting.type("\x03")
    assert "closed on request" in counting.wait_for(r"stopped\]")
    counting.type("/think\n")
    counting.wait_for("think on")
    counting.type("\x04")
    assert counting.end() == 0
    assert "Traceback" not in counting.seen


# --- cost and the other commands ------------------------------------------------------------------------------------


def test_help_is_quick_and_complete() -> None:
    """A heavy import at the head of a module makes every call slow; three tries, for a busy machine."""
    times = []
    for _ in range(3):
        start_s = time.perf_counter()
        result = call(CHAT, "--help")
        times.append(time.perf_counter() - start_s)
    text = result.stdout.decode()
    flags = "--think --show-thinking --system --max-tokens --temperature --top-k --top-p --seed --model --backend"
    flags += " --dialect --threads --ctx --json --jsonl --history --verbose --version"
    assert not [flag for flag in flags.split() if flag not in text]
    assert min(times) < 0.3


def test_version() -> None:
    import edge

    assert call(CHAT, "--version").stdout.decode() == f"edge-think {edge.__version__}\n"
    assert call(EDGE, "--version").stdout.decode() == f"edge-think {edge.__version__}\n"


def test_models_verify_names_the_damaged_file(bundle: Path, tmp_path: Path) -> None:
    assert call(EDGE, "models", "verify", str(bundle)).returncode == 0
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for file in bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    data = bytearray((damaged / "model.gguf").read_bytes())
    data[-1] ^= 1
    (damaged / "model.gguf").write_bytes(data)
    assert "model.gguf" in complaint(call(EDGE, "models", "verify", str(damaged)), 1)


def test_models_inspect(bundle: Path) -> None:
    for path in (bundle, bundle / "model.gguf"):
        assert "dialect: hipo" in call(EDGE, "models", "inspect", str(path)).stdout.decode()


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_bench_lists_what_there_is(option: str) -> None:
    from bench_edge import BENCHES

    result = call(EDGE, "bench", option)
    assert result.returncode == 0
    assert all(f"  {name}  {measured}\n" in result.stdout.decode() for name, measured in BENCHES.items())
    assert "usage: edge bench think" in call(EDGE, "bench", "think", option).stdout.decode()
    assert all(name in complaint(call(EDGE, "bench"), 2) for name in BENCHES)


def test_bench_of_an_unknown_name() -> None:
    assert "'coffee'" in complaint(call(EDGE, "bench", "coffee"), 2)


def test_an_unexpected_error_is_one_sentence(few: list[str]) -> None:
    """Whatever a bug raises, a person gets a sentence and --verbose the traceback."""
    bug = "import edge.terminal, edge.cli; edge.terminal.closing_line = lambda answer: 1 / 0; edge.cli.chat_main()"
    broken = [sys.executable, "-c", bug]
    result = call(broken, "hi", *few)
    assert result.returncode == 1
    assert result.stderr.decode().startswith("Something unexpected happened (ZeroDivisionError")
    assert "Traceback" in call(broken, "hi", "--verbose", *few).stderr.decode()
