// The conversation that is seen: loading it, asking, following an answer through lost connections, stopping.
//
// The server goes on writing whoever looks; this page attaches to the running answer, and again after an interruption.
import { ApiError, call, stream } from "/api.js";
import { setRunning, write } from "/composer.js";
import { notReady, showDocuments } from "/documents.js";
import { byId } from "/elements.js";
import { runGauge } from "/gauge.js";
import { announce, notice } from "/notices.js";
import { preferences, samplingSettings } from "/preferences.js";
import { AnswerTurn, questionTurn } from "/turns.js";
import { say } from "/words.js";

const RETRY_MS = [300, 1000, 2000, 4000];
const NEAR_PX = 80;
const log = byId("log");
const turns = byId("turns");

let id = "";
let following = null; // AbortController of the answer that is followed
let onChange = () => {};

export const currentId = () => id;
export const setUpConversation = (listener) => (onChange = listener);
const path = (rest = "") => `/api/conversations/${id}${rest}`;

let asked = 0; // for a conversation: only the last one asked for is shown

export function leave() {
  following?.abort();
  following = null;
  setRunning(false);
  const leaving = onLeft;
  onLeft = null;
  leaving?.();
}

let onLeft = null; // of who talks here

/** null: nobody talks any more. While somebody does, nothing is loaded anew behind their back. */
export const whenLeft = (listener) => (onLeft = listener);

/** What is being opened is not wanted any more. */
export const stay = () => void (asked += 1);

/** Nothing said yet. */
export function showEmpty() {
  stay();
  leave();
  id = "";
  turns.replaceChildren();
  showDocuments([]);
  byId("welcome").hidden = false;
  showTitle("");
}

/** Raises ApiError; the page then shows what it showed. Null if another one was asked for meanwhile. */
export async function open(conversationId) {
  const number = ++asked;
  const conversation = await call("GET", `/api/conversations/${conversationId}`).catch((error) => {
    if (number === asked) throw error;
  });
  if (number !== asked) return null;
  leave();
  id = conversation.id;
  showTitle(conversation.title);
  showDocuments(conversation.documents);
  byId("welcome").hidden = conversation.turns.length > 0;
  turns.replaceChildren();
  const shown = conversation.running ? conversation.turns.slice(0, -1) : conversation.turns;
  shown.forEach((turn, index) => turns.append(turnElement(turn, index, index === conversation.turns.length - 1)));
  const last = shown.at(-1);
  if (conversation.running) follow("GET", path("/answer"));
  else if (last?.role === "user") newAnswer().fail("", () => regenerate());
  toBottom();
  return conversation;
}

/** Another tab or device may have gone on with it: seen when the person comes back to this one. */
export async function showChanges() {
  if (!id || following || onLeft || byId("turns").querySelector(".editor")) return;
  const kept = await call("GET", `/api/conversations/${id}`);
  if (kept.id !== id || following || onLeft) return;
  const isHalf = turns.querySelector(".answer.grows"); // nobody follows it: the page was left, and kept by the browser
  if (isHalf || kept.running || kept.turns.length !== turns.querySelectorAll(".question, .answer").length) await open(id);
}

function turnElement(turn, index, isLast) {
  if (turn.role === "user") return questionTurn(turn, (text) => ask(text, index));
  const answer = new AnswerTurn({ onRegenerate: isLast ? regenerate : null });
  answer.finish(turn);
  return answer.element;
}

/** The conversation `other`, or a new one if that is "", is about this file as well. The id of the new one. */
export async function attach(other, fileId, name) {
  if (other) return void (await changeDocuments(other, (ids) => [...ids, fileId]));
  const made = await make({ documents: [fileId], title: name });
  if (!id) { // else the person went elsewhere meanwhile; it is in the list
    begin(made);
    showTitle(name);
  }
  return made.id;
}

/** Whether it was removed: only if nothing is in it. */
export async function removeEmpty(other) {
  const { turns: said, documents } = await call("GET", `/api/conversations/${other}`);
  if (said.length || documents.length) return false;
  await call("DELETE", `/api/conversations/${other}`);
  return true;
}

export const detach = (other, fileId) => changeDocuments(other, (ids) => ids.filter((one) => one !== fileId));

async function changeDocuments(other, change) {
  const { documents } = await call("GET", `/api/conversations/${other}`);
  await call("PATCH", `/api/conversations/${other}`, { documents: change(documents) });
}

function make(fields) {
  const { model, system } = preferences;
  return call("POST", "/api/conversations", { model: model || byId("model").value, system, ...fields });
}

function begin(made) {
  id = made.id;
  onChange("made", id);
}

/** A new question, or another one in place of turn `index`. how: {mode, documents, summary} of a chat about documents. */
export async function ask(text, index = null, how = {}) {
  if (following) return notice(say("busy"));
  if (notReady()) throw new ApiError(409, say("stillReading"));
  if (!id) begin(await make({}));
  const position = index ?? turns.children.length;
  if (position === 0) showTitle(text.slice(0, 60)); // until the server says what it calls it
  while (turns.children.length > position) turns.lastElementChild.remove();
  byId("welcome").hidden = true;
  dropRegenerate();
  turns.append(questionTurn({ content: text }, (other) => ask(other, position)));
  await follow("POST", path("/turns"), { text, index, ...choices(how) });
}

