// Where one writes: grows with the text, sends, and turns into the stop button while an answer is written.
import { byId, swapIcon } from "/elements.js";
import { say } from "/words.js";

const input = byId("input");
const send = byId("send");
const fingers = matchMedia("(pointer: coarse)");
let isRunning = false;

export function setUpComposer({ onSend, onStop }) {
  const act = () => {
    if (isRunning) return onStop();
    const text = input.value.trim();
    if (text) onSend(text);
  };
  byId("composer").addEventListener("submit", (event) => (event.preventDefault(), act()));
  input.addEventListener("input", refresh);
  input.addEventListener("keydown", (event) => {
    if (isSendKey(event)) {
      event.preventDefault();
      if (!isRunning) act();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isRunning && !document.querySelector("dialog[open]")) onStop();
  });
  refresh();
}

/** Enter on a keyboard, Ctrl+Enter everywhere; never the Enter that chooses a word of an input method. */
export function isSendKey(event) {
  if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return false;
  return event.ctrlKey || event.metaKey || (!event.shiftKey && !fingers.matches);
}

export function setRunning(runs) {
  isRunning = runs;
  refresh();
}

export function write(text) {
  input.value = text;
  refresh();
}

export const draft = () => input.value;

/** Only where no keyboard jumps up over the page. */
export function focusInput() {
  if (!fingers.matches) input.focus();
}

function refresh() {
  grow(input);
  send.disabled = !isRunning && !input.value.trim();
  const label = say(isRunning ? "stop" : "send");
  send.dataset.label = isRunning ? "stop" : "send";
  send.setAttribute("aria-label", label);
  send.title = label;
  send.classList.toggle("stops", isRunning);
  swapIcon(send, isRunning ? "stop" : "send");
}

/** As high as its text; the style sheet says how high at most. */
export function grow(area) {
  area.rows = Math.min(8, Math.max(1, area.value.split("\n").length));
  while (area.scrollHeight > area.clientHeight + 2 && area.rows < 8) area.rows += 1;
}
