// A ring that runs down with the deadline, and the seconds in it.
// Knows: SVG, a start and a length in seconds. Does not know: what is waited for.

import { word } from "./words.js";

const RADIUS = 42;
const AROUND = 2 * Math.PI * RADIUS;
const SVG = "http://www.w3.org/2000/svg";
const STEP_MS = 250;

const circle = (name) => {
  const element = document.createElementNS(SVG, "circle");
  for (const [key, value] of Object.entries({ cx: 50, cy: 50, r: RADIUS, class: name })) element.setAttribute(key, value);
  return element;
};

export class Ring {
  constructor(seconds) {
    this.seconds = seconds;
    this.start = performance.now();
    this.element = document.createElement("div");
    this.element.className = "ring";
    this.element.setAttribute("role", "timer");
    const drawing = document.createElementNS(SVG, "svg");
    drawing.setAttribute("viewBox", "0 0 100 100");
    drawing.setAttribute("aria-hidden", "true");
    this.swept = circle("swept");
    this.swept.style.strokeDasharray = `${AROUND}`;
    drawing.append(circle("track"), this.swept);
    this.number = document.createElement("span");
    this.number.setAttribute("aria-hidden", "true");
    this.element.append(drawing, this.number);
    this.timer = setInterval(() => this.show(), STEP_MS);
    this.show();
  }

  /** Seconds since it began. */
  get elapsed() {
    return (performance.now() - this.start) / 1000;
  }

  show() {
    const left = Math.max(this.seconds - this.elapsed, 0);
    this.swept.style.strokeDashoffset = `${AROUND * (1 - left / this.seconds)}`;
    this.element.classList.toggle("soon", left < this.seconds / 4);
    this.number.textContent = `${Math.ceil(left)}`;
    this.element.setAttribute("aria-label", word("secondsLeft", Math.ceil(left)));
  }

  stop() {
    clearInterval(this.timer);
    this.element.remove();
  }
}
