// Words in the language of the page: `say("key", {values})`, and the fixed ones of index.html by their data attributes.
// "{count:one page|{count} pages}": what depends on a number, for 1 and for others.
import en from "/words-en.js";
import zh from "/words-zh.js";

const LANGUAGES = { en, zh };
const COUNTED = /\{(\w+):([^|{}]*)\|((?:[^{}]|\{\w+\})*)\}/g;

export function say(key, values = {}) {
  const words = LANGUAGES[document.documentElement.lang] || en;
  const chosen = words[key].replace(COUNTED, (_, name, one, others) => (String(values[name]) === "1" ? one : others));
  return chosen.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** data-text: content. data-label: accessible name, and what a mouse shows. data-hint: placeholder. */
export function sayAll(root = document) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
    if (element.matches("button")) element.title = say(element.dataset.label);
  }
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
}
