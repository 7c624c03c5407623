"""What is said of heat while a model runs, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

HEAT_SLOWER = Message(
    "Slower now, so that the device stays below {limit} °C: {percent} % at {celsius} (--temperature-limit).",
    "为使设备温度低于 {limit} °C，已放慢速度：当前 {percent} %，温度 {celsius}（--temperature-limit）。",
)
HEAT_CELSIUS = Message("{celsius} °C", "{celsius} °C")
HEAT_RECKONED = Message("about {celsius} °C, by Android's headroom", "约 {celsius} °C（由 Android 余量推算）")
HEAT_CHIP = Message(
    "Slower now, so that the chip stays below {limit} °C: {percent} % at {celsius} °C.",
    "为使芯片温度低于 {limit} °C，已放慢速度：当前 {percent} %，温度 {celsius} °C。",
)
HEAT_STOP = Message(
    "Resting: the device is at {celsius}, far above {limit} °C; it goes on when it has cooled down "
    "(--temperature-limit).",
    "暂停：设备温度 {celsius}，远高于 {limit} °C；降温后继续（--temperature-limit）。",
)
HEAT_CHIP_STOP = Message(
    "Resting: the chip is at {celsius}, far above {limit} °C; it goes on when it has cooled down.",
    "暂停：芯片温度 {celsius}，远高于 {limit} °C；降温后继续。",
)
HEAT_UNREACHABLE = Message(
    "It does not get cooler than {celsius} here, even at rest: going on very slowly ({percent} %). Cool the device, "
    "or set another limit than {limit} °C (--temperature-limit; 0: none).",
    "即使不计算，温度也不低于 {celsius}：以极慢的速度继续（{percent} %）。"
    "请给设备降温，或更改 {limit} °C 的上限（--temperature-limit；0 为不限）。",
)
HEAT_CHIP_UNREACHABLE = Message(
    "The chip stays at {celsius}, even at rest (limit {limit} °C): something else heats it. Going on very slowly "
    "({percent} %).",
    "即使不计算，芯片温度仍为 {celsius}（上限 {limit} °C）：由其他程序发热。以极慢的速度继续（{percent} %）。",
)
HEAT_UNHELD = Message(
    "The limit of {limit} °C is without effect: no temperature near the skin can be read here.",
    "{limit} °C 的温度上限不起作用：此处无法读取接近机身表面的温度。",
)
HEAT_UNHELD_CHIP = Message(
    "The limit of {limit} °C is without effect: no temperature near the skin can be read here; only the chip's limit "
    "of {chip_limit} °C holds.",
    "{limit} °C 的温度上限不起作用：此处无法读取接近机身表面的温度；只遵守芯片温度上限 {chip_limit} °C。",
)
HEAT_UNHELD_TERMUX = Message(
    "Termux:API can tell the battery's: install its app and run `pkg install termux-api`.",
    "Termux:API 可以提供电池温度：请安装该应用并运行 `pkg install termux-api`。",
)
HEAT_UNHELD_SILENT = Message(
    "`termux-battery-status` does not answer: install the app Termux:API from where Termux came from, and open it "
    "once.",
    "`termux-battery-status` 没有回应：请从与 Termux 相同的来源安装 Termux:API 应用，并打开一次。",
)
HEAT_UNHELD_SENSORS = Message(
    "`pocketseek device --sensors` shows what can be read.",
    "`pocketseek device --sensors` 会显示可读取的传感器。",
)
DOCTOR_HEAT = Message("temperature", "温度")
DOCTOR_HEAT_OFF = Message("no limit", "不限温度")
DOCTOR_HEAT_SENSOR = Message(
    "{celsius:.1f} °C ({names}), limit {limit} °C", "{celsius:.1f} °C（{names}），上限 {limit} °C"
)
DOCTOR_HEAT_CHIP = Message("only the chip can be read", "只能读取芯片温度")
DOCTOR_HEAT_UNHELD = Message(
    "{found}: the limit of {limit} °C is without effect. {remedy}",
    "{found}：{limit} °C 的温度上限不起作用。{remedy}",
)
DOCTOR_HEAT_NONE = Message("no sensor can be read", "没有可读的传感器")
HEAT_GOES_ON = Message("Cool enough: going on.", "温度已降低：继续。")
HEAT_SENSOR_TEST = Message(
    "Slower for a moment, to see whether the temperature sensor still moves ({percent} %).",
    "暂时放慢，以检查温度传感器是否仍有变化（{percent} %）。",
)
HEAT_BLIND = Message(
    "The temperature cannot be read any more, or not be believed: going on at a careful pace ({percent} %).",
    "无法再读取温度，或读数不可信：以谨慎的速度继续（{percent} %）。",
)
HEAT_READABLE_AGAIN = Message("The temperature can be read again.", "又可以读取温度了。")
