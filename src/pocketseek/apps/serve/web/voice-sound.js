// The microphone, and the loudspeaker that knows what of an answer was heard.
const RATE = 16000;
const REPORT_MS = 200;
const STUCK_MS = 3000;
const NO_SOURCE = { stop() {} }; // of what is over: its samples are let go
const FADE_S = 0.02; // so that stopping makes no click

/** What is wrong, as a key of words-*.js; "" if the microphone can be asked for. */
export function obstacle() {
  if (!window.isSecureContext || !navigator.mediaDevices) return "voiceInsecure";
  return window.AudioWorkletNode && window.WebSocket ? "" : "voiceOldBrowser";
}

/** Of an error of getUserMedia, the same. */
export function complaintOf(error) {
  const known = { NotAllowedError: "voiceDenied", SecurityError: "voiceDenied", NotFoundError: "voiceNoMicrophone",
    OverconstrainedError: "voiceNoMicrophone", NotReadableError: "voiceMicrophoneBusy", AbortError: "voiceMicrophoneBusy" };
  return known[error.name] ?? "";
}

/** 16-bit samples at 16 kHz, in ArrayBuffers of 32 ms. onFrame(buffer, level), onLost() when the device goes away. */
export class Microphone {
  static async open(onFrame, onLost) {
    const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    try {
      return new Microphone(stream, await listen(stream, onFrame), onLost);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
  }

  constructor(stream, context, onLost) {
    this.stream = stream;
    this.context = context;
    stream.getAudioTracks()[0].addEventListener("ended", onLost);
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close().catch(() => {});
  }
}

async function listen(stream, onFrame) {
  const context = new AudioContext({ sampleRate: RATE });
  let source;
  try {
    source = context.createMediaStreamSource(stream);
  } catch {
    await context.close(); // Firefox takes a microphone only at its own rate; the processor converts
    return capturing(new AudioContext(), stream, onFrame);
  }
  return capturing(context, stream, onFrame, source);
}

/** The context, once it captures; closed if it cannot: a page may have few of them. */
async function capturing(context, stream, onFrame, source = null) {
  try {
    await capture(context, source ?? context.createMediaStreamSource(stream), onFrame);
    return context;
  } catch (error) {
    await context.close();
    throw error;
  }
}

async function capture(context, source, onFrame) {
  await context.audioWorklet.addModule("/voice-capture.js");
  const node = new AudioWorkletNode(context, "capture", { numberOfInputs: 1, outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" });
  node.port.addEventListener("message", ({ data }) => onFrame(data.samples, data.level));
  node.port.start();
  source.connect(node).connect(context.destination); // it puts out silence; what leads nowhere may not run
  await context.resume();
}

/**
 * Plays what comes, in order and without gaps. onPlayed(turn, seconds) while it sounds and once more at the end of it,
 * onQuiet() after the last. If the browser plays nothing for STUCK_MS (a call, a page that nobody touched), what is left
 * counts as read, and the conversation goes on.
 */
export class Loudspeaker {
  constructor(onPlayed, onQuiet) {
    this.context = new AudioContext();
    this.onPlayed = onPlayed;
    this.onQuiet = onQuiet;
    this.turn = 0;
    this.rate = 0;
    this.pieces = []; // {source, start, length}
    this.until = 0;
    this.isQuiet = true;
    this.stuckSince = 0; // when it was found not to run
    this.gain = this.newGain();
    this.timer = setInterval(() => this.report(), REPORT_MS);
  }

  get sounds() {
    return this.pieces.length > 0 && this.context.currentTime < this.until;
  }

  /** What comes from now on is of this turn. */
  begin(turn, rate) {
    if (turn !== this.turn) this.flush();
    this.turn = turn;
    this.rate = rate;
  }

  play(bytes) {
    if (!this.rate || bytes.byteLength < 2) return;
    const samples = Float32Array.from(new Int16Array(bytes), (value) => value / 32768);
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.gain);
    const start = Math.max(this.until, this.context.currentTime + 0.01);
    source.start(start);
    this.until = start + buffer.duration;
    this.pieces.push({ source, start, length: buffer.duration });
    this.isQuiet = false;
    this.context.resume().catch(() => {});
  }

  /** Silence at once; what was heard stays heard. */
  flush() {
    const now = this.context.currentTime;
    this.gain.gain.setValueAtTime(1, now);
    this.gain.gain.linearRampToValueAtTime(0, now + FADE_S);
    for (const { source } of this.pieces) source.stop(now + FADE_S);
    this.pieces = [];
    this.until = 0;
    this.gain = this.newGain();
  }

  report() {
    if (this.isQuiet || !this.pieces.length) return;
    if (this.isStuck()) return this.giveUp();
    const now = this.context.currentTime - (this.context.outputLatency || 0);
    const heard = this.pieces.reduce((sum, { start, length }) => sum + Math.max(0, Math.min(length, now - start)), 0);
    this.onPlayed(this.turn, heard);
    if (now >= this.until) {
      this.pieces = this.pieces.map((piece) => ({ ...piece, source: NO_SOURCE }));
      this.isQuiet = true;
      this.onQuiet();
    }
  }

  isStuck() {
    if (this.context.state === "running") this.stuckSince = 0;
    else this.context.resume().catch(() => {});
    if (this.context.state !== "running") this.stuckSince ||= performance.now();
    return this.stuckSince > 0 && performance.now() - this.stuckSince > STUCK_MS;
  }

  giveUp() {
    const read = this.pieces.map(({ length }) => ({ source: NO_SOURCE, start: -Infinity, length }));
    this.flush();
    this.pieces = read;
    this.onPlayed(this.turn, read.reduce((sum, { length }) => sum + length, 0));
    this.isQuiet = true;
    this.onQuiet();
  }

  close() {
    clearInterval(this.timer);
    this.context.close().catch(() => {});
  }

  newGain() {
    const gain = this.context.createGain();
    gain.connect(this.context.destination);
    return gain;
  }
}
