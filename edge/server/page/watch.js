// Whether the server is there: looked at now and then, and often once it is not.
// Knows: health, and that another instance means it was started again. Does not know: answers.

import { fetchSettings, isReady } from "./server.js";

const CALM_MS = 10_000;
const WORRIED_MS = 1_000;

export class Watch {
  /** `onLost()` when it does not respond; `onBack(settings, isRestarted)` when it does again. */
  constructor(instance, { onLost, onBack }) {
    this.instance = instance;
    this.onLost = onLost;
    this.onBack = onBack;
    this.isLost = false;
    this.plan();
  }

  plan() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), this.isLost ? WORRIED_MS : CALM_MS);
  }

  /** An answer broke off: do not wait to find out. */
  doubt() {
    clearTimeout(this.timer);
    return this.look();
  }

  async look() {
    const settings = (await isReady()) ? await fetchSettings().catch(() => null) : null;
    if (settings === null) {
      if (!this.isLost) this.onLost();
      this.isLost = true;
    } else {
      const isRestarted = settings.instance !== this.instance;
      if (this.isLost || isRestarted) this.onBack(settings, isRestarted);
      this.isLost = false;
      this.instance = settings.instance;
    }
    this.plan();
  }
}

/** The settings, as soon as the server gives them; `onLost()` where it does not at once. */
export const firstSettings = async (onLost) => {
  for (;;) {
    const settings = await fetchSettings().catch(() => null);
    if (settings !== null) return settings;
    onLost();
    await new Promise((resume) => setTimeout(resume, WORRIED_MS));
  }
};
