// The list of conversations: by day, searched, renamed, exported, deleted (with a while to change one's mind).
import { call, download } from "/api.js";
import { askTitle, openSheet, sheetActions } from "/dialogs.js";
import { byId, iconButton, make } from "/elements.js";
import { notice } from "/notices.js";
import { preferences, remember } from "/preferences.js";
import { say } from "/words.js";

const PAGE_SIZE = 40;
const UNDO_MS = 6000;
const wide = matchMedia("(min-width: 900px)");
const drawer = byId("drawer");
const list = byId("list");
const doomed = new Map(); // id -> timer of its deletion

let current = "";
let handlers = {};
let asked = 0;

export function setUpDrawer({ onOpen, onDeleted, onRenamed }) {
  handlers = { onOpen, onDeleted, onRenamed };
  byId("open-drawer").addEventListener("click", () => (isOpen() ? closeDrawer() : openDrawer()));
  byId("close-drawer").addEventListener("click", closeDrawer);
  byId("scrim").addEventListener("click", closeDrawer);
  byId("search").addEventListener("input", () => showList());
  drawer.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !wide.matches) closeDrawer();
  });
  wide.addEventListener("change", settle);
  addEventListener("pagehide", () => doomed.forEach((timer, id) => (clearTimeout(timer), destroy(id, true))));
  preferences.doomed.forEach((id) => (doomed.set(id, 0), destroy(id))); // the page was left before they were gone
  settle();
}

const isOpen = () => document.body.classList.contains("drawer-open");

/** Beside the page where there is room, over it where there is not; closed, it is out of reach of the keyboard. */
function settle() {
  document.body.classList.remove("drawer-open");
  drawer.inert = !wide.matches;
  byId("stage").inert = false;
  byId("scrim").hidden = true;
}

function openDrawer() {
  document.body.classList.add("drawer-open");
  drawer.inert = false;
  byId("stage").inert = !wide.matches;
  byId("scrim").hidden = wide.matches;
  byId("open-drawer").setAttribute("aria-expanded", "true");
  byId("close-drawer").focus();
  showList();
}

export function closeDrawer() {
  if (wide.matches || !isOpen()) return;
  settle();
  byId("open-drawer").setAttribute("aria-expanded", "false");
  byId("open-drawer").focus();
}

export function showCurrent(id) {
  current = id;
  for (const link of list.querySelectorAll("a")) {
    if (link.dataset.id === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export async function showList(before = null) {
  const query = byId("search").value.trim();
  const turn = (asked += 1);
  const parameters = new URLSearchParams({ limit: PAGE_SIZE, ...(query && { query }), ...(before && { before }) });
  let found;
  try {
    found = await call("GET", `/api/conversations?${parameters}`);
  } catch {
    return; // the page says that the server is gone
  }
  if (turn !== asked) return; // typed on meanwhile
  if (!before) list.replaceChildren();
  else list.querySelector(".older")?.remove();
  found.conversations.filter(({ id }) => !doomed.has(id)).forEach(addRow);
  if (!list.children.length) list.append(make("p", { class: "nothing" }, say(query ? "nothingFound" : "nothingYet")));
  if (found.before) {
    list.append(make("button", { type: "button", class: "wide quiet older", onclick: () => showList(found.before) }, say("older")));
  }
}

function addRow(conversation) {
  const day = dayOf(conversation.updated_s);
  if (list.querySelector("ul:last-of-type")?.dataset.day !== day) {
    list.append(make("h2", {}, say(day)), make("ul", { "data-day": day }));
  }
  list.querySelector("ul:last-of-type").append(row(conversation));
}

function dayOf(seconds) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const days = Math.ceil((midnight - seconds * 1000) / 86_400_000);
  return days <= 0 ? "today" : days === 1 ? "yesterday" : days <= 7 ? "week" : "earlier";
}

function row({ id, title, excerpt }) {
  const link = make("a", { href: `#${id}`, "data-id": id, dir: "auto", "aria-current": id === current ? "page" : null,
    onclick: () => closeDrawer() }, make("span", { class: "name" }, title || say("newChat")));
  if (excerpt) link.append(make("small", {}, excerpt));
  const item = make("li", {}, link, iconButton("more", say("actions", { title }), () => openActions()));
  const openActions = () => openSheet(title, sheetActions({
    rename: () => rename(id, title),
    save: (format) => save(id, title, format),
    remove: () => remove(id, title, item),
  })).catch(complain);
  return item;
}

function complain(error) {
  notice(error.message || say("offline"));
}

async function rename(id, title) {
  const chosen = await askTitle(title);
  if (!chosen) return;
  await call("PATCH", `/api/conversations/${id}`, { title: chosen });
  handlers.onRenamed(id, chosen);
  showList();
}

async function save(id, title, format) {
  const file = await download(`/api/conversations/${id}/export?format=${format}`);
  const link = make("a", { href: URL.createObjectURL(file), download: `${title.replace(/[\\/:*?"<>|\s]+/g, " ").slice(0, 60).trim() || id}.${format}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** It is gone from the list at once, and from the disk when the time to undo is over or the page is left. */
function remove(id, title, item) {
  item.remove();
  doomed.set(id, setTimeout(() => destroy(id), UNDO_MS));
  rememberDoomed();
  handlers.onDeleted(id);
  notice(say("deleted", { title }), { label: say("undo"), run: () => (clearTimeout(doomed.get(id)), spare(id), showList()) });
}

function destroy(id, keepalive = false) {
  const failed = (error) => error.status && spare(id); // without an answer it is tried again when the page is opened
  call("DELETE", `/api/conversations/${id}`, undefined, { keepalive }).then(() => spare(id), failed);
}

function spare(id) {
  doomed.delete(id);
  rememberDoomed();
}

const rememberDoomed = () => remember({ doomed: [...doomed.keys()] });
