// Left alone: after a while, with a warning that any touch stops, the page forgets.
// Knows: touches, keys and time. Does not know: what is forgotten.

const TOUCHES = ["pointerdown", "keydown", "input", "wheel", "scroll", "focusin"];
const WARNING_S = 20; // what WCAG 2.2.1 asks for at least

export class Idle {
  /** `isNeeded()`: whether there is something to forget, and nothing under way; `forget()` does it. */
  constructor(seconds, { isNeeded, forget }) {
    this.warning = Math.min(WARNING_S, seconds / 2);
    this.seconds = seconds;
    this.isNeeded = isNeeded;
    this.forget = forget;
    this.dialog = document.getElementById("leaving");
    this.shown = this.dialog.querySelector(".seconds");
    this.touched = performance.now();
    for (const name of TOUCHES) addEventListener(name, (event) => this.hear(event), { capture: true, passive: true });
    this.dialog.addEventListener("cancel", () => this.touch());
    setInterval(() => this.look(), 250);
  }

  hear(event) {
    if (event.type !== "focusin" || !this.dialog.contains(event.target)) this.touch(); // it takes the focus itself
  }

  /** Somebody is there. */
  touch() {
    this.touched = performance.now();
    if (this.dialog.open) this.dialog.close();
  }

  look() {
    if (!this.isNeeded()) this.touched = performance.now();
    const left = this.seconds - (performance.now() - this.touched) / 1000;
    if (left > this.warning) return;
    if (left <= 0) {
      this.dialog.close();
      this.touched = performance.now();
      this.forget();
      return;
    }
    this.shown.textContent = `${Math.ceil(left)}`;
    this.shown.style.setProperty("--left", `${left / this.warning}`);
    if (!this.dialog.open) this.dialog.showModal();
  }
}
