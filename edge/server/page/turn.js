// One question and its answer on the screen.
// Knows: the elements, and what is said of an answer's state and end. Does not know: the server, or other turns.

import { render } from "./markdown.js";
import { Ring } from "./ring.js";
import { languageOf, saying, word } from "./words.js";

const make = (tag, name, ...children) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
};

const button = (name, kind, press) => {
  const element = saying(make("button", kind), name);
  element.type = "button";
  element.addEventListener("click", press);
  return element;
};

export class Turn {
  /** `onJustAnswer` is called when that is wanted. */
  constructor(question, deadlineS, { onJustAnswer }) {
    this.question = question;
    this.answer = "";
    this.ring = new Ring(deadlineS);
    this.state = saying(make("p", "state"), "waiting");
    this.justAnswer = button("justAnswer", "plain", () => {
      this.wasHurried = true;
      this.justAnswer.disabled = true;
      onJustAnswer();
    });
    this.justAnswer.hidden = true;
    this.running = make("div", "running", this.ring.element, this.state, this.justAnswer);
    this.thoughts = make("div", "thoughts");
    this.thoughtsTitle = saying(make("summary"), "thoughts");
    this.thinking = make("details", "thinking", this.thoughtsTitle, this.thoughts);
    this.thinking.hidden = true;
    this.text = make("div", "answer");
    const words = make("span", "", question);
    words.lang = languageOf(question);
    this.asked = make("h2", "asked", saying(make("span", "unseen"), "youAsked"), " ", words);
    this.element = make("article", "turn", this.asked, this.running, this.thinking, this.text);
  }

  addThinking(text) {
    if (this.thinking.hidden) {
      saying(this.state, "thinking");
      this.thinking.hidden = false;
      this.justAnswer.hidden = false;
      this.thinkingSince = this.ring.elapsed;
    }
    this.thoughts.append(text);
    if (!this.thoughts.lang) this.thoughts.lang = languageOf(text);
  }

  addAnswer(text) {
    if (!this.answer) {
      saying(this.state, "answering");
      this.endThinking();
    }
    this.answer += text;
    this.show();
  }

  show() {
    this.text.lang = languageOf(this.answer);
    render(this.answer, this.text);
  }

  /** The thinking is over; its title says how long it took. */
  endThinking() {
    this.justAnswer.hidden = true;
    if (this.thinking.hidden || this.thoughtFor !== undefined) return;
    this.thoughtFor = this.ring.elapsed - this.thinkingSince;
    this.speak();
  }

  /** The answer is whole; `edge` says what was decided, and how it ended. */
  end(edge) {
    this.edge = edge;
    this.stopRunning();
    if (!this.answer) this.say("noAnswer");
    this.about = make("details", "about");
    this.sources = edge.sources?.length ? make("details", "sources") : null;
    this.element.append(...(this.sources ? [this.sources] : []), this.about);
    this.speak();
  }

  /** Where there is no (whole) answer: a sentence, and a button that asks again. */
  fail(name, values, askAgain) {
    this.stopRunning();
    this.say(name, ...values);
    if (askAgain) this.element.append(button("askAgain", "plain again", askAgain));
  }

  /** A sentence of the page's own under the answer. */
  say(name, ...values) {
    this.note = { name, values, element: make("p", "note") };
    this.element.append(this.note.element);
    this.speak();
  }

  /** Let a screen reader and the keyboard go on from here. */
  focus() {
    this.asked.tabIndex = -1;
    this.asked.focus({ preventScroll: true });
  }

  remove() {
    this.ring.stop();
    this.element.remove();
  }

  stopRunning() {
    this.endThinking();
    this.ring.stop();
    this.running.remove();
  }

  /** Say everything again in the chosen language. */
  speak() {
    if (this.note) this.note.element.textContent = word(this.note.name, ...this.note.values);
    if (this.thoughtFor !== undefined) {
      delete this.thoughtsTitle.dataset.word;
      this.thoughtsTitle.textContent = word("thoughtFor", word("seconds", this.thoughtFor));
    }
    if (this.sources) this.sources.replaceChildren(...quotes(this.edge.sources));
    if (this.about) this.about.replaceChildren(make("summary", "", decision(this.edge, this.wasHurried)), facts(this.edge));
  }
}

/** What was decided and why, and how it ended, in plain words. */
const decision = ({ decision: mode, source, finish, tokens }, wasHurried) => {
  const known = word("decisions");
  const thought = mode === "on" || tokens.thinking_tokens > 0 ? "on" : "off";
  const sentence = wasHurried && thought === "on" ? known["on/reader"] : known[`${thought}/${source}`];
  return [sentence ?? known[`${thought}/other`], word("finishes")[finish] ?? ""].join(" ").trim();
};

const facts = ({ reason, timings, tokens }) => {
  const seconds = (value) => `${value.toFixed(value < 10 ? 2 : 0)} s`;
  const rows = [
    [word("inAll"), seconds(timings.total_s)],
    [word("waited"), seconds(timings.queue_s)],
    [word("firstWord"), seconds(timings.ttft_s)],
    [word("tokens"), `${tokens.judge_tokens + tokens.thinking_tokens} + ${tokens.answer_tokens}`],
    [word("reason"), make("span", "", reason)],
  ];
  rows.at(-1)[1].lang = "en";
  return make("dl", "", ...rows.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));
};

const quotes = (sources) => {
  const figures = sources.map(({ source, heading, text }) => {
    const quote = make("blockquote", "", text);
    quote.lang = languageOf(text);
    return make("figure", "", make("figcaption", "", heading ? `${source} · ${heading}` : source), quote);
  });
  return [make("summary", "", word("sources", sources.length)), ...figures];
};
