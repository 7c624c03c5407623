// One turn of a conversation on the page. HTML of answers comes from the server, which makes it from lists of what is
// allowed (markdown.py); everything else goes in as text.
import { copyText, icon, iconButton, make } from "/elements.js";
import { grow, isSendKey } from "/composer.js";
import { announce, notice } from "/notices.js";
import { linkMarks, sourceList } from "/sources.js";
import { say } from "/words.js";

/** Replace the blocks from `from` on; those before it are not touched, so that a selection in them stays. */
export function showBlocks(place, { from, html }) {
  html.forEach((text, index) => {
    const old = place.children[from + index];
    const block = old || place.appendChild(make("div", { class: "block" }));
    block.innerHTML = text;
    block.source = text;
    for (const figure of block.querySelectorAll("figure.code")) addCopyButton(figure);
  });
  while (place.children.length > from + html.length) place.lastElementChild.remove();
}

function addCopyButton(figure) {
  const button = iconButton("copy", say("copy"), () => copy(figure.querySelector("code").textContent, button));
  figure.querySelector("figcaption").append(button);
}

async function copy(text, button) {
  try {
    await copyText(text);
  } catch {
    return notice(say("failed"));
  }
  button.querySelector("use").setAttribute("href", "#i-done");
  announce(say("copied"));
  setTimeout(() => button.querySelector("use").setAttribute("href", "#i-copy"), 1500);
}

/** What the person said, and a way to say it differently. onEdit(text) */
export function questionTurn(turn, onEdit) {
  const text = make("div", { class: "bubble", dir: "auto" }, turn.content);
  const tools = make("div", { class: "turn-tools" },
    iconButton("edit", say("edit"), () => edit()),
    iconButton("copy", say("copy"), (event) => copy(turn.content, event.currentTarget)));
  const article = make("article", { class: "turn question" }, make("h2", { class: "unseen" }, say("you")), text, tools);
  const edit = () => article.replaceChildren(editor(turn.content, onEdit, () => {
    const again = questionTurn(turn, onEdit);
    article.replaceWith(again);
    again.querySelector("button").focus(); // the one that began it
  }));
  return article;
}

function editor(text, onEdit, onCancel) {
  const area = make("textarea", { rows: 1, "aria-label": say("edit") });
  area.value = text;
  const done = () => area.value.trim() && onEdit(area.value.trim());
  area.addEventListener("input", () => grow(area));
  area.addEventListener("keydown", (event) => {
    if (isSendKey(event)) (event.preventDefault(), done());
    if (event.key === "Escape") (event.stopPropagation(), onCancel());
  });
  requestAnimationFrame(() => (grow(area), area.focus()));
  return make("form", { class: "editor", onsubmit: (event) => (event.preventDefault(), done()) }, area,
    make("small", {}, say("editHint")),
    make("div", { class: "buttons" },
      make("button", { type: "button", class: "quiet", onclick: onCancel }, say("cancel")),
      make("button", { type: "submit", class: "main" }, say("sendEdited"))));
}

/** An answer: finished, or growing by `update`. */
export class AnswerTurn {
  constructor({ onRegenerate = null } = {}) {
    this.onRegenerate = onRegenerate; // (how): with the sources of the answer, or another {mode}
    this.summary = make("span", {}, say("thinking"));
    this.reasoning = make("div", { class: "text" });
    this.details = make("details", { class: "reasoning", hidden: true },
      make("summary", {}, icon("chevron"), this.summary), this.reasoning);
    this.text = make("div", { class: "text", dir: "auto" });
    this.sources = make("div", { class: "sources" });
    this.status = make("p", { class: "status" });
    this.bar = make("progress", { max: 1, hidden: true, "aria-label": say("progress") });
    this.tools = make("div", { class: "turn-tools" });
    this.element = make("article", { class: "turn answer" }, make("h2", { class: "unseen" }, say("assistant")),
      this.details, this.text, this.sources, this.status, this.bar, this.tools);
  }

