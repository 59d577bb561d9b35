# Fills values that files hold into the configuration: fill-in.sh TEMPLATE RESULT NAME…. @NAME@ becomes the first line of the
# credential NAME. Such a value is a word of an address or a name, so nothing in it can change the configuration's form.
set -eu
template=$1 result=$2
shift 2
umask 077
text=$(cat "$template")
for name; do
  value=
  IFS= read -r value <"$CREDENTIALS_DIRECTORY/$name" || [ -n "$value" ] || { echo "the file of $name is empty" >&2; exit 1; }
  case $value in
    "" | *[!A-Za-z0-9._:/@~-]*)
      echo "the file of $name does not hold one word of letters, digits and . _ : / @ ~ -" >&2
      exit 1
      ;;
  esac
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
