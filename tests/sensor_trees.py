"""Sensor files of phones and computers, as path -> content. Written from documented formats and names (see the sources
in `device/sensor_names.py`, and the kernel's sysfs-class-thermal, sysfs-class-power and hwmon documentation); none of
them was copied from a device, and the values are made up."""

from __future__ import annotations

from collections.abc import Sequence

Tree = dict[str, object]
Zone = tuple[str, object] | tuple[str, object, dict[str, object]]


def zones(listed: Sequence[Zone]) -> Tree:
    """(type, temp) or (type, temp, more files)."""
    tree: Tree = {}
    for number, (name, temp, *more) in enumerate(listed):
        folder = f"sys/class/thermal/thermal_zone{number}"
        tree |= {f"{folder}/type": name, f"{folder}/temp": temp, f"{folder}/mode": "enabled"}
        tree |= {f"{folder}/{file}": value for files in more for file, value in files.items()}
    return tree


def uevent(name: str, **fields: object) -> Tree:
    lines = [f"POWER_SUPPLY_NAME={name}"] + [f"POWER_SUPPLY_{key.upper()}={value}" for key, value in fields.items()]
    return {f"sys/class/power_supply/{name}/uevent": "\n".join(lines)}


def battery(name: str = "battery", **fields: object) -> Tree:
    return uevent(name, type="Battery", **fields) | {f"sys/class/power_supply/{name}/type": "Battery"}


def charger(name: str, online: int, type: str = "USB") -> Tree:
    folder = f"sys/class/power_supply/{name}"
    return {f"{folder}/type": type, f"{folder}/online": online}


def policies(**khz: tuple[str, int]) -> Tree:
    tree: Tree = {}
    for name, (cores, current_khz) in khz.items():
        folder = f"sys/devices/system/cpu/cpufreq/{name}"
        tree |= {f"{folder}/affected_cpus": cores, f"{folder}/scaling_cur_freq": current_khz}
    return tree


SNAPDRAGON: Tree = (
    zones(
        [
            ("aoss-0", 43200),
            ("cpu-0-0-0", 51100),
            ("cpu-1-4-1", 63900, {"trip_point_0_temp": 95000}),
            ("gpuss-0", 47000),
            ("nsphvx-0", 45000),
            ("ddr", 46000),
            ("modem-lte-sub6-pa1", -40000),
            ("sdr0", -273000),
            ("pm8550_tz", 42123),
            ("ibat-high", 1250),
            ("vbat", 3900),
            ("soc", 76),
            ("socd", 24),
            ("pm8550b-bcl-lvl0", 0),
            ("skin-msm-therm", 38250),
            ("xo-therm", 41007),
            ("quiet-therm", 39100),
            ("usb-therm", 34000),
            ("wlan-therm", 125000),
            ("cam-flash-therm", 36000, {"mode": "disabled"}),
        ]
    )
    | battery(status="Discharging", capacity=76, voltage_now=3912000, current_now=-812000, temp=334)
    | uevent("bms", type="BMS", current_now=-812000)
    | {"sys/class/power_supply/bms/type": "BMS"}
    | charger("usb", 0)
    | policies(policy0=("0 1", 1_228_800), policy2=("2 3 4", 2_016_000), policy7=("7", 3_187_200))
    | {
        "sys/class/thermal/thermal_message/board_sensor_temp": 37650,
        "sys/class/thermal/cooling_device0/type": "cpu-isolate0",
        "sys/class/thermal/cooling_device0/cur_state": 0,
        "sys/class/thermal/cooling_device0/max_state": 1,
        "sys/class/thermal/cooling_device1/type": "thermal-cpufreq-7",
        "sys/class/thermal/cooling_device1/cur_state": 4,
        "sys/class/thermal/cooling_device1/max_state": 21,
    }
)

# Kernels of older MediaTek phones: the battery in whole degrees here, mA in the battery driver.
MEDIATEK: Tree = (
    zones(
        [
            ("mtktscpu", 58000),
            ("mtktsAP", 41000),
            ("mtktspa", 37000),
            ("mtktsbattery", 33, {"trip_point_0_temp": 60}),
            ("mtktspmic", -127000),
            ("soc_max", 59500),
        ]
    )
    | battery("battery", status="Charging", capacity=41, voltage_now=4105, current_now=2310, temp=330)
    | charger("mtk-master-charger", 1)
    | policies(policy0=("0 1 2 3", 2_000_000), policy4=("4 5 6 7", 2_850_000))
)

KIRIN: Tree = (
    zones(
        [
            ("soc_thermal", 52000),
            ("cluster0", 54000),
            ("cluster1", 61000),
            ("gpu", 50000),
            ("system_h", 40000),
            ("shell_front", 36),
            ("shell_frame", 371),
            ("peripheral", 0),
        ]
    )
    | battery("Battery", status="Discharging", capacity=88, voltage_now=4021000, current_now=-512, temp=315)
    | charger("USB", 0)
    | charger("Mains", 0, "Mains")
)

