// How the page looks to this visitor: colours, size, language; all forgotten when the visitor is.
// Knows: the buttons for it. Does not know: the conversation.

import { LANGUAGES, firstLanguage, language, speak } from "./words.js";

const root = document.documentElement;
const size = document.getElementById("size");
const shade = document.getElementById("shade");
const other = document.getElementById("language");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const NAMES = { en: "English", zh: "中文" };

export class Look {
  /** `onSpeak` is called when the language has changed. */
  constructor(setLanguage, onSpeak) {
    this.setLanguage = setLanguage;
    this.onSpeak = onSpeak;
    size.addEventListener("click", () => this.enlarge(!root.classList.contains("large")));
    shade.addEventListener("click", () => this.darken(!this.isDark));
    other.addEventListener("click", () => this.talk(LANGUAGES.find((name) => name !== language())));
    prefersDark.addEventListener("change", () => this.darken(null));
    this.reset();
  }

  get isDark() {
    return root.dataset.shade ? root.dataset.shade === "dark" : prefersDark.matches;
  }

  /** Whether the visitor has changed anything. */
  get isChanged() {
    const hasSet = root.classList.contains("large") || root.dataset.shade !== undefined;
    return hasSet || language() !== firstLanguage(this.setLanguage);
  }

  reset() {
    this.enlarge(false);
    this.darken(null);
    this.talk(firstLanguage(this.setLanguage));
  }

  enlarge(isLarge) {
    root.classList.toggle("large", isLarge);
    size.setAttribute("aria-pressed", `${isLarge}`);
  }

  /** null: as the browser prefers. */
  darken(isDark) {
    if (isDark === null) delete root.dataset.shade;
    else root.dataset.shade = isDark ? "dark" : "light";
    shade.setAttribute("aria-pressed", `${this.isDark}`);
  }

  talk(name) {
    speak(name);
    const next = LANGUAGES.find((candidate) => candidate !== name);
    other.textContent = NAMES[next];
    other.lang = next;
    this.onSpeak();
  }
}
