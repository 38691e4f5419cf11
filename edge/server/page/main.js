// The page from its first word to the moment it forgets: asks, shows, resets.
// Knows: which part does what, and the conversation. Does not know: how an answer looks or travels.

import { Idle } from "./idle.js";
import { Look } from "./look.js";
import { Lost, Refused, ask, endThinking } from "./server.js";
import { Turn } from "./turn.js";
import { Watch, firstSettings } from "./watch.js";
import { firstLanguage, language, saying, speak, word } from "./words.js";

const REMEMBERED = 8; // turns that are sent with a question

const part = Object.fromEntries(
  ["restart", "trouble", "welcome", "greeting", "suggestions", "conversation", "ask", "question", "send", "stay", "said"]
    .map((id) => [id, document.getElementById(id)]),
);
const sendWord = part.send.querySelector("span");

class Page {
  constructor(settings) {
    this.turns = [];
    this.controller = null; // of the answer under way
    this.settings = settings;
    this.look = new Look(settings.language, () => this.speak());
    this.watch = new Watch(settings.instance, {
      onLost: () => this.trouble("lost"),
      onBack: (news, isRestarted) => this.back(news, isRestarted),
    });
    if (settings.idle_s !== null) {
      this.idle = new Idle(settings.idle_s, { isNeeded: () => this.hasTraces, forget: () => this.forget("cleared") });
    }
    part.stay.addEventListener("click", () => this.idle.touch());
    part.restart.addEventListener("click", () => this.forget("cleared"));
    part.send.addEventListener("click", () => this.controller?.abort());
    part.ask.addEventListener("submit", (event) => this.submit(event));
    part.question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // isComposing: Enter chose a character
      event.preventDefault();
      if (!this.controller) part.ask.requestSubmit();
    });
    document.body.classList.add("ready");
  }

  /** Whether somebody has left something here, and nothing is under way. */
  get hasTraces() {
    return this.controller === null && (this.turns.length > 0 || part.question.value !== "" || this.look.isChanged);
  }

  submit(event) {
    event.preventDefault();
    const question = part.question.value.trim();
    if (!question || this.controller) return;
    part.question.value = "";
    this.answer(question);
  }

  /** One question, from here to the end of its answer. */
  async answer(question) {
    const turn = this.begin(question);
    const options = { deadlineS: this.settings.deadline_s, notes: this.settings.has_notes, signal: this.controller.signal };
    try {
      await this.follow(turn, question, this.history(), options);
      part.said.textContent = turn.answer ? `${word("ready")} ${turn.answer}` : word("noAnswer");
    } catch (error) {
      if (turn.element.isConnected) this.explain(turn, error);
    } finally {
      this.finish();
    }
  }

  /** Show what comes; a conversation that has grown too long is asked again without what came before. */
  async follow(turn, question, history, options) {
    try {
      for await (const event of ask([...history, { role: "user", content: question }], options)) {
        if (event.id) turn.id = event.id;
        if (event.thinking) turn.addThinking(event.thinking);
        if (event.answer) turn.addAnswer(event.answer);
        if (event.ended) turn.end(event.ended);
        this.announce(turn);
      }
    } catch (error) {
      if (!(error instanceof Refused && error.status === 400 && history.length)) throw error;
      await this.follow(turn, question, [], options);
    }
  }

  /** What a screen reader says; the state changes rarely, the text is read once it is whole. */
  announce(turn) {
    const state = turn.state.textContent;
    if (turn.state.isConnected && part.said.textContent !== state) part.said.textContent = state;
  }

  begin(question) {
    const hadFocus = part.question === document.activeElement;
    this.controller = new AbortController();
    this.silence();
    const turn = new Turn(question, this.settings.deadline_s, { onJustAnswer: () => turn.id && endThinking(turn.id) });
    this.turns.push(turn);
    part.conversation.append(turn.element);
    this.showConversation(true);
    part.send.type = "button";
    saying(sendWord, "stop");
    part.send.classList.add("stop");
    turn.element.scrollIntoView({ block: "start" });
    if (!hadFocus) turn.focus();
    return turn;
  }

  finish() {
    this.controller = null;
    part.send.type = "submit";
    saying(sendWord, "send");
    part.send.classList.remove("stop");
  }

  /** Why there is no whole answer, in words for a passer-by. */
  explain(turn, error) {
    const askAgain = () => this.controller ?? this.answer(turn.question);
    const [name, values] = this.reasonOf(error);
    turn.fail(name, values, name === "stopped" || name === "tooLong" || name === "keyNeeded" ? null : askAgain);
    part.said.textContent = word(name, ...values);
    if (error instanceof Lost) this.watch.doubt();
  }

  reasonOf(error) {
    if (error instanceof Lost || error.code === "stopping") return ["interrupted", []];
    if (!(error instanceof Refused)) return ["stopped", []];
    if (error.status === 401) return ["keyNeeded", []];
    if (error.code === "deadline_passed") return ["noAnswer", []];
    if (error.status === 503) return ["full", [Math.max(1, Math.ceil(error.retryAfter))]];
    return [error.status === 400 || error.status === 413 ? "tooLong" : "failed", []];
  }

  /** The messages of the last whole turns. */
  history() {
    const whole = this.turns.filter((turn) => turn.edge && turn.answer).slice(-REMEMBERED);
    return whole.flatMap(({ question, answer }) => [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ]);
  }

  /** Back to the welcome, as if nobody had been here. */
  forget(reason) {
    this.controller?.abort();
    for (const turn of this.turns) turn.remove();
    this.turns = [];
    part.question.value = "";
    this.silence();
    this.showConversation(false);
    this.look.reset();
    document.activeElement?.blur();
    scrollTo({ top: 0 });
    part.said.textContent = word(reason);
  }

  showConversation(isShown) {
    part.conversation.hidden = !isShown;
    part.welcome.hidden = isShown;
    part.restart.hidden = !isShown;
  }

  trouble(name) {
    part.trouble.hidden = false;
    part.trouble.classList.toggle("good", name !== "lost");
    saying(part.trouble, name);
  }

  /** Nothing to say at the top, unless the server is away. */
  silence() {
    if (!this.watch.isLost) part.trouble.hidden = true;
  }

  back(settings, isRestarted) {
    this.settings = settings;
    this.speak();
    this.trouble(isRestarted && this.turns.length ? "restarted" : "back");
  }

  /** The operator's words, and the page's own where there are none, in the chosen language. */
  speak() {
    const { welcome, suggestions } = this.settings;
    part.greeting.textContent = welcome[language()].join(" ") || word("greeting");
    part.question.placeholder = word("placeholder");
    part.suggestions.replaceChildren(
      ...suggestions[language()].map((text) => {
        const suggestion = document.createElement("button");
        suggestion.type = "button";
        suggestion.textContent = text;
        suggestion.addEventListener("click", () => this.controller ?? this.answer(text));
        const item = document.createElement("li");
        item.append(suggestion);
        return item;
      }),
    );
    for (const turn of this.turns) turn.speak();
  }
}

speak(firstLanguage("auto"));
new Page(
  await firstSettings(() => {
    part.trouble.hidden = false;
    saying(part.trouble, "lost");
  }),
);