/** What was said, and its answer, which grows as it is spoken. Both are kept later, by `keepSpoken`. */
export function spokenTurn(text) {
  const sticks = isAtBottom();
  byId("welcome").hidden = true;
  dropRegenerate();
  const position = turns.children.length;
  if (position === 0) showTitle(text.slice(0, 60));
  let isKept = false;
  const question = questionTurn({ content: text }, (other) => (isKept ? ask(other, position) : notice(say("busy"))));
  turns.append(question);
  const answer = newAnswer();
  answer.update({ phase: "waiting" });
  let words = "";
  const show = (all) => {
    const stuck = isAtBottom();
    words = all;
    answer.writePlain(words);
    keepAtBottom(stuck);
  };
  keepAtBottom(sticks);
  return {
    add: (piece) => show(words + piece),
    cut: show,
    drop: () => isKept || (question.remove(), answer.element.remove()),
    keep: (turn) => ((isKept = true), answer.finish(turn)),
  };
}

/** The server has a spoken turn now: {conversation, title, turns}. spoken: as `spokenTurn` made it. */
export function keepSpoken({ conversation, title, turns: [, answer] }, spoken) {
  if (!id) begin({ id: conversation });
  if (conversation !== id) return;
  const sticks = isAtBottom();
  spoken?.keep(answer);
  keepAtBottom(sticks);
  showTitle(title);
  onChange("answered", id);
}

/** What the server has of it, where this page may have missed something. */
export const openAgain = () => id && open(id).catch((error) => notice(error.message || say("offline")));

function choices(how) {
  const { mode = "passages", documents = [], summary = {} } = how ?? {};
  return { model: byId("model").value, settings: samplingSettings(), document_mode: mode, documents, summary };
}

/** how: as of `ask`; what an answer says of itself will do. */
export async function regenerate(how) {
  if (following) return notice(say("busy"));
  if (turns.lastElementChild?.classList.contains("answer")) turns.lastElementChild.remove();
  await follow("POST", path("/regenerate"), choices(how));
}

export async function stop() {
  if (following) await call("POST", path("/stop"), {});
}

function newAnswer() {
  const answer = new AnswerTurn({ onRegenerate: regenerate });
  turns.append(answer.element);
  return answer;
}

/** Only the newest answer can be asked for again. */
function dropRegenerate() {
  for (const use of turns.querySelectorAll('.answer use[href="#i-again"]')) use.closest("button").remove();
}

/** Begin or join an answer and show it until it ends, through interruptions. */
async function follow(method, address, body) {
  const controller = new AbortController();
  const mine = id;
  following = controller;
  setRunning(true);
  runGauge(true);
  const answer = newAnswer();
  answer.update({ phase: "waiting" });
  toBottom();
  try {
    await readAnswer(answer, method, address, body, controller.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    answer.fail(error.message || say("offline"), () => retry(mine, method, address, body));
    keepAtBottom(true);
  } finally {
    if (following === controller) {
      following = null;
      setRunning(false);
      runGauge(false);
      onChange("answered", mine);
    }
  }
}

/** What failed before the server had the question is asked again, what failed later is answered again. */
async function retry(mine, method, address, body) {
  if (mine !== id) return;
  const before = turns.children.length;
  try {
    const opened = await open(mine);
    if (!opened) return;
    const kept = opened.turns;
    const how = { mode: body?.document_mode, documents: body?.documents, summary: body?.summary };
    if (address.endsWith("/turns") && kept.at(-1)?.content !== body.text && kept.length < before) return ask(body.text, body.index, how);
    if (!following) return regenerate(how);
  } catch (error) {
    notice(error.message || say("offline"));
  }
}

async function readAnswer(answer, method, address, body, signal) {
  let failures = 0;
  for (;;) {
    try {
      for await (const update of stream(method, address, body, signal)) {
        failures = 0;
        [method, address, body] = ["GET", path("/answer"), undefined]; // it has begun; from now on it is joined
        if (showUpdate(answer, update)) return;
      }
      throw new ApiError(0, "");
    } catch (error) {
      if (error.status === 404 && method === "GET") return void (await open(id)); // it ended meanwhile and is kept
      if (error.status !== 0 || method !== "GET" || failures >= 60) throw error;
      answer.update({ phase: "reconnecting" });
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], signal);
      failures += 1;
    }
  }
}

/** Whether it was the last one. */
function showUpdate(answer, update) {
  const sticks = isAtBottom();
  if (update.error) throw new ApiError(update.error.status, update.error.message);
  if (update.turn) {
    answer.finish(update.turn);
    const stopped = update.turn.finish_reason === "cancelled";
    announce(stopped ? say("answerStopped") : `${say("answerEnded")} ${answer.text.textContent}`);
    showTitle(update.title);
  } else {
    answer.update(update);
  }
  keepAtBottom(sticks);
  return Boolean(update.turn);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const wake = () => (clearTimeout(timer), document.removeEventListener("visibilitychange", wake), resolve());
    const timer = setTimeout(wake, milliseconds);
    document.addEventListener("visibilitychange", wake); // the screen is on again: at once
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

export function showTitle(title) {
  byId("title").textContent = title || "pocketseek";
  document.title = title ? `${title} · pocketseek` : "pocketseek";
}

function isAtBottom() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
}

function keepAtBottom(sticks) {
  if (sticks) log.scrollTop = log.scrollHeight;
  byId("to-bottom").hidden = isAtBottom();
}

export function toBottom() {
  keepAtBottom(true);
}

log.addEventListener("scroll", () => (byId("to-bottom").hidden = isAtBottom()), { passive: true });

export function suggest(text) {
  write("");
  ask(text).catch((error) => notice(error.message || say("offline")));
}
