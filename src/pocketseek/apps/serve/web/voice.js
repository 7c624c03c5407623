// Talking to the model: a panel in place of the composer, a WebSocket, and turns that land in the conversation.
//
// Loaded when somebody wants to talk. The server decides when somebody speaks and when they are done; this page shows
// what it says, plays what it sends, and tells it what was heard. See docs/serve.md for what travels.
import { call } from "/api.js";
import { currentId, keepSpoken, openAgain, spokenTurn, whenLeft } from "/conversation.js";
import { byId, icon, make, swapIcon } from "/elements.js";
import { announce, notice } from "/notices.js";
import { preferences, remember, samplingSettings } from "/preferences.js";
import { Loudspeaker, Microphone, complaintOf, obstacle } from "/voice-sound.js";
import { say } from "/words.js";

const HERE_MS = 15_000;
const STATES = {
  connecting: "voiceConnecting", loading: "voiceLoading", listening: "voiceListening", hearing: "voiceHearing",
  thinking: "thinking", speaking: "voiceSpeaking", muted: "voiceMuted", holding: "voiceHold",
};

const CLOSED = { 1000: "voiceEnded", 1008: "voiceRefused", 1011: "voiceFailed", 1012: "voiceServerEnds", 1013: "voiceTooMany" };

let talk = null;

/** Begins, or ends what runs. */
export async function toggleTalk() {
  if (talk) return talk.end();
  const problem = obstacle();
  if (problem) return notice(say(problem), { label: say("close"), run: () => {} });
  await styled();
  if (talk) return; // pressed twice
  talk = new Talk(() => (talk = null));
  await talk.begin();
}

/** The page's, until another one is chosen. */
const spokenLanguage = () => (preferences.spoken === "page" ? document.documentElement.lang : preferences.spoken);

let style = null;

/** The panel has a style sheet of its own, which is loaded with it. */
function styled() {
  style ??= new Promise((resolve) => document.head.append(
    make("link", { rel: "stylesheet", href: "/voice.css", onload: resolve, onerror: resolve })));
  return style;
}

export const endTalk = () => talk?.end();

class Talk {
  constructor(onEnd) {
    this.onEnd = onEnd;
    this.pushes = preferences.pushToTalk;
    this.isMuted = false;
    this.isPressed = false;
    this.ended = 0; // the last turn all of whose sound is here
    this.turns = new Map(); // by number: those that the server has not kept yet
    this.panel = new Panel({
      onMain: (isDown) => this.main(isDown),
      onEnd: () => this.end(),
      onMode: () => this.again({ pushToTalk: !this.pushes }),
      onLanguage: (spoken) => this.again({ spoken }),
      pushes: this.pushes,
    });
    this.show("connecting");
  }

  async begin() {
    try {
      this.speaker = new Loudspeaker((turn, seconds) => this.send({ type: "played", turn, seconds }), () => this.quiet());
      this.microphone = await Microphone.open((samples, level) => this.heard(samples, level), () => this.lost());
      if (!this.onEnd) return this.microphone.close(); // ended meanwhile
      this.keepAwake();
      await this.connect();
    } catch (error) {
      this.fail(complaintOf(error) ? say(complaintOf(error)) : error.message || say("offline"), error.status === 401);
    }
  }

  /** As long as this is open. */
  async keepAwake() {
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (this.onEnd) this.wakeLock = lock;
    else lock?.release().catch(() => {});
  }

  async connect() {
    const { ticket, protocol } = await call("POST", "/api/voice", {
      conversation: currentId(), model: preferences.model || byId("model").value, system: preferences.system,
      language: spokenLanguage() === "auto" ? null : spokenLanguage(), push_to_talk: this.pushes, settings: samplingSettings(),
    });
    if (!this.onEnd) return;
    this.socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/voice", [protocol, ticket]);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.take(data));
    this.socket.addEventListener("close", ({ code, reason }) => this.closed(code, reason));
    this.timer = setInterval(() => this.send({ type: "here" }), HERE_MS);
    whenLeft(() => this.goElsewhere());
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(message instanceof ArrayBuffer ? message : JSON.stringify(message));
  }

