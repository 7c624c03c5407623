"""Which part of the device a sensor measures, from the name its maker gave it.

Names as found in vendors' device trees and drivers: Qualcomm (sdm845.dtsi, sm8550.dtsi and their thermal overlays:
cpu-0-0-step, gpuss-0, aoss-0, skin-therm, xo-therm, quiet-therm, ibat-*, vbat, soc, *-bcl-lvl0), MediaTek (mtk_ts_*.c:
mtktscpu, mtktsAP, mtktsbattery; mt6985.dtsi: soc_max), Samsung (exynos*.dtsi: BIG, LITTLE, MID, G3D; sec_therm:
AP_NTC), HiSilicon (hisi_thermal: cluster0, shell_front, soc_thermal), Google (gs101 thermal configuration:
VIRTUAL-SKIN, skin_therm1, quiet_therm, BIG, MID, LITTLE, TPU), Xiaomi (board_sensor_temp: the skin, as its thermal
daemon reckons it), Raspberry Pi (cpu-thermal), PCs (x86_pkg_temp; hwmon: coretemp, k10temp, zenpower, cpu_thermal).
What matches nothing is "other".
"""

from __future__ import annotations

import re

from pocketseek.device.sensor_facts import Kind

# Qualcomm's limits for the battery are thermal zones, too: state of charge in %, current in mA, voltage in mV.
_NO_TEMPERATURE = re.compile(r"^(socd?|ibat.*|vbat.*|vph.*|.*[-_]ibat[-_].*|.*[-_]vbat[-_].*|.*bcl.*)$")
# Forecasts and corrections made for one purpose (Pixel's thermal service): not what a hand feels.
_NO_SKIN = re.compile(r"hint|charg|predict|model|forecast|-emul|usb|camera|\bcam\b|speaker")
_SKIN = re.compile(r"skin|shell|^surface|^board_sensor_temp$")
_QUIET = re.compile(r"quiet|neutral")
_BOARD = re.compile(r"^xo[-_]therm|^ap[-_]?ntc|^mtktsap$|^board|^system[-_]?h$|^sys-therm-?0")
_BATTERY = re.compile(
    r"^(batt?|bms|main[-_]?batt?|bat\d)([-_\d]|$)|^battery(?!.*charg)|^mtktsbattery|bat[-_]?therm|^bat[-_]?ntc"
)
_SOC = re.compile(
    r"^(cpu|gpu|apc|aoss|nsp|npu|cdsp|tsens|cluster\d|(big|little|mid|silver|gold|prime)(?![a-z])|g3d|tpu|aur$|hexagon"
    r"|mtktscpu|mtktsgpu|soc[-_]|x86_pkg|coretemp|k10temp|zenpower|cpu_thermal|tctl|tdie|package id)"
)


def kind_of(name: str) -> Kind | None:
    """None: what this sensor gives is no temperature at all."""
    name = name.lower()
    if _NO_TEMPERATURE.match(name):
        return None
    if skin_rank(name) is not None:
        return "skin"
    if _BATTERY.search(name):
        return "battery"
    return "soc" if _SOC.search(name) else "other"


def skin_rank(name: str) -> int | None:
    """How well it stands for the skin: 0 measured or modelled as such; 1 a thermistor in a quiet place of the board;
    2 one nearer to the chip, which reads some degrees too high; None: not at all."""
    name = name.lower()
    if _NO_SKIN.search(name):
        return None
    ranks = (_SKIN, _QUIET, _BOARD)
    return next((rank for rank, pattern in enumerate(ranks) if pattern.search(name)), None)
