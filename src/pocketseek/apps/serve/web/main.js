// Puts the page together: what the address says is shown, what is clicked is done.
import { call, onServer } from "/api.js";
import { draft, focusInput, setUpComposer, write } from "/composer.js";
import { ask, attach, currentId, detach, leave, open, removeEmpty, setUpConversation, showEmpty, showTitle, stay, stop, suggest, toBottom, showChanges } from "/conversation.js";
import { openSettings, setUpDialogs } from "/dialogs.js";
import { setUpDocuments } from "/documents.js";
import { closeDrawer, setUpDrawer, showCurrent, showList } from "/drawer.js";
import { byId, make } from "/elements.js";
import { runGauge } from "/gauge.js";
import { notice } from "/notices.js";
import { preferences, remember, showAppearance } from "/preferences.js";
import { say, sayAll } from "/words.js";

const PROBE_MS = 3000;
const NUM_SUGGESTIONS = 4;
let probe = 0;

const complain = (error) => error.name !== "AbortError" && error.status !== 401 && notice(error.message || say("offline"));

async function showAddress() {
  const id = location.hash.slice(1);
  if (id === currentId()) return stay();
  if (!id) {
    showEmpty();
  } else {
    try {
      const conversation = await open(id);
      if (!conversation) return;
      if ([...byId("model").options].some((option) => option.value === conversation.model)) byId("model").value = conversation.model;
    } catch (error) {
      if (error.status === 404) (notice(say("notFound")), newChat());
      else complain(error);
    }
  }
  showCurrent(currentId());
}

function newChat() {
  closeDrawer();
  history.pushState(null, "", "/");
  showEmpty();
  showCurrent("");
  focusInput();
}

async function send(text) {
  write("");
  try {
    await ask(text);
  } catch (error) {
    write(draft() || text);
    complain(error);
  }
}

function summarize({ id, title }, { inWords, ...summary }) {
  const text = [say("summarizeThis", { title }), inWords].filter(Boolean).join("\n");
  ask(text, null, { mode: "summary", documents: [id], summary }).catch(complain);
}

/** A chat whose only document was not given its password. */
async function removeUnwanted(id) {
  if (!(await removeEmpty(id))) return;
  if (id === currentId()) newChat();
  await showList();
}

function conversationChanged(what, id) {
  if (what === "made") {
    history.pushState(null, "", `#${id}`);
    showCurrent(id);
  }
  showList();
}

async function showModels() {
  const { data } = await call("GET", "/v1/models");
  const select = byId("model");
  select.replaceChildren(...data.map(({ id }) => make("option", { value: id }, id)));
  if (!data.length) select.append(make("option", { value: "" }, say("noModel")));
  if (data.some(({ id }) => id === preferences.model)) select.value = preferences.model;
  select.disabled = data.length < 2;
}

function showSuggestions() {
  const texts = Array.from({ length: NUM_SUGGESTIONS }, (_, index) => say(`suggestion${index + 1}`));
  byId("suggestions").replaceChildren(
    ...texts.map((text) => make("button", { type: "button", onclick: () => suggest(text) }, text)));
}

function setUpServerState() {
  onServer("online", () => {
    clearInterval(probe);
    probe = 0;
    if (!byId("offline").hidden) (byId("offline").hidden = true, refresh());
  });
  onServer("offline", () => {
    byId("offline").hidden = false;
    probe ||= setInterval(() => document.hidden || call("GET", "/health").catch(() => {}), PROBE_MS);
  });
  onServer("token", () => settings({ tokenNeeded: true }));
  byId("retry-server").addEventListener("click", () => call("GET", "/health").catch(() => {}));
}

async function settings(options) {
  const { token, language } = preferences;
  if (byId("settings").open) return;
  await openSettings(options);
  showSuggestions();
  if (language !== preferences.language && currentId()) await open(currentId()).catch(complain);
  if (token !== preferences.token) refresh();
}

/** Everything that the server knows. */
async function refresh() {
  try {
    await showModels();
    await showAddress();
    await showList();
    runGauge(false);
  } catch (error) {
    complain(error);
  }
}

/** A new version takes over when nothing is half done. */
function setUpOffline() {
  if (!navigator.serviceWorker) return; // not over plain HTTP from another device
  const hadOne = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.register("/sw.js").catch(() => {}); // a private window, perhaps: it works without
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (hadOne && !draft() && !byId("turns").querySelector(".grows, .editor")) location.reload();
  });
}

showAppearance();
sayAll();
showSuggestions();
setUpDialogs();
setUpServerState();
setUpComposer({ onSend: send, onStop: () => stop().catch(complain) });
setUpConversation(conversationChanged);
setUpDocuments({
  where: currentId,
  onAdded: attach,
  onRemoved: detach,
  onUnwanted: (id) => removeUnwanted(id).catch(complain),
  onSummarize: summarize,
});
setUpDrawer({
  onOpen: showAddress,
  onDeleted: (id) => id === currentId() && newChat(),
  onRenamed: (id, title) => id === currentId() && showTitle(title),
});
for (const id of ["new", "drawer-new"]) byId(id).addEventListener("click", newChat);
document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), byId("input").focus()));
byId("open-settings").addEventListener("click", () => settings());
byId("talk").addEventListener("click", () => import("/voice.js").then(({ toggleTalk }) => toggleTalk()).catch(complain));
byId("to-bottom").addEventListener("click", toBottom);
byId("model").addEventListener("change", (event) => remember({ model: event.target.value }));
addEventListener("hashchange", showAddress);
addEventListener("popstate", showAddress);
addEventListener("pagehide", leave);
for (const name of ["focus", "pageshow"]) addEventListener(name, () => showChanges().catch(() => {})); // offline, perhaps
document.addEventListener("visibilitychange", () => document.hidden || showChanges().catch(() => {}));
setUpOffline();
refresh().then(focusInput);
