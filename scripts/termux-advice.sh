# shellcheck shell=bash disable=SC2154
# Sourced by scripts/setup-termux: what it says, in the user's language. Needs say (venv.sh), LOG.

# POCKETSEEK_LANG, else the phone's own language: Termux itself always says en_US.
choose_language() {
  local locale=${POCKETSEEK_LANG:-}
  if [ -z "$locale" ]; then locale=$(property persist.sys.locale); fi
  if [ -z "$locale" ]; then locale=$(property ro.product.locale); fi
  case ${locale:-${LC_ALL:-${LANG:-}}} in zh*) language=zh ;; *) language=en ;; esac
}

# property NAME: what Android says of itself; nothing where it cannot be asked.
property() { { getprop "$1" || true; } 2>/dev/null; }

# tell ENGLISH CHINESE
tell() { if [ "${language:-en}" = zh ]; then say "$2"; else say "$1"; fi; }

fail() {
  tell "error: $1" "错误：$2"
  exit 1
}

wrong_usage() {
  tell "error: $1" "错误：$2"
  exit 2
}

log_has() { grep -qiE "$1" "$LOG" 2>/dev/null; }

# The line of the log that says most: the last error that is not pip's own summing up.
last_error() {
  { grep -iE '^ *(E:|error|fatal|CMake Error)' "$LOG" | grep -vE 'Could not build wheels|Failed building|subprocess-exited' || grep -v '^ *$' "$LOG" || echo '?'; } 2>/dev/null | tail -n 1 | sed 's/^ *//' | cut -c1-200
}

fail_with_log() { fail "$1: $(last_error) (all of it: $LOG)" "$2：$(last_error)（全部输出：$LOG）"; }

fail_no_space() {
  fail "the phone's storage is full; remove apps or files (Settings, Storage) and run this again: it goes on where it was" \
    "手机存储已满；请在 设置-存储 中清理后重新运行，会从中断处继续"
}

fail_shared_storage() {
  # shellcheck disable=SC2088
  fail "this clone lies on shared storage (/sdcard), where programs may not run and links cannot be made; move it to Termux's own: mv '$ROOT' ~/ && cd ~/$(basename "$ROOT") && bash scripts/setup-termux" \
    "代码位于共享存储（/sdcard），那里不能运行程序也不能建立链接；请移到 Termux 自己的目录：mv '$ROOT' ~/ && cd ~/$(basename "$ROOT") && bash scripts/setup-termux"
}

# What no program may change by itself.
advise() {
  say ""
  tell "So that Android lets it work (none of it can be done from here):" "要让安卓不打断它（以下都无法由脚本代劳）："
  tell "- battery: Settings, Apps, Termux, Battery, Unrestricted. Some makers have a second list: see dontkillmyapp.com" \
    "- 电池：设置-应用-Termux-电池-不受限制。部分厂商另有自启动/后台名单，见 dontkillmyapp.com"
  tell "- screen off: type termux-wake-lock before long work, termux-wake-unlock after it" \
    "- 熄屏：长时间运行前输入 termux-wake-lock，结束后输入 termux-wake-unlock"
  if [ "$sdk" -ge 31 ]; then advise_on_phantom_processes; fi
  tell "- files of yours: type termux-setup-storage and allow it; then they are in ~/storage. Models stay in Termux's own folder: /sdcard is slower and cannot be memory-mapped as well" \
    "- 自己的文件：输入 termux-setup-storage 并允许，之后在 ~/storage 中。模型请留在 Termux 自己的目录：/sdcard 更慢，也不利于内存映射"
  tell "- battery temperature, notification, microphone: the app Termux:API, from where Termux came from; open it once" \
    "- 电池温度、通知、麦克风：请从与 Termux 相同的来源安装 Termux:API 应用，并打开一次"
}

# Android 12 and newer end a child process of an app without a word (signal 9): beyond 32 of them, or for much work in the background.
advise_on_phantom_processes() {
  tell "- \"[Process completed (signal 9)]\": Android ends child processes of apps that work in the background. Against it:" \
    "- 出现 [Process completed (signal 9)]：安卓会结束后台应用的子进程。解决办法："
  if [ "$sdk" -ge 34 ]; then
    tell "    Settings, Developer options, Disable child process restrictions: on" "    设置-开发者选项-停用子进程限制：打开"
  elif [ "$sdk" -ge 32 ]; then
    tell "    from a computer: adb shell settings put global settings_enable_monitor_phantom_procs false" \
      "    在电脑上：adb shell settings put global settings_enable_monitor_phantom_procs false"
  else
    tell "    from a computer: adb shell \"device_config set_sync_disabled_for_tests persistent; device_config put activity_manager max_phantom_processes 2147483647\"" \
      "    在电脑上：adb shell \"device_config set_sync_disabled_for_tests persistent; device_config put activity_manager max_phantom_processes 2147483647\""
  fi
}

finish() {
  advise
  say ""
  if [ ${#missing_extras[@]} -gt 0 ]; then
    tell "Left out: ${missing_extras[*]} (see the notes above; run this again to try again, or use --debian)" \
      "未能安装：${missing_extras[*]}（见上面的说明；重新运行可再试，或使用 --debian）"
  fi
  tell "Ready. Now: pocketseek            what to do first" "完成。现在：pocketseek            从这里开始"
  tell "            pocketseek chat demo  a small model, 93 MB, that shows that it works" \
    "            pocketseek chat demo  小模型（93 MB），用来确认一切正常"
  tell "            pocketseek serve      then open http://127.0.0.1:8080 in the browser" \
    "            pocketseek serve      然后在浏览器中打开 http://127.0.0.1:8080"
}
