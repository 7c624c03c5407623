// An update of the chosen model: looked for when the person asks, its size told before anything is fetched.
import { call } from "/api.js";
import { make } from "/elements.js";
import { announce } from "/notices.js";
import { say } from "/words.js";

const LOOK_MS = 700;
const RUNNING = "running";
let seen = null; // the view that may write: another model, or the settings opened anew, make another one

const wait = () => new Promise((wake) => setTimeout(wake, LOOK_MS));

export function size(bytes) {
  const [unit, scale] = bytes >= 1e9 ? ["gigabyte", 1e9] : bytes >= 1e6 ? ["megabyte", 1e6] : ["kilobyte", 1e3];
  const format = { style: "unit", unit, maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(document.documentElement.lang, format).format(bytes / scale);
}

/** Fills `place` for a model that was pulled from `origin`; onUpdated() when it has another version. */
export async function showUpdate(place, model, origin, onUpdated) {
  const view = new UpdateView(place, model, origin, onUpdated);
  const run = await view.ask("GET");
  if (run?.state === RUNNING) await view.follow(run);
  else if (run) view.offerLook();
}

class UpdateView {
  constructor(place, model, origin, onUpdated) {
    Object.assign(this, { place, model, origin, onUpdated });
    this.path = `/api/models/${encodeURIComponent(model)}/update`;
    seen = this;
  }

  get isSeen() {
    return seen === this;
  }

  show(...children) {
    if (!this.isSeen) return;
    this.place.replaceChildren(...children);
    this.place.hidden = false;
  }

  button(label, run) {
    return make("button", { type: "button", class: "chip", onclick: (event) => ((event.target.disabled = true), run()) }, say(label));
  }

  line(text, kind = "") {
    return make("p", { class: kind, role: kind ? "alert" : false }, text);
  }

  /** The server's word, or null after its complaint was shown. */
  async ask(method, rest = "", body = undefined) {
    try {
      return await call(method, this.path + rest, body);
    } catch (error) {
      this.offerLook(error.message || say("offline"), "warning");
      return null;
    }
  }

  offerLook(text = say("updateFrom", { origin: this.origin }), kind = "") {
    this.show(this.line(text, kind), this.button("lookForUpdate", () => this.look()));
  }

  async look() {
    this.show(this.line(say("looking")));
    const found = await this.ask("POST", "/check", {});
    if (!found) return;
    if (found.up_to_date) return this.offerLook(say("upToDate")), announce(say("upToDate"));
    if (!found.fetch_bytes) return this.offerInstall(say("nothingToFetch"), found.new);
    const sizes = { size: size(found.fetch_bytes), whole: size(found.whole_bytes), disk: size(found.disk_bytes) };
    const text = say(found.version ? "updateNumbered" : "updateThere", { ...sizes, version: found.version });
    this.offerInstall(text, found.new, found.metered === "yes");
  }

  offerInstall(text, id, isMetered = false) {
    const metered = isMetered ? [this.line(say("metered"), "warning")] : [];
    this.show(this.line(text), ...metered,
      this.button(isMetered ? "installAnyway" : "install", () => this.install(id, isMetered)));
    announce(text);
  }

  async install(id, allowMetered) {
    const run = await this.ask("POST", "", { new: id, allow_metered: allowMetered });
    if (run) await this.follow(run);
  }

  async follow(run) {
    const bar = make("progress", { max: 1, value: 0, "aria-label": say("progress") });
    const text = this.line(say("updating"));
    this.show(text, bar, this.button("stop", () => call("DELETE", this.path).catch(() => {})));
    while (run.state === RUNNING) {
      if (run.total_bytes) {
        bar.value = run.done_bytes / run.total_bytes;
        text.textContent = run.done_bytes < run.total_bytes
          ? say("updatingPart", { done: size(run.done_bytes), total: size(run.total_bytes) }) : say("puttingTogether");
      }
      await wait();
      if (!this.isSeen) return;
      run = await call("GET", this.path).catch((error) => (error.status === 0 ? run : { state: "failed", message: error.message }));
    }
    this.finish(run);
  }

  finish({ state, message }) {
    if (state === "done") {
      this.offerLook(say("updated"));
      announce(say("updated"));
      this.onUpdated();
    } else if (state === "stopped") this.offerLook(say("updateStopped"));
    else this.offerLook(message || say("failed"), "warning");
  }
}
