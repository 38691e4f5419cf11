// The little Markdown that answers use, as elements: paragraphs, headings, lists, code, bold, italics.
// Knows: these marks. Does not know: links, images or HTML, which stay the text they are; nothing becomes markup.

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*/g;
const ITEM = /^\s*(?:[-*•]|(\d{1,3})[.)])\s+(.*)$/;

const make = (tag, ...children) => {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
};

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index));
    const [whole, code, strong, weak] = match;
    parts.push(code ? make("code", code) : strong ? make("strong", strong) : make("em", weak));
    end = match.index + whole.length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== "");
}

const lines = (block) => block.flatMap((line, index) => [...(index ? [make("br")] : []), ...inline(line)]);

function list(block) {
  const isNumbered = ITEM.exec(block[0])[1] !== undefined;
  const items = [];
  for (const line of block) {
    const item = ITEM.exec(line);
    if (item) items.push([item[2]]);
    else items.at(-1).push(line.trim());
  }
  const element = make(isNumbered ? "ol" : "ul", ...items.map((item) => make("li", ...lines(item))));
  if (isNumbered) element.start = Number(ITEM.exec(block[0])[1]);
  return element;
}

function blockOf(block) {
  const heading = /^#{1,6}\s+(.*)$/.exec(block[0]);
  if (heading && block.length === 1) return make("p", make("strong", ...inline(heading[1])));
  if (ITEM.test(block[0])) return list(block);
  return make("p", ...lines(block));
}

/** The blocks of a text: runs of lines between blank ones; a list begins one, a fence holds one together. */
function blocks(text) {
  const found = [];
  let held = [];
  let fence = null;
  const flush = () => {
    if (held.length) found.push(blockOf(held));
    held = [];
  };
  for (const line of text.split("\n")) {
    if (fence !== null) {
      if (line.startsWith("```")) {
        found.push(make("pre", make("code", fence.join("\n"))));
        fence = null;
      } else fence.push(line);
    } else if (line.startsWith("```")) {
      flush();
      fence = [];
    } else if (!line.trim() || /^#{1,6}\s/.test(line)) {
      flush();
      if (line.trim()) found.push(blockOf([line]));
    } else {
      if (held.length && ITEM.test(line) && !ITEM.test(held[0])) flush();
      held.push(line);
    }
  }
  if (fence !== null) found.push(make("pre", make("code", fence.join("\n"))));
  flush();
  return found;
}

/** Show `text` in `element`. */
export const render = (text, element) => element.replaceChildren(...blocks(text.trim()));