  heard(samples, level) {
    const sends = this.isReady && !this.isMuted && (!this.pushes || this.isPressed);
    this.panel.level(sends ? level : 0);
    if (sends) this.send(samples);
  }

  take(data) {
    if (data instanceof ArrayBuffer) {
      if (this.playing) this.play(data);
      return;
    }
    const event = JSON.parse(data);
    this[`on_${event.type}`]?.(event);
  }

  on_loading() {
    this.show("loading");
  }

  on_ready() {
    this.isReady = true;
    this.rest();
  }

  on_speech_started() {
    this.panel.words("");
    this.show("hearing");
  }

  on_partial({ text }) {
    this.panel.words(text);
  }

  on_speech_ended() {
    this.show("thinking");
  }

  on_transcript({ turn, text }) {
    this.panel.words(""); // it is above, now
    if (text) this.turns.set(turn, spokenTurn(text));
    else this.rest();
  }

  on_answer({ turn, text }) {
    this.turns.get(turn)?.add(text);
  }

  on_audio({ turn, sample_rate: rate }) {
    this.speaker.begin(turn, rate);
    this.playing = turn;
  }

  play(data) {
    this.speaker.play(data);
    if (this.state !== "hearing" && this.state !== "speaking") this.show("speaking");
  }

  on_interrupted({ turn, heard_text: text }) {
    if (turn === this.speaker.turn) this.silence();
    this.turns.get(turn)?.cut(text);
    if (this.state === "speaking") this.rest();
  }

  on_turn_ended({ turn }) {
    this.ended = turn;
    if (turn >= this.speaker.turn && this.state === "thinking") this.rest(); // nothing of it could be spoken
    else if (!this.speaker.sounds) this.quiet();
  }

  /** All that came was played; more may come where the engine is slow. */
  quiet() {
    if (this.state === "speaking" && this.ended >= this.speaker.turn) this.rest();
  }

  on_turn_failed({ turn, message }) {
    this.turns.get(turn)?.drop();
    this.turns.delete(turn);
    notice(say("voiceTurnFailed", { message }));
    this.rest();
  }

  on_noise({ is_noisy: isNoisy }) {
    if (isNoisy) notice(say("voiceNoisy"));
  }

  on_not_kept({ turn, message }) {
    this.turns.delete(turn); // what was said stays to be read, until the page is left
    notice(message);
  }

  on_kept(event) {
    if (this.isElsewhere) return; // it is in the list
    const spoken = this.turns.get(event.turn);
    this.turns.delete(event.turn);
    keepSpoken(event, spoken);
  }

  /** Nothing sounds and nobody speaks. */
  rest() {
    if (!this.isReady || this.isPressed) return;
    this.show(this.isMuted ? "muted" : this.pushes ? "holding" : "listening");
  }

  silence() {
    this.playing = 0; // what is on its way is of what was broken off
    this.speaker.flush();
  }

  /** The big button: held to talk, or touched to stop an answer, or to switch the microphone off and on. */
  main(isDown) {
    if (!this.isReady) return;
    if (this.pushes) return this.press(isDown);
    if (!isDown) return;
    if (this.speaker.sounds) {
      this.silence();
      this.send({ type: "interrupt" });
    } else {
      this.isMuted = !this.isMuted;
    }
    this.rest();
  }

  press(isDown) {
    if (isDown === this.isPressed) return;
    this.isPressed = isDown;
    if (isDown) {
      this.silence();
      this.send({ type: "press" });
      this.show("hearing");
    } else {
      this.send({ type: "release" });
      this.show("thinking");
    }
  }

  show(state) {
    this.state = state;
    this.panel.show(state, say(STATES[state]));
  }

  lost() {
    this.fail(say("microphoneLost"));
  }

  fail(message, isSaid = false) {
    if (!isSaid) notice(message, { label: say("close"), run: () => {} });
    this.end();
  }

  closed(code, reason) {
    const told = reason && CLOSED[code] ? say(CLOSED[code], { reason }) : reason;
    if (this.onEnd && code !== 1000) notice(told || say("voiceLost"), { label: say("close"), run: () => {} });
    else if (this.onEnd && told) notice(told);
    this.finish();
  }

