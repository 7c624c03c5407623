# shellcheck shell=bash disable=SC2154
# Sourced by scripts/setup-termux: pocketseek in a Debian inside Termux (proot-distro). Needs what that script defines.

in_debian() { proot-distro login "$CONTAINER" -- "$@"; }

set_up_in_debian() {
  local extras wanted_print libraries=() tools=(python3 python3-venv ca-certificates) source=$ROOT
  if [ -n "$wheel" ]; then source=$(readlink -f "$wheel"); else tools+=(python3-dev g++ cmake ninja-build); fi
  extras=$(IFS=,; echo "${wanted[*]-}")
  case ",$extras," in *,voice,*) libraries=(faster-whisper espeakng-loader) ;; esac # a phone is a PC in this Debian
  wanted_print="$(fingerprint_of_sources "$source") $extras"
  install_packages proot-distro termux-api
  if ! proot-distro login "$CONTAINER" -- true >/dev/null 2>&1; then
    tell "fetching Debian (about 50 MB)" "正在下载 Debian（约 50 MB）"
    quietly proot-distro install "$DEBIAN_IMAGE" --name "$CONTAINER" || explain_debian
  fi
  if [ "$(in_debian cat /opt/pocketseek/installed 2>/dev/null)" = "$wanted_print" ]; then return; fi
  tell "installing ${tools[*]} in Debian" "正在 Debian 中安装 ${tools[*]}"
  quietly in_debian sh -c 'export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y --no-install-recommends "$@"' \
    sh "${tools[@]}" || explain_packages
  tell "installing pocketseek (some minutes)" "正在安装 pocketseek（几分钟）"
  quietly in_debian sh -c 'export CMAKE_BUILD_PARALLEL_LEVEL=$1; shift
    wheel=$1; shift
    pip() { /opt/pocketseek/bin/python -m pip install --no-input --disable-pip-version-check "$@"; }
    python3 -m venv /opt/pocketseek || exit
    # pip leaves another wheel of the version that is there alone, unless it must not
    if [ -n "$wheel" ]; then pip --force-reinstall --no-deps "$wheel" || exit; fi
    pip "$@"' \
    sh "$(num_jobs)" "${wheel:+$source}" "$source${extras:+[$extras]}" "${libraries[@]}" ||
    explain_pip pocketseek
  quietly in_debian sh -c 'printf "%s\n" "$1" >/opt/pocketseek/installed' sh "$wanted_print"
}

explain_debian() {
  if log_has 'no space left'; then fail_no_space; fi
  if log_has 'unrecognized|unknown (option|distribution)|usage:'; then
    fail "this proot-distro is older than version 5; type: pkg upgrade   and run this again" \
      "proot-distro 版本低于 5；请输入 pkg upgrade 后重试"
  fi
  if log_has 'already exists'; then # ended by Android while it was unpacked: it does not start
    fail "the Debian of an earlier try is there and does not start; type: proot-distro remove $CONTAINER   (with all that is in it) and run this again" \
      "之前的 Debian 已存在但无法启动；请输入 proot-distro remove $CONTAINER（其中内容会一并删除）后重新运行"
  fi
  fail "Debian could not be fetched ($(last_error)); see that the network works and run this again (all of it: $LOG)" \
    "无法下载 Debian（$(last_error)）；请检查网络后重试（全部输出：$LOG）"
}

# fingerprint_of_sources FILE-OR-CLONE
fingerprint_of_sources() {
  if [ -f "$1" ]; then
    cksum <"$1"
  else
    (cd "$1" && find pyproject.toml native src -type f ! -name '*.py[co]' ! -name '*.so' -print0 | sort -z | xargs -0 cksum) | cksum
  fi
}
