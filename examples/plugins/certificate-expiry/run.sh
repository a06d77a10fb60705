#!/bin/sh
# A static plugin: when do the certificates (*.pem, *.crt) of one directory end?
# One request comes on stdin. Its configuration and arguments have passed the schemas of plugin.json, so they hold nothing
# that this script would have to quote.
set -eu
read -r request

string() { printf '%s' "$request" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
number() { printf '%s' "$request" | sed -n 's/.*"'"$1"'":\([0-9]*\).*/\1/p'; }
result() { printf '{"result":{"state":"%s","message":"%s","exit_code":%s}}\n' "$1" "$2" "$3"; }

# Seconds until the certificate in $1 ends; nothing when it is none.
remaining() {
  end=$(openssl x509 -noout -enddate -in "$1" 2>/dev/null) || return 0
  echo $(($(date -d "${end#notAfter=}" +%s) - $(date +%s)))
}

# Names that JSON or a label could not hold as they are, are left out and told.
each_certificate() {
  for path in "$directory"/*.pem "$directory"/*.crt; do
    [ -f "$path" ] || continue
    file=${path##*/}
    case $file in *[!A-Za-z0-9._-]*) echo "left out: an odd name in $directory" >&2; continue ;; esac
    seconds=$(remaining "$path")
    [ -z "$seconds" ] || "$1"
  done
}

measure() {
  printf '{"metric":{"name":"tls.certificate.remaining","unit":"s","value":%s,"attributes":{"file":"%s"}}}\n' "$seconds" "$file"
}

check() {
  printf '{"output":"%s ends in %s days\\n"}\n' "$file" $((seconds / 86400))
  [ "$seconds" -ge $((days * 86400)) ] || ending=$((ending + 1))
}

directory=$(string directory)
case $(string call) in
  selftest)
    command -v openssl >/dev/null || { result failed "there is no openssl" 1; exit; }
    result succeeded "" 0
    ;;
  collect)
    each_certificate measure
    result succeeded "" 0
    ;;
  execute)
    days=$(number days)
    ending=0
    each_certificate check
    if [ "$ending" -eq 0 ]; then result succeeded "none ends within $days days" 0
    else result failed "$ending end within $days days" 1; fi
    ;;
esac
