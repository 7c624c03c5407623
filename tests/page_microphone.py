"""Who speaks when is the test's to say, however slow the machine is: something between the browser's microphone and
the page, on the clock of the sound.

`open_door` lets the microphone through for some seconds; it is shut before. `say` speaks a recording into the room.
"""

from __future__ import annotations

from base64 import b64encode

from page_browser import Visit

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.sound_file import wav_bytes

_ROOM = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const context = new AudioContext();
  const room = new MediaStreamAudioDestinationNode(context);
  const door = new GainNode(context, { gain: 0 });
  context.createMediaStreamSource(await open(wanted)).connect(door).connect(room);
  window.openDoor = (seconds) => {
    door.gain.setValueAtTime(1, context.currentTime);
    door.gain.setValueAtTime(0, context.currentTime + seconds);
  };
  window.say = async (wav) => {
    const buffer = await context.decodeAudioData(Uint8Array.from(atob(wav), (one) => one.charCodeAt(0)).buffer);
    const speaker = new AudioBufferSourceNode(context, { buffer });
    speaker.connect(room);
    speaker.start();
  };
  return room.stream;
};
"""


def add_room(visit: Visit) -> None:
    """From the next loading of the page on."""
    visit.context.add_init_script(_ROOM)


def open_door(visit: Visit, seconds: float) -> None:
    visit.page.evaluate("seconds => openDoor(seconds)", seconds)


def say(visit: Visit, sound: Samples) -> None:
    """Returns when it begins."""
    visit.page.evaluate("wav => say(wav)", b64encode(wav_bytes(sound, SAMPLE_RATE)).decode())