  /** While it is written: {phase, progress, reasoning, answer}. */
  update({ phase, progress = null, reasoning, answer }) {
    this.element.classList.add("grows");
    if (reasoning) showBlocks(this.reasoning, reasoning);
    if (answer) showBlocks(this.text, answer);
    this.details.hidden = !this.reasoning.children.length;
    const thinks = !this.text.children.length && !this.details.hidden;
    this.summary.textContent = say(thinks ? "thinking" : "thought");
    this.details.classList.toggle("active", thinks);
    this.status.textContent = phase === "writing" ? "" : [say(phase, progress ?? {}), timeLeft(progress)].filter(Boolean).join(", ");
    this.bar.hidden = !progress;
    if (progress) this.bar.value = progress.share;
  }

  /** While it is spoken: its text as it is, all of it so far. */
  writePlain(text) {
    this.element.classList.add("grows");
    this.status.textContent = "";
    this.text.replaceChildren(...text.split(/\n{2,}/).filter((part) => part.trim()).map((part) => make("div", { class: "block" }, make("p", {}, part))));
  }

  /** All of it: {content, html, reasoning_html, finish_reason, model, num_tokens, sources}. */
  finish(turn) {
    this.element.classList.remove("grows");
    showChanged(this.reasoning, turn.reasoning_html);
    showChanged(this.text, turn.html);
    this.details.hidden = !turn.reasoning_html.length;
    this.details.classList.remove("active");
    this.summary.textContent = say("thought");
    this.end();
    this.showSources(turn.sources);
    const copyButton = iconButton("copy", say("copy"), () => copy(turn.content, copyButton));
    this.tools.replaceChildren(copyButton);
    if (this.onRegenerate) this.tools.append(iconButton("again", say("regenerate"), () => this.onRegenerate(turn.sources)));
    this.tools.append(make("span", { class: "facts" }, facts(turn)));
  }

  end() {
    this.status.textContent = "";
    this.bar.hidden = true;
  }

  /** What it was made from: citations that can be opened, or that nothing was found. */
  showSources(sources) {
    const citations = sources?.citations ?? [];
    linkMarks(this.text, citations);
    this.sources.replaceChildren(...(citations.length ? [sourceList(citations)] : []));
    if (sources?.not_in_document && sources.mode === "passages" && this.onRegenerate) {
      const whole = () => this.onRegenerate({ mode: "whole", documents: sources.documents });
      this.sources.append(make("button", { type: "button", class: "chip", onclick: whole }, say("readWhole")));
    }
  }

  /** A kind word and a way out. */
  fail(message, onRetry) {
    this.element.classList.remove("grows");
    this.end();
    this.tools.replaceChildren();
    this.element.append(make("div", { class: "failure", role: "alert" },
      make("strong", {}, say("failed")), make("span", {}, message),
      make("button", { type: "button", onclick: onRetry }, icon("again"), say("retry"))));
  }
}

function showChanged(place, html) {
  const same = html.findIndex((text, index) => place.children[index]?.source !== text);
  const from = same < 0 ? html.length : same;
  showBlocks(place, { from, html: html.slice(from) });
}

/** "about 3 min left" */
function timeLeft(progress) {
  const seconds = progress?.seconds_left;
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? say("secondsLeft", { count: Math.max(1, seconds) }) : say("minutesLeft", { count: Math.round(seconds / 60) });
}

function facts({ model, num_tokens: count, finish_reason: reason, sources }) {
  const ended = { cancelled: say("stopped"), length: say("cut"), deadline: say("cut") }[reason];
  const { chunks, chunks_covered: covered } = sources?.coverage ?? {};
  const read = chunks ? say(covered === chunks ? "allRead" : "partRead", { chunks, covered }) : "";
  return [model, count ? say("tokens", { count }) : "", read, ended].filter(Boolean).join(" · ");
}
