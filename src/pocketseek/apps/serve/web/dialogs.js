// Settings, the sheet with what can be done to something, renaming, a document's password, and what a summary is to be like.
import { byId, icon, make } from "/elements.js";
import { showOrigin } from "/origin.js";
import { preferences, remember } from "/preferences.js";
import { say, sayAll } from "/words.js";

const FIELDS = {
  system: "set-system", temperature: "set-temperature", maxTokens: "set-max-tokens", seed: "set-seed",
  language: "set-language", theme: "set-theme", token: "set-token",
};
const NUMBERS = new Set(["temperature", "maxTokens", "seed"]);

/** Resolves with the value of the button that closed it; "" if it was left with Escape. */
function opened(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

export function setUpDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest(".closes")) dialog.close(""); // beside it
    });
  }
}

/** Changes count at once when the dialog is closed, however. */
export async function openSettings({ tokenNeeded = false } = {}) {
  const dialog = byId("settings");
  if (dialog.open) return;
  for (const [name, id] of Object.entries(FIELDS)) byId(id).value = preferences[name] ?? "";
  byId("token-note").hidden = !tokenNeeded;
  if (tokenNeeded) byId("origin").hidden = byId("update").hidden = true;
  else showOrigin(byId("origin"), byId("update"), byId("model").value);
  const closed = opened(dialog);
  if (tokenNeeded) byId("set-token").focus();
  await closed;
  const changes = Object.entries(FIELDS).map(([name, id]) => [name, valueOf(name, byId(id))]);
  remember(Object.fromEntries(changes));
  sayAll();
}

function valueOf(name, field) {
  if (!NUMBERS.has(name)) return name === "token" ? field.value.trim() : field.value;
  return field.value === "" || !field.checkValidity() ? null : Number(field.value);
}

/** actions: [{icon, label, run, danger}]; lines: what there is to say before. */
export async function openSheet(title, actions, lines = []) {
  byId("sheet-title").textContent = title;
  byId("sheet-lines").replaceChildren(...lines.map((line) => make("li", {}, line)));
  const buttons = actions.map((action, index) =>
    make("button", { type: "submit", value: index, class: action.danger ? "wide danger" : "wide" },
      icon(action.icon), action.label));
  byId("sheet-actions").replaceChildren(...buttons);
  byId("sheet-leave").textContent = say(actions.length ? "cancel" : "close"); // what is only told is not cancelled
  byId("sheet").setAttribute("aria-label", title);
  const chosen = await opened(byId("sheet"));
  if (chosen !== "") await actions[Number(chosen)].run();
}

/** The new title, or "" if there is none. */
export async function askTitle(title) {
  const input = byId("rename-input");
  input.value = title;
  const closed = opened(byId("rename"));
  input.select();
  const how = await closed;
  return how === "save" ? input.value.trim() : "";
}

/** The password of a document, or "" if there is none. It goes from here to the server, once. */
export async function askPassword(title, wasWrong) {
  const input = byId("password-input");
  byId("password-name").textContent = title;
  byId("password-wrong").hidden = !wasWrong;
  const closed = opened(byId("password"));
  const how = await closed;
  const word = input.value;
  input.value = "";
  return how === "open" ? word : "";
}

/** {focus, length, language} of a summary, in words too; null if none is wanted. */
export async function askSummary(title) {
  byId("summary-name").textContent = title;
  if ((await opened(byId("summarize"))) !== "go") return null;
  const [focus, length, language] = ["focus", "length", "language"].map((name) => byId(`summary-${name}`));
  const chosen = (select) => (select.value === select.options[0].value ? "" : select.selectedOptions[0].textContent);
  const wish = { focus: focus.value.trim(), length: length.value, language: language.value || null };
  const inWords = [wish.focus, chosen(length), chosen(language)].filter(Boolean).join(" · ");
  focus.value = "";
  return { ...wish, inWords };
}

export const sheetActions = (handlers) => [
  { icon: "edit", label: say("rename"), run: handlers.rename },
  { icon: "save", label: say("exportMarkdown"), run: () => handlers.save("md") },
  { icon: "save", label: say("exportJson"), run: () => handlers.save("json") },
  { icon: "delete", label: say("delete"), run: handlers.remove, danger: true },
];
