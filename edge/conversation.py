"""The chat at a terminal: reads lines, obeys the ones that begin with a slash, answers the others.

Knows: the commands, line editing, and what Ctrl-C and Ctrl-D mean. Does not know: how an answer is made or shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.chat_history import keep_turn, kept_prompts
from edge.chat_types import AnswerOptions
from edge.session import Session
from edge.terminal import Screen, stopped_by_interrupt
from models.errors import EdgeError, PromptError, UsageError

PROMPT = "> "
WELCOME = "Ask something; /help lists the commands, Ctrl-D leaves."
HELP = """\
/think on|off|auto   think always, never, or when it pays (now: {think})
/clear               forget this conversation
/save FILE           keep this conversation in a file
/load FILE           go on with the conversation in a file
/help                this list
/exit                leave (as Ctrl-D does)
Ctrl-C               stop thinking and answer; again: stop the answer and keep the chat"""


class Conversation:
    """One interactive chat; ``run`` returns when the person leaves."""

    def __init__(self, session: Session, options: AnswerOptions, screen: Screen, *, keeps_history: bool) -> None:
        self.session = session  # the one under way: /load brings another
        self._options = options
        self._screen = screen
        self._keeps_history = keeps_history
        self._commands: dict[str, Callable[[str], None]] = {
            "/think": self._set_think,
            "/clear": self._clear,
            "/save": self._save,
            "/load": self._load,
            "/help": self._help,
        }

    def run(self) -> None:
        """Read and answer until /exit or the end of input."""
        set_up_line_editing(kept_prompts() if self._keeps_history else [])
        self._screen.note(WELCOME)
        while True:
            try:
                line = input(PROMPT).strip()
            except KeyboardInterrupt:
                print()  # drops what was typed, as a shell does
                continue
            except EOFError:
                print()
                return
            if line in ("/exit", "/quit", "/bye"):
                return
            if line:
                self._obey_or_answer(line)

    def _obey_or_answer(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        try:
            if not name.startswith("/"):
                self._answer(line)
            elif name in self._commands:
                self._commands[name](argument.strip())
            else:
                self._screen.note(f"There is no command {name}; /help lists them.")
        except PromptError as exc:
            self._screen.note(f"{exc} /clear starts a new conversation.")
        except EdgeError as exc:
            self._screen.note(str(exc))
        except KeyboardInterrupt:  # one Ctrl-C more: not even what was said is kept
            self._screen.note("Interrupted.")

    def _answer(self, prompt: str) -> None:
        num_dropped = self.session.num_dropped_turns
        running = self.session.stream(prompt, self._options)
        with stopped_by_interrupt(running, thinking_first=True):
            answer = self._screen.show(running)
        if note := dropped_note(self.session, num_dropped):
            self._screen.note(note)
        if self._keeps_history and (warning := keep_turn(prompt, answer)):
            self._screen.note(warning)

    def _set_think(self, wish: str) -> None:
        if wish:
            self._options = replace(self._options, think=wish)  # type: ignore[arg-type]  # checked there
        self._screen.note(f"think {self._options.think}")

    def _clear(self, argument: str) -> None:
        check_no_argument("/clear", argument)
        self.session.clear()
        self._screen.note("The conversation is forgotten.")

    def _save(self, argument: str) -> None:
        self.session.save(named_file("/save", argument))
        self._screen.note(f"The conversation is kept in {argument}.")

    def _load(self, argument: str) -> None:
        session = self.session.engine.load_session(named_file("/load", argument), when_full=self.session.when_full)
        self.session = session
        self._screen.note(f"This is the conversation in {argument}, {len(session.messages)} messages.")
        for note in session.notes:
            self._screen.note(note)

    def _help(self, argument: str) -> None:
        check_no_argument("/help", argument)
        self._screen.note(HELP.format(think=self._options.think))


def dropped_note(session: Session, num_dropped_before: int) -> str | None:
    """What a user should know when turns were dropped since there were ``num_dropped_before``; None: none were."""
    num_dropped = session.num_dropped_turns - num_dropped_before
    if not num_dropped:
        return None
    what = "oldest turn is" if num_dropped == 1 else f"{num_dropped} oldest turns are"
    return f"The context was full: the {what} no longer shown to the model (--when-full refuse stops instead)."


def named_file(command: str, argument: str) -> Path:
    """The file that ``command`` names. Raises UsageError where it names none."""
    if not argument:
        raise UsageError(f"{command} needs a file: {command} FILE")
    return Path(argument).expanduser()


def check_no_argument(command: str, argument: str) -> None:
    """Raises UsageError for words that ``command`` could only ignore."""
    if argument:
        raise UsageError(f"{command} takes nothing, and {argument!r} stands behind it; /help lists the commands.")


def set_up_line_editing(prompts: list[str]) -> None:
    """Arrow keys and recall at the prompt, with ``prompts`` to recall; a Python without readline goes without."""
    try:
        import readline
    except ImportError:
        return
    readline.set_auto_history(True)
    for prompt in prompts:
        readline.add_history(prompt)
