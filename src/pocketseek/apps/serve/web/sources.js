// Where an answer comes from: marks like [1] that can be clicked, a list of sources, and the place in the document.
import { call } from "/api.js";
import { byId, make } from "/elements.js";
import { say } from "/words.js";

const MARK = /[[【［]\s*(\d{1,3}(?:\s*[,，、]\s*\d{1,3})*)\s*[\]】］]/g;
const NOT_INSIDE = "code, a, button, math";

/** [1] in the text becomes a button for what it stands for; marks that stand for nothing stay text. Where one number has
 *  several quotes, each mark takes the next of them. */
export function linkMarks(place, citations) {
  const known = new Map(citations.map(({ number }) => [number, citations.filter((one) => one.number === number)]));
  if (!known.size) return;
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(NOT_INSIDE)) texts.push(walker.currentNode);
  for (const node of texts) linkIn(node, known);
}

function linkIn(node, known) {
  const parts = [];
  let end = 0;
  for (const found of node.data.matchAll(MARK)) {
    const numbers = found[1].match(/\d+/g).map(Number).filter((number) => known.has(number));
    if (!numbers.length) continue;
    parts.push(node.data.slice(end, found.index), ...numbers.map((number) => markButton(next(known.get(number)))));
    end = found.index + found[0].length;
  }
  if (end) node.replaceWith(...parts, node.data.slice(end));
}

const next = (left) => (left.length > 1 ? left.shift() : left[0]);

function markButton(citation) {
  const label = say("source", { number: citation.number, title: nameOf(citation) });
  return make("button", { type: "button", class: "mark", "aria-label": label, title: label, onclick: () => openSource(citation) },
    String(citation.number));
}

export function sourceList(citations) {
  const list = make("ul", { "aria-label": say("sources") }, ...citations.map((citation) =>
    make("li", {}, make("button", { type: "button", class: "chip", onclick: () => openSource(citation) },
      make("b", {}, String(citation.number)), make("span", {}, nameOf(citation))))));
  const isGuess = !citations[0].marked; // the model named no passage
  return make("div", {}, ...(isGuess ? [make("small", {}, say("closest"))] : []), list);
}

/** "Annual report · page 3" */
function nameOf({ document: title, page, chapter }) {
  return [title, placeOf({ page, chapter })].filter(Boolean).join(" · ");
}

function placeOf({ page, chapter }) {
  if (page !== null) return say("page", { page });
  return chapter === null ? "" : say("chapter", { chapter });
}

/** The quote with its page and what stands around it; the quote alone if the document is gone. */
async function openSource(citation) {
  const { file_id: file, start, stop } = citation;
  const shown = await call("GET", `/api/documents/${file}/passage?start=${start}&stop=${stop}`).catch(() => null);
  byId("source-title").textContent = citation.document;
  const place = [placeOf(citation), ...citation.heading].filter(Boolean).join(" › ");
  byId("source-place").textContent = shown ? place : [place, say("sourceGone")].filter(Boolean).join(" · ");
  const mark = make("mark", {}, shown?.quote ?? citation.quote);
  byId("source-text").replaceChildren(shown?.before ?? "", mark, shown?.after ?? "");
  byId("source").showModal();
  mark.scrollIntoView({ block: "center" });
}
