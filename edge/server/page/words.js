// What the page says, in each of its languages.
// Knows: words. Does not know: where they stand; an element names its own with data-word.

const WORDS = {
  en: {
    title: "Ask",
    skip: "Go to the question field",
    restart: "Start over",
    larger: "Larger text",
    dark: "Dark colours",
    greeting: "What would you like to know?",
    promise: "The answer is made on this device. Nothing you write leaves it.",
    talk: "Your conversation",
    question: "Your question",
    placeholder: "Write your question",
    send: "Ask",
    stop: "Stop",
    leavingTitle: "Are you still there?",
    leavingText: "The conversation will be cleared soon. Touch anywhere, or press a key, to keep it.",
    stay: "I am still here",
    youAsked: "You asked",
    waiting: "One moment",
    thinking: "Thinking it over",
    answering: "Answering",
    justAnswer: "Just answer",
    secondsLeft: (n) => `${n} ${n === 1 ? "second" : "seconds"} left`,
    thoughts: "What it is thinking",
    thoughtFor: (s) => `What it thought, for ${s}`,
    sources: (n) => (n === 1 ? "From the notes here: 1 quote" : `From the notes here: ${n} quotes`),
    noAnswer: "There was no time for an answer. Ask again, perhaps more briefly.",
    stopped: "You stopped the answer.",
    askAgain: "Ask again",
    inAll: "In all",
    firstWord: "First word after",
    waited: "Waited for others",
    tokens: "Tokens thought and answered",
    reason: "In the program's words",
    seconds: (s) => (s < 0.95 ? "less than a second" : `${Math.round(s)} ${Math.round(s) === 1 ? "second" : "seconds"}`),
    ready: "The answer is ready.",
    cleared: "The conversation was cleared.",
    keyNeeded: "This machine wants a key. Whoever runs it can open this page with its address and #key=… behind it.",
    lost: "The answering machine does not respond. I keep trying.",
    back: "The answering machine is back.",
    restarted: "The answering machine was started again. Your conversation is still here.",
    interrupted: "The answer was interrupted, because the answering machine stopped responding.",
    full: (n) => `Many are asking at the moment. Please ask again in ${n} ${n === 1 ? "second" : "seconds"}.`,
    tooLong: "This is too long for me. Ask more briefly, or start over.",
    failed: "Something went wrong on the answering machine. Please ask again.",
    decisions: {
      "on/asked": "It thought first, as was asked for.",
      "on/judge": "It thought first, because the question seemed to need it.",
      "on/other": "It thought before it answered.",
      "off/asked": "It answered at once, as was asked for.",
      "off/judge": "It answered at once, because the question seemed easy.",
      "off/other": "It answered at once.",
      "on/deadline": "It thought first, because there was time for it.",
      "off/deadline": "It answered at once, because there was no time to think.",
      "on/reader": "It thought until you asked for the answer.",
    },
    finishes: {
      deadline: "Time was up, so the answer ends here.",
      length: "The answer had reached its greatest length.",
      loop: "It began to repeat itself and was stopped.",
      context: "There was no room for a longer answer.",
      stopped: "The answer was stopped.",
    },
  },
  zh: {
    title: "提问",
    skip: "跳到提问栏",
    restart: "重新开始",
    larger: "放大文字",
    dark: "深色",
    greeting: "您想了解什么？",
    promise: "回答在这台设备上生成，您写的内容不会离开它。",
    talk: "您的对话",
    question: "您的问题",
    placeholder: "请输入问题",
    send: "提问",
    stop: "停止",
    leavingTitle: "您还在吗？",
    leavingText: "对话即将清除。触摸屏幕或按任意键即可保留。",
    stay: "我还在",
    youAsked: "您问",
    waiting: "请稍候",
    thinking: "正在思考",
    answering: "正在回答",
    justAnswer: "直接回答",
    secondsLeft: (n) => `还剩 ${n} 秒`,
    thoughts: "它在想什么",
    thoughtFor: (s) => `它想了什么（${s}）`,
    sources: (n) => `引自本地资料：${n} 段`,
    noAnswer: "时间不够，没能作答。请再问一次，最好简短一些。",
    stopped: "您停止了回答。",
    askAgain: "再问一次",
    inAll: "总用时",
    firstWord: "出现首字用时",
    waited: "排队",
    tokens: "思考与回答的词元数",
    reason: "程序的原话",
    seconds: (s) => (s < 0.95 ? "不到 1 秒" : `${Math.round(s)} 秒`),
    ready: "回答已完成。",
    cleared: "对话已清除。",
    keyNeeded: "这台机器需要密钥。管理者可在页面地址后加上 #key=… 打开。",
    lost: "回答机没有响应，正在不断重试。",
    back: "回答机已恢复。",
    restarted: "回答机重新启动过，您的对话仍然保留。",
    interrupted: "回答机停止响应，回答中断了。",
    full: (n) => `现在提问的人较多，请 ${n} 秒后再问。`,
    tooLong: "内容太长了。请简短一些，或重新开始。",
    failed: "回答机出了问题，请再问一次。",
    decisions: {
      "on/asked": "按要求先思考再回答。",
      "on/judge": "问题看来需要思考，所以先想了想。",
      "on/other": "先思考，再回答。",
      "off/asked": "按要求直接回答。",
      "off/judge": "问题看来不难，所以直接回答。",
      "off/other": "直接回答。",
      "on/deadline": "时间足够，所以先思考再回答。",
      "off/deadline": "没有时间思考，所以直接回答。",
      "on/reader": "思考到您要求直接回答为止。",
    },
    finishes: {
      deadline: "时间到了，回答到此为止。",
      length: "回答已达到最大长度。",
      loop: "它开始重复，因此停了下来。",
      context: "没有空间继续回答。",
      stopped: "回答被停止。",
    },
  },
};

export const LANGUAGES = Object.keys(WORDS);
const TAGS = { en: "en", zh: "zh-Hans" };
const HAN = /\p{Script=Han}/u;

let chosen = "en";

/** The chosen language. */
export const language = () => chosen;

/** A word of the chosen language; those with a number in them are functions. */
export const word = (name, ...values) => {
  const entry = WORDS[chosen][name];
  return typeof entry === "function" ? entry(...values) : entry;
};

/** The language to begin with: what the operator set, or the first of the browser's that there is. */
export const firstLanguage = (set) => {
  if (LANGUAGES.includes(set)) return set;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => LANGUAGES.includes(tag)) ?? "en";
};

/** Change the language of the page and of all that names its words. */
export const speak = (name) => {
  chosen = name;
  document.documentElement.lang = TAGS[name];
  document.title = word("title");
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
};

/** Let an element, and all its words later, say a word of whatever language is chosen. */
export const saying = (element, name) => {
  element.dataset.word = name;
  element.textContent = word(name);
  return element;
};

/** The lang attribute that a text needs to be read aloud and set in the right characters. */
export const languageOf = (text) => (HAN.test(text) ? TAGS.zh : TAGS.en);
