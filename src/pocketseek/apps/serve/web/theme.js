// Runs before the first paint: the chosen appearance and language, so that nothing flashes.
(() => {
  let chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem("pocketseek") || "{}");
  } catch {
    // A browser without storage, or with something else in it: the system's choice it is.
  }
  const root = document.documentElement;
  if (chosen.theme === "light" || chosen.theme === "dark") root.dataset.theme = chosen.theme;
  const language = ["en", "zh"].includes(chosen.language) ? chosen.language : navigator.language || "en";
  root.lang = language.toLowerCase().startsWith("zh") ? "zh" : "en";
})();