  async again(changes) {
    remember(changes);
    await this.end();
    await toggleTalk();
  }

  /** The server keeps what was heard, says so, and closes the connection. */
  end() {
    const isOpen = this.socket?.readyState === WebSocket.OPEN && this.onEnd;
    this.leave();
    if (!isOpen) return this.finish();
    this.socket.send(JSON.stringify({ type: "end" }));
    return new Promise((resolve) => {
      this.socket.addEventListener("close", resolve, { once: true });
      setTimeout(() => (this.socket.close(), resolve()), 3000);
    });
  }

  /** Everything but the connection. */
  leave() {
    if (!this.onEnd) return;
    this.microphone?.close();
    this.speaker?.close();
    clearInterval(this.timer);
    this.wakeLock?.release().catch(() => {});
    this.panel.close();
    this.onEnd();
    this.onEnd = null;
  }

  /** Another conversation is shown. */
  goElsewhere() {
    this.isElsewhere = true;
    this.turns.clear();
    this.end();
  }

  finish() {
    this.leave();
    this.socket?.close();
    if (!this.isElsewhere) whenLeft(null);
    for (const spoken of this.turns.values()) spoken.drop();
    if (this.turns.size) openAgain();
    this.turns.clear();
  }
}

/** What is seen of it: state, words, the big button. */
class Panel {
  constructor({ onMain, onEnd, onMode, onLanguage, pushes }) {
    this.state = make("p", { class: "voice-state", role: "status" });
    this.text = make("p", { class: "voice-words", dir: "auto" });
    this.main = make("button", { type: "button", class: "orb", id: "voice-main" }, icon("talk"));
    this.mode = make("button", { type: "button", class: "chip", id: "voice-mode", onclick: onMode }, say(pushes ? "pushToTalk" : "handsFree"));
    this.language = make("select", { id: "voice-language", "aria-label": say("spokenLanguage"), title: say("spokenLanguage"), onchange: () => onLanguage(this.language.value) },
      ...[["en", "English"], ["zh", "中文"], ["auto", say("automatic")]].map(([value, text]) =>
        make("option", { value, selected: value === spokenLanguage() }, text)));
    this.stop = make("button", { type: "button", class: "chip", id: "voice-end", onclick: onEnd }, icon("close"), say("endTalk"));
    this.element = make("section", { id: "voice", "aria-label": say("talking") },
      this.state, this.text, this.main, make("div", { class: "voice-tools" }, this.mode, this.language, this.stop));
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && onEnd());
    this.pushes = pushes;
    this.listen(onMain);
    byId("composer").classList.add("talks");
    byId("composer").prepend(this.element);
    this.main.focus();
  }

  listen(onMain) {
    const key = (isDown) => (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) (event.preventDefault(), onMain(isDown));
    };
    this.main.addEventListener("pointerdown", (event) => (this.main.setPointerCapture(event.pointerId), onMain(true)));
    for (const name of ["pointerup", "pointercancel"]) this.main.addEventListener(name, () => onMain(false));
    this.main.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
    this.main.addEventListener("keydown", key(true));
    this.main.addEventListener("keyup", key(false));
    this.main.addEventListener("blur", () => this.pushes && onMain(false));
  }

  show(state, text) {
    this.element.dataset.state = state;
    if (this.state.textContent !== text) this.state.textContent = text;
    const label = say(this.pushes ? "voiceHold" : state === "speaking" ? "stopAnswer" : state === "muted" ? "unmute" : "mute");
    this.main.setAttribute("aria-label", label);
    this.main.title = label;
    swapIcon(this.main, state === "speaking" && !this.pushes ? "stop" : state === "muted" ? "muted" : "talk");
  }

  words(text) {
    this.text.textContent = text;
  }

  level(level) {
    this.main.style.setProperty("--level", Math.min(1, level * 6).toFixed(2));
  }

  close() {
    byId("composer").classList.remove("talks");
    const hadFocus = this.element.contains(document.activeElement);
    this.element.remove();
    if (hadFocus) byId("talk").focus();
    announce(say("talkEnded"));
  }
}
