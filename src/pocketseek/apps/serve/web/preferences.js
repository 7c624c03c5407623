// What the person chose, kept in this browser. Nothing of it leaves it but with a request that needs it.
const KEY = "pocketseek";
const DEFAULTS = {
  doomed: [], system: "", temperature: null, maxTokens: null, seed: null, language: "auto", theme: "auto", token: "", model: "",
  spoken: "page", pushToTalk: false,
};

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) || "{}");
  } catch {
    return {}; // no storage, or not ours
  }
}

export const preferences = { ...DEFAULTS, ...stored() };

export function remember(changes) {
  Object.assign(preferences, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Kept until the page is closed, then.
  }
  showAppearance();
}

export function showAppearance() {
  const root = document.documentElement;
  if (preferences.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = preferences.theme;
  const language = preferences.language === "auto" ? navigator.language || "en" : preferences.language;
  root.lang = language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** As the server wants it: what is left open is left out. */
export function samplingSettings() {
  const { temperature, maxTokens, seed } = preferences;
  const settings = { temperature, max_tokens: maxTokens, seed };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));
}
