"""What `pocketseek device --sensors` says, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

SET_POINT = Message("set point", "温控依据")
SET_POINT_VALUE = Message("{celsius:.1f} °C ({names}): {reason}", "{celsius:.1f} °C（{names}）：{reason}")
BY_SKIN = Message("stands for the skin", "代表机身表面温度")
BY_QUIET = Message("no skin sensor; a quiet place of the board", "无表面传感器，以主板上的安静位置代替")
BY_BATTERY = Message("no skin sensor; the battery is nearest to it", "无表面传感器，以最接近的电池温度代替")
BY_BOARD = Message("no skin or battery sensor; the board, a bit too high", "无表面和电池传感器，以主板代替，略微偏高")
BY_HEADROOM = Message("no sensor; reckoned from Android's thermal headroom", "没有传感器，由 Android 的温度余量推算")
BY_NONE = Message("no sensor near the skin; the chip's limit alone holds", "表面附近没有传感器，只遵守芯片温度上限")
SKIN = Message("skin", "表面")
CHIP = Message("chip", "芯片")
CHIP_VALUE = Message("{celsius:.1f} °C ({name}), hottest of {num}", "{celsius:.1f} °C（{name}），{num} 个中最高")
BATTERY = Message("battery", "电池")
OTHER = Message("other", "其他")
LEVEL = Message("{level:.0%}", "{level:.0%}")
CHARGED = Message("external power", "外接电源")
ON_BATTERY = Message("on battery", "使用电池")
DRAWN = Message("{watts:.1f} W drawn", "放电 {watts:.1f} W")
FED = Message("{watts:.1f} W into it", "充电 {watts:.1f} W")
SAVER = Message("saver on", "省电模式已开启")
STATUS = Message("Android's thermal status", "Android 发热状态")
STATUS_VALUE = Message("{status} of 6, headroom used {headroom}", "{status}（最高 6），余量已用 {headroom}")
FREQUENCIES = Message("frequencies", "频率")
FREQUENCY = Message("{cores}: {ghz:.1f} GHz", "{cores}：{ghz:.1f} GHz")
PRESSURE = Message("processor wait", "等待处理器")
PRESSURE_VALUE = Message("{share:.0%} of the time", "{share:.0%} 的时间")
POWER = Message("processor power", "处理器功耗")
POWER_VALUE = Message("{watts:.1f} W", "{watts:.1f} W")
COOLING = Message("cooling at work", "正在降温")
NOTHING = Message("nothing", "无")
LEFT_OUT = Message("left out", "已忽略")
NO_SENSORS = Message("no sensor can be read", "没有可读的传感器")
TERMUX_API = Message(
    "Termux:API can tell the battery's temperature: install its app and run `pkg install termux-api`.",
    "Termux:API 可以提供电池温度：请安装该应用并运行 `pkg install termux-api`。",
)
