// The server, as this page sees it: settings, streamed answers, health.
// Knows: the paths, and the OpenAI API's chunks. Does not know: the page.

const SILENCE_S = 15; // beyond the deadline, after which a stream counts as lost

/** The server has said no: `code` and `retryAfter` (seconds) are its own. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `status ${status}`);
    this.status = status;
    this.code = body?.error?.code ?? "";
    this.retryAfter = body?.edge?.retry_after_s ?? 0;
  }
}

/** The server does not respond, or stopped in the midst of an answer. */
export class Lost extends Error {}

/** The key in the address (#key=…), which is then taken out of it; kept for as long as the window is open. */
const readKey = () => {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem("key", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("key");
};

const key = readKey();
const headers = () => ({ "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) });

/** What the operator has set. */
export const fetchSettings = async () => {
  const reply = await fetch("page/settings", { signal: AbortSignal.timeout(5000) });
  if (!reply.ok) throw new Lost(`status ${reply.status}`);
  return reply.json();
};

/** Whether the server takes questions. */
export const isReady = async () => {
  try {
    return (await fetch("health", { signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
};

/** End the thinking of the answer with that id; without effect where it has ended. */
export const endThinking = async (id) => {
  const body = JSON.stringify({ id, action: "reasoning_end" });
  await fetch("v1/chat/completions/control", { method: "POST", headers: headers(), body }).catch(() => {});
};

/**
 * Ask, and give what comes: {id}, {thinking}, {answer}, and at last {ended}, which is the server's `edge` object.
 * Throws Refused, Lost, and AbortError once `signal` says so.
 */
export async function* ask(messages, { deadlineS, notes, signal }) {
  const edge = { deadline_s: deadlineS, best_effort: true, ...(notes ? { notes: true } : {}) };
  const silence = AbortSignal.timeout((deadlineS + SILENCE_S) * 1000);
  const request = {
    method: "POST",
    headers: headers(),
    body: JSON.stringify({ messages, stream: true, edge }),
    signal: AbortSignal.any([signal, silence]),
  };
  let hasEnded = false;
  try {
    const reply = await fetch("v1/chat/completions", request);
    if (!reply.ok) throw new Refused(reply.status, await reply.json().catch(() => null));
    let id = null;
    for await (const data of dataOf(reply.body)) {
      if (data === "[DONE]") continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(500, chunk);
      if (id === null) yield { id: (id = chunk.id) };
      const delta = chunk.choices?.[0]?.delta ?? {};
      if (delta.reasoning_content) yield { thinking: delta.reasoning_content };
      if (delta.content) yield { answer: delta.content };
      if (chunk.edge?.finish) {
        hasEnded = true;
        yield { ended: chunk.edge };
      }
    }
  } catch (error) {
    if (error instanceof Refused || signal.aborted) throw error;
    throw new Lost(error.message);
  }
  if (!hasEnded) throw new Lost("the stream ended before the answer");
}

/** The data of each server-sent event in a stream of bytes. */
export async function* dataOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
  }
}
