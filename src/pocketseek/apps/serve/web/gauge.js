// Tokens per second and memory, asked for once a second while an answer is written and the page is seen.
import { call } from "/api.js";
import { byId, make } from "/elements.js";
import { say } from "/words.js";

const PERIOD_MS = 1000;
let timer = 0;

export function runGauge(runs) {
  clearInterval(timer);
  if (runs) timer = setInterval(ask, PERIOD_MS);
  ask();
}

async function ask() {
  if (document.hidden) return;
  try {
    show(await call("GET", "/api/status"));
  } catch {
    byId("gauge").replaceChildren(); // whoever needs the server says that it is gone
  }
}

function show({ tokens_per_s: speed, memory_bytes: memory }) {
  const parts = [];
  if (speed > 0) parts.push(say("speed", { speed: speed < 10 ? speed.toFixed(1) : Math.round(speed) }));
  if (memory > 0) parts.push(size(memory));
  byId("gauge").replaceChildren(...parts.map((part) => make("span", {}, part)));
}

function size(bytes) {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
