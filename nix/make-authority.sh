# Squid's authority: make-authority.sh DIRECTORY DAYS. One that is valid for 30 more days stays.
set -eu
dir=$1 days=$2
cert=$dir/ca.pem key=$dir/ca.key
if [ -s "$cert" ] && [ -s "$key" ] && openssl x509 -noout -checkend 2592000 -in "$cert" >/dev/null; then exit 0; fi
umask 077
openssl req -new -x509 -newkey rsa:4096 -nodes -sha256 -days "$days" -subj "/CN=registry cache of $(cat /proc/sys/kernel/hostname)" \
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
  -keyout "$key.new" -out "$cert.new"
# Certificates of an earlier authority are not to be served.
rm -rf "$dir/ssl_db"
mv "$key.new" "$key"
mv "$cert.new" "$cert"
chmod 644 "$cert"
