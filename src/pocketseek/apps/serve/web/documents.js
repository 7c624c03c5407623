// The documents that a chat is about: sending them, a card for each, passwords, summaries.
import { call, upload } from "/api.js";
import { askPassword, askSummary, openSheet } from "/dialogs.js";
import { byId, icon, iconButton, make } from "/elements.js";
import { announce, notice } from "/notices.js";
import { inShort, isMissing, openRemarks } from "/remarks.js";
import { say } from "/words.js";

const LOOK_MS = 700;
const place = byId("documents");
let cards = []; // of the conversation that is seen
let handlers = {};
let asking = Promise.resolve(); // what is being asked about documents

/** where(): the conversation that is seen, or "". onAdded(where, id, name), onRemoved(where, id): it is about it, or not;
 *  the first gives the id of the chat that it made. onUnwanted(id): that chat has lost what it was made for.
 *  onSummarize(card, wish): as `askSummary` gives it. */
export function setUpDocuments(given) {
  handlers = given;
  const input = byId("file");
  byId("attach").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    addAll(files);
  });
  const stage = byId("stage");
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  stage.addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  stage.addEventListener("drop", (event) => isFile(event) && (event.preventDefault(), addAll([...event.dataTransfer.files])));
}

/** Of another conversation; what is still being sent goes on, and is there when its own is opened. */
export function showDocuments(ids) {
  const same = ids.length === cards.length && cards.every((card, index) => card.id === ids[index]);
  if (same) return;
  cards = ids.map((id) => new Card({ id }));
  refresh();
  for (const card of cards) card.look();
}

/** Whether a question would come too early. */
export const notReady = () => cards.some((card) => card.state === "uploading" || card.state === "reading");

function refresh() {
  place.replaceChildren(...cards.map((card) => card.element));
  place.hidden = !cards.length;
  byId("suggestions").hidden = cards.length > 0; // they are about other things
}

/** One after the other: the first makes the chat that the others belong to. */
async function addAll(files) {
  for (const file of files) await add(file);
}

async function add(file) {
  const where = handlers.where();
  const card = new Card({ name: file.name });
  cards.push(card);
  refresh();
  try {
    const sent = await send(card, file);
    if (!sent) return drop(card);
    card.id = sent.id;
    card.show(sent);
    const made = await handlers.onAdded(where, card.id, file.name);
    announce(card.title);
    card.look().then(() => card.askAtOnce(where, made));
  } catch (error) {
    if (card.id) call("DELETE", `/v1/files/${card.id}`).catch(() => {}); // no chat is about it
    drop(card);
    if (error.name !== "AbortError" && error.status !== 401) notice(error.message || say("offline"));
  }
}

/** Asks for what the document needs to be read: its password, or leave to read pictures. Null if that is not given. */
async function send(card, file) {
  for (const how = {}; ; ) {
    try {
      return await upload("/v1/files", file, { how, onShare: (share) => card.sending(share), signal: card.leaving.signal });
    } catch (error) {
      const more = await whatIsMissing(file.name, error.code, how);
      if (more === undefined) throw error;
      if (!more) return null;
      Object.assign(how, more);
    }
  }
}

/** How it could be read after it failed with this code: null: the person does not want to; undefined: in no way. */
async function whatIsMissing(name, code, { ocr } = {}) {
  if (code === "only_pictures" && !ocr) return inTurn(() => askOcr(name));
  if (code !== "password_needed" && code !== "password_wrong") return undefined;
  const password = await inTurn(() => askPassword(name, code === "password_wrong"));
  return password ? { password } : null;
}

/** Several documents may ask at the same time. */
function inTurn(ask) {
  asking = asking.then(ask, ask);
  return asking;
}

async function askOcr(name) {
  let answer = null;
  await openSheet(name, [{ icon: "search", label: say("readPictures"), run: () => (answer = { ocr: true }) }], [say("onlyPictures")]);
  return answer;
}

/** What the button of a card says that cannot be read as it is; the rest is hopeless. */
const WAYS = { password_needed: "enterPassword", password_wrong: "enterPassword", only_pictures: "readPictures" };
const NEEDS = { password_needed: "passwordNeeded", password_wrong: "passwordNeeded", only_pictures: "onlyPictures" };

function drop(card) {
  cards = cards.filter((other) => other !== card);
  refresh();
}

