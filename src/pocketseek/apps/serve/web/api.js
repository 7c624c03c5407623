// Talking to the server: JSON calls, and the stream of an answer.
import { preferences } from "/preferences.js";

/** status 0: the server was not reached. */
export class ApiError extends Error {
  constructor(status, message, code = "") {
    super(message);
    this.status = status;
    this.code = code; // for programs
  }
}

const events = new EventTarget();
/** "online", "offline", "token": what the last call found out. */
export const onServer = (name, listener) => events.addEventListener(name, listener);
const tell = (name) => events.dispatchEvent(new Event(name));

async function request(method, path, { body, signal, keepalive = false } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (preferences.token) headers.Authorization = `Bearer ${preferences.token}`;
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, keepalive, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("offline");
    throw new ApiError(0, "");
  }
  tell("online");
  if (response.ok) return response;
  if (response.status === 401) tell("token");
  throw await complaint(response);
}

async function complaint(response) {
  try {
    const { message, code } = (await response.json()).error;
    return new ApiError(response.status, message, code);
  } catch {
    return new ApiError(response.status, `${response.status} ${response.statusText}`);
  }
}

export async function call(method, path, body, options = {}) {
  const response = await request(method, path, { ...options, body });
  return response.status === 204 ? null : response.json();
}

export async function download(path) {
  return (await request("GET", path)).blob();
}

/** Sends a file as a form; onShare(0 to 1) while it goes. fetch() cannot tell how far it is. how: {password, ocr}. */
export function upload(path, file, { how, onShare, signal }) {
  return new Promise((resolve, reject) => {
    const ask = new XMLHttpRequest();
    const form = new FormData();
    form.append("purpose", "user_data");
    for (const [name, value] of Object.entries(how)) form.append(name, value);
    form.append("file", file, file.name);
    ask.upload.addEventListener("progress", ({ loaded, total }) => onShare(total ? loaded / total : 0));
    ask.addEventListener("error", () => (tell("offline"), reject(new ApiError(0, ""))));
    ask.addEventListener("load", () => {
      tell("online");
      if (ask.status === 401) tell("token");
      if (ask.status === 200) return resolve(ask.response);
      const { message, code } = ask.response?.error ?? {};
      reject(new ApiError(ask.status, message || `${ask.status} ${ask.statusText}`, code));
    });
    signal.addEventListener("abort", () => (ask.abort(), reject(signal.reason)), { once: true });
    ask.open("POST", path);
    ask.responseType = "json";
    if (preferences.token) ask.setRequestHeader("Authorization", `Bearer ${preferences.token}`);
    ask.send(form);
  });
}

/** The objects that the server sends, one by one, until it ends the stream. */
export async function* stream(method, path, body, signal) {
  const response = await request(method, path, { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "");
  } finally {
    reader.cancel().catch(() => {});
  }
}
