# shellcheck shell=bash disable=SC2154
# Sourced by scripts/setup-termux: the command `pocketseek`, and entries for the apps Termux:Boot and Termux:Widget. Needs tell.

# write_program FILE: what comes on standard input, executable, in place at once.
write_program() {
  local file=$1
  mkdir -p "$(dirname "$file")"
  cat >"$file.new"
  chmod 700 "$file.new"
  mv "$file.new" "$file"
}

# A file of this name that is not ours stays.
install_command() {
  local file=$PREFIX/bin/pocketseek
  if [ -e "$file" ] && ! grep -q 'scripts/setup-termux' "$file"; then
    fail "$file is another program; rename or remove it and run this again" "$file 是别的程序；请改名或删除后重试"
  fi
  if [ "$debian" = yes ]; then
    write_program "$file" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux --debian
exec proot-distro login $CONTAINER --work-dir "\$PWD" --env POCKETSEEK_LANG="\${POCKETSEEK_LANG:-$language}" -- /opt/pocketseek/bin/pocketseek "\$@"
END
  else
    write_program "$file" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux
export POCKETSEEK_LANG="\${POCKETSEEK_LANG:-$language}"
exec "$VENV/bin/pocketseek" "\$@"
END
  fi
}

# Termux:Boot runs what lies there once the phone has started, in the order of the names.
install_boot_entry() {
  write_program "$HOME/.termux/boot/pocketseek" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux --boot: the server, and a phone that does not fall asleep over it
termux-wake-lock
"$PREFIX/bin/pocketseek" serve --yes >"$HOME/.termux/pocketseek-boot.log" 2>&1
termux-wake-unlock
END
  tell "Termux:Boot will start the server; install that app (from where Termux came from) and open it once" \
    "Termux:Boot 会在开机后启动服务；请从与 Termux 相同的来源安装该应用，并打开一次"
}

# Termux:Widget shows ~/.shortcuts; those in tasks/ run without a terminal. What stops looks for the server by its program, whoever started
# it: proot passes no Ctrl-C on.
install_widget_entries() {
  local program=$VENV/bin/pocketseek
  if [ "$debian" = yes ]; then program=/opt/pocketseek/bin/pocketseek; fi
  write_program "$HOME/.shortcuts/pocketseek chat" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux --widget
exec "$PREFIX/bin/pocketseek" chat
END
  write_program "$HOME/.shortcuts/tasks/pocketseek page" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux --widget: the server, if it does not run yet, then the page
server=
if ! curl -sf -o /dev/null http://127.0.0.1:8080/; then
  termux-wake-lock
  mkdir -p "$HOME/.termux"
  "$PREFIX/bin/pocketseek" serve --yes >"$HOME/.termux/pocketseek-serve.log" 2>&1 &
  server=\$!
  for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    curl -sf -o /dev/null http://127.0.0.1:8080/ && break
    sleep 1
  done
fi
termux-open-url http://127.0.0.1:8080/
if [ -n "\$server" ]; then
  wait "\$server"
  termux-wake-unlock
fi
END
  write_program "$HOME/.shortcuts/tasks/pocketseek stop" <<END
#!$PREFIX/bin/sh
# made by scripts/setup-termux --widget
pkill -INT -f "$program serve"
termux-wake-unlock
END
  tell "Termux:Widget will show: pocketseek chat, page, stop; install that app (from where Termux came from) and put its widget on the home screen" \
    "Termux:Widget 会显示：pocketseek chat、page、stop；请从与 Termux 相同的来源安装该应用，并把小部件放到桌面"
}