class Card {
  constructor({ id = "", name = "" }) {
    this.id = id;
    this.title = name;
    this.state = id ? "reading" : "uploading";
    this.leaving = new AbortController();
    this.name = make("b", {}, name);
    this.facts = make("small", {}, id ? say("queued") : "");
    this.bar = make("progress", { max: 1, value: 0, "aria-label": say("progress"), hidden: Boolean(id) });
    this.file = null; // as the server describes it
    this.act = make("button", { type: "button", class: "chip", hidden: true, onclick: () => (this.state === "error" ? this.unlock() : this.summarize()) });
    this.remarks = make("button", { type: "button", class: "remarks", hidden: true, onclick: () => this.showRemarks() });
    this.element = make("div", { class: "card" }, icon("document"),
      make("div", { class: "about" }, this.name, make("div", { class: "row" }, this.facts, this.act), this.remarks, this.bar),
      iconButton("close", say("removeDocument"), () => this.remove()));
  }

  sending(share) {
    this.bar.value = share;
    this.facts.textContent = share < 1 ? say("uploading", { percent: Math.round(share * 100) }) : say("queued");
  }

  /** file: as the server describes it. */
  show(file) {
    this.file = file;
    const { document: read, reading, status, tokens } = file;
    const way = status === "error" ? WAYS[file.status_code] : "summarize";
    this.state = { uploaded: "reading", processed: "ready", error: "error" }[status];
    this.title = read?.title || file.filename;
    this.name.textContent = this.title;
    this.element.classList.toggle("wrong", status === "error");
    this.bar.hidden = status !== "uploaded" || !reading?.total;
    if (reading?.total) this.bar.value = reading.done / reading.total;
    this.act.hidden = status === "uploaded" || !way;
    if (way) this.act.textContent = say(way);
    this.showRemarkLine(status === "processed" ? read?.remarks ?? [] : [], status === "processed" ? file.status_details : "");
    if (status === "error") this.facts.textContent = way ? say(NEEDS[file.status_code]) : file.status_details;
    else if (status === "uploaded") this.facts.textContent = reading?.total ? say("readingPart", reading) : say("queued");
    else this.facts.textContent = [pagesOf(read), tokensOf(tokens)].filter(Boolean).join(" · ");
  }

  /** problem: why it could not be read once more. */
  showRemarkLine(remarks, problem) {
    this.remarks.textContent = problem || inShort(remarks);
    this.remarks.hidden = !this.remarks.textContent;
    this.remarks.classList.toggle("missing", Boolean(problem) || isMissing(remarks));
    this.remarks.title = say("unread");
  }

  showRemarks() {
    openRemarks(this.title, this.file.document?.remarks ?? [], (how) => this.readAgain(how)).catch((error) => notice(error.message || say("offline")));
  }

  async readAgain(how) {
    this.show(await call("POST", `/v1/files/${this.id}/read`, how));
    this.look();
  }

  /** Of a document that was just added, if it came out late that it lacks something. made: the chat that it began. */
  async askAtOnce(where, made) {
    if (this.state !== "error" || !WAYS[this.file.status_code] || (await this.unlock())) return;
    await this.destroy(where || made);
    if (made) handlers.onUnwanted(made);
  }

  /** With what it lacks, as long as that is given. Whether it could be read then, or goes on to be. */
  async unlock() {
    for (let code = this.file.status_code.replace("wrong", "needed"); ; ) {
      const how = await whatIsMissing(this.title, code);
      if (!how) return false;
      try {
        await this.readAgain(how);
        return true;
      } catch (error) {
        if (!WAYS[error.code]) return notice(error.message || say("offline")), false;
        code = error.code;
      }
    }
  }

  async summarize() {
    const wish = await askSummary(this.title);
    if (wish) handlers.onSummarize(this, wish);
  }

  /** Until it is read. */
  async look() {
    while (cards.includes(this)) {
      try {
        this.show(await call("GET", `/api/documents/${this.id}?model=${encodeURIComponent(byId("model").value)}`));
      } catch (error) {
        if (error.status === 404) return drop(this); // deleted elsewhere
        if (error.status !== 0) return notice(error.message);
      }
      if (this.state !== "reading") return;
      await new Promise((wake) => setTimeout(wake, LOOK_MS));
    }
  }

  async remove() {
    if (this.state === "uploading" && !this.id) return this.leaving.abort(new DOMException("", "AbortError"));
    await openSheet(this.title, [{ icon: "delete", label: say("removeDocument"), danger: true, run: () => this.destroy() }]);
  }

  async destroy(where = handlers.where()) {
    drop(this);
    try {
      await call("DELETE", `/v1/files/${this.id}`).catch((error) => {
        if (error.status !== 404) throw error;
      });
      if (where) await handlers.onRemoved(where, this.id);
    } catch (error) {
      notice(error.message || say("offline"));
    }
  }
}

const pagesOf = (read) => (read?.pages ? say("pages", { count: read.pages }) : "");

function tokensOf(tokens) {
  if (tokens === null || tokens === undefined) return ""; // the server has not counted them yet
  const short = new Intl.NumberFormat(document.documentElement.lang, { notation: "compact" });
  return say("tokens", { count: short.format(tokens) });
}
