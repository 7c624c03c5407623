// In the audio thread: what the microphone gives, as 16-bit samples at 16 kHz, 32 ms at a time. A context that runs at
// another rate is brought down to it by a windowed sinc, which keeps what lies above 8 kHz from folding back.
const RATE = 16000;
const FRAME = 512;
const CROSSINGS = 16;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    this.half = Math.ceil(CROSSINGS * Math.max(1, this.step));
    this.kernels = new Map(); // by position between two samples
    this.past = new Float32Array(2 * this.half);
    this.next = 0; // where the next output lies, after the beginning of `past`
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.power = 0;
  }

  process([[samples]]) {
    if (!samples) return true; // nothing is connected yet
    if (this.step === 1) samples.forEach((sample) => this.put(sample));
    else this.resample(samples);
    return true;
  }

  resample(samples) {
    const all = new Float32Array(this.past.length + samples.length);
    all.set(this.past);
    all.set(samples, this.past.length);
    const width = 2 * this.half;
    for (; Math.floor(this.next) + width <= all.length; this.next += this.step) {
      const first = Math.floor(this.next);
      const weights = this.kernel(this.next - first);
      let sum = 0;
      for (let index = 0; index < width; index += 1) sum += weights[index] * all[first + index];
      this.put(sum);
    }
    const used = Math.min(Math.floor(this.next), all.length);
    this.past = all.slice(used);
    this.next -= used;
  }

  kernel(offset) {
    const key = Math.round(offset * 1024);
    let weights = this.kernels.get(key);
    if (!weights) {
      const cutoff = Math.min(1, 1 / this.step) * 0.94;
      weights = Float32Array.from({ length: 2 * this.half }, (_, index) => {
        const x = index - this.half + 1 - key / 1024;
        const hann = 0.5 + 0.5 * Math.cos((Math.PI * Math.max(-1, Math.min(1, x / this.half))));
        return cutoff * (x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x)) * hann;
      });
      this.kernels.set(key, weights);
    }
    return weights;
  }

  put(sample) {
    const value = Math.max(-1, Math.min(1, sample));
    this.power += value * value;
    this.frame[this.filled] = Math.round(value * 32767);
    this.filled += 1;
    if (this.filled < FRAME) return;
    this.port.postMessage({ samples: this.frame.buffer, level: Math.sqrt(this.power / FRAME) }, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = this.power = 0;
  }
}

registerProcessor("capture", Capture);
