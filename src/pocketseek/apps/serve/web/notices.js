// Short messages at the bottom, and words for screen readers only.
import { byId, make } from "/elements.js";

let timer = 0;

/** A message that goes away by itself; with an action it stays longer. */
export function notice(text, action = null) {
  const snack = byId("snack");
  clearTimeout(timer);
  const button = action && make("button", { type: "button", onclick: () => (hideNotice(), action.run()) }, action.label);
  snack.replaceChildren(make("span", {}, text), ...(button ? [button] : []));
  snack.hidden = false;
  timer = setTimeout(hideNotice, action ? 6000 : 3000);
}

export function hideNotice() {
  byId("snack").hidden = true;
}

export function announce(text) {
  byId("announcer").textContent = text;
}
