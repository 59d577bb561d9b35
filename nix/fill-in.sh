# Fills values that files hold into the configuration: fill-in.sh TEMPLATE RESULT NAME…. @NAME@ becomes the first line of the
# credential NAME. Such a value is a word of an address or a name, so nothing in it can change the configuration's form.
# systemd gives credentials to a start and none to a reload: the start keeps the values in RESULT.values, and a reload takes them there.
set -eu
template=$1 result=$2
shift 2
umask 077
text=$(cat "$template")
given=${CREDENTIALS_DIRECTORY:-} kept=$result.values
[ -z "$given" ] || mkdir -p "$kept"
for name; do
  file=${given:-$kept}/$name value=
  [ -e "$file" ] || { echo "there is no value of $name for a reload: restart the service, which ends no job" >&2; exit 1; }
  IFS= read -r value <"$file" || [ -n "$value" ] || { echo "the file of $name is empty" >&2; exit 1; }
  case $value in
    "" | *[!A-Za-z0-9._:/@~-]*)
      echo "the file of $name does not hold one word of letters, digits and . _ : / @ ~ -" >&2
      exit 1
      ;;
  esac
  if [ -n "$given" ]; then
    printf '%s\n' "$value" >"$kept/$name.new"
    mv "$kept/$name.new" "$kept/$name"
  fi
  done=
  while :; do
    case $text in
      *"@$name@"*) done=$done${text%%"@$name@"*}$value text=${text#*"@$name@"} ;;
      *) break ;;
    esac
  done
  text=$done$text
done
printf '%s\n' "$text" >"$result.new"
mv "$result.new" "$result"