PIXEL: Tree = (
    zones(
        [
            ("BIG", 66000),
            ("MID", 60000),
            ("LITTLE", 57000),
            ("G3D", 49000),
            ("TPU", 45000),
            ("ISP", 44000),
            ("battery", 32800),
            ("skin_therm1", 37012),
            ("skin_therm2", 36544),
            ("quiet_therm", 38900),
            ("neutral_therm", 35900),
            ("usb_pwr_therm", 33000),
            ("VIRTUAL-SKIN", 37400),
            ("VIRTUAL-SKIN-HINT", 99000),
        ]
    )
    | battery("battery", status="Not charging", capacity=80, voltage_now=4050000, current_now=976, temp=328)
    | battery("maxfg", status="Not charging", capacity=80, voltage_now=4050000, current_now=976, temp=328)
    | charger("usb", 1)
)

RASPBERRY_PI: Tree = (
    zones([("cpu-thermal", 55350)])
    | {
        "sys/class/hwmon/hwmon0/name": "cpu_thermal",
        "sys/class/hwmon/hwmon0/temp1_input": 55350,
        "sys/class/hwmon/hwmon1/name": "rp1_adc",
        "sys/class/hwmon/hwmon1/temp1_input": 49800,
        "sys/class/hwmon/hwmon2/name": "pwmfan",
        "sys/class/hwmon/hwmon3/name": "rpi_volt",
        "sys/class/thermal/cooling_device0/type": "pwm-fan",
        "sys/class/thermal/cooling_device0/cur_state": 1,
        "sys/class/thermal/cooling_device0/max_state": 4,
    }
    | policies(policy0=("0 1 2 3", 2_400_000))
)

PC: Tree = (
    zones([("acpitz", 27800), ("x86_pkg_temp", 61000), ("iwlwifi_1", 45000), ("INT3400 Thermal", 20000)])
    | {
        "sys/class/hwmon/hwmon0/name": "acpitz",
        "sys/class/hwmon/hwmon0/temp1_input": 27800,
        "sys/class/hwmon/hwmon1/name": "coretemp",
        "sys/class/hwmon/hwmon1/temp1_label": "Package id 0",
        "sys/class/hwmon/hwmon1/temp1_input": 61000,
        "sys/class/hwmon/hwmon1/temp2_label": "Core 0",
        "sys/class/hwmon/hwmon1/temp2_input": 59000,
        "sys/class/hwmon/hwmon2/name": "nvme",
        "sys/class/hwmon/hwmon2/temp1_label": "Composite",
        "sys/class/hwmon/hwmon2/temp1_input": 38850,
        "sys/class/powercap/intel-rapl:0/name": "package-0",
        "sys/class/powercap/intel-rapl:0/energy_uj": 262_000_000_000,
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 262_143_328_850,
        "sys/class/powercap/intel-rapl:1/name": "psys",
        "sys/class/powercap/intel-rapl:1/energy_uj": 1,
        "proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.50 total=500\nfull avg10=0.00 total=0",
    }
    | battery(
        "BAT0", status="Discharging", capacity=50, voltage_now=11_400_000, power_now=9_120_000, energy_full=40_000_000
    )
    | battery("BAT1", status="Unknown", capacity=100, voltage_now=11_400_000, power_now=0, energy_full=20_000_000)
    | battery("hidpp_battery_0", status="Discharging", capacity=5, scope="Device")
    | charger("AC", 0, "Mains")
    | policies(policy0=("0", 3_400_000), policy1=("1", 800_000))
)

TREES = {
    "snapdragon": SNAPDRAGON,
    "mediatek": MEDIATEK,
    "kirin": KIRIN,
    "pixel": PIXEL,
    "raspberry-pi": RASPBERRY_PI,
    "pc": PC,
}

# What `dumpsys thermalservice` prints on Android 14 (ThermalManagerService.dumpInternal), shortened.
THERMAL_SERVICE = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=48.5, mType=3, mName=SKIN, mStatus=0}
\tTemperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=44.8, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=32.2, mType=2, mName=BAT, mStatus=0}
\tTemperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
\tTemperature{mValue=NaN, mType=4, mName=USB, mStatus=0}
\tTemperature{mValue=3.9, mType=6, mName=vbat, mStatus=0}
\tTemperature{mValue=37.5, mType=3, mName=SKIN, mStatus=1}
Current cooling devices from HAL:
\tCoolingDevice{mValue=3, mType=2, mName=cpu}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=SKIN, mHotThrottlingThresholds=[NaN, 37.0, 41.0, 45.0, 50.0, 55.0, 60.0], \
mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, NaN]}
"""

TERMUX_BATTERY = """{
  "present": true,
  "technology": "Li-ion",
  "health": "GOOD",
  "plugged": "UNPLUGGED",
  "status": "DISCHARGING",
  "temperature": 31.600000381469727,
  "voltage": 4012,
  "current": -421875,
  "percentage": 88
}
"""
