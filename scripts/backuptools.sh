#!/bin/sh
# Brings PostgreSQL 17's pg_combinebackup, pg_verifybackup and pg_waldump, which the tests of incremental backups use, into
# STRATA_PG_TOOLS_DIR: by default /var/cache/strata/pgtools for root and ${XDG_CACHE_HOME:-~/.cache}/strata/pgtools for anybody
# else. They come from Debian 13 as packages whose signatures apt checks, with the libraries that they need. Nothing is installed: the
# packages are unpacked in that folder, and small scripts in its bin run the programs with the loader and libraries beside them.
# What is there already is left alone, and so is a machine whose own PostgreSQL 17 has the programs.
#
# Nothing here is fatal: a test without the programs skips and names `make servers`; with STRATA_REQUIRE_ALL set it fails instead.
set -eu
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
say() { echo "backuptools: $*"; }

if [ -x /usr/lib/postgresql/17/bin/pg_combinebackup ]; then exit 0; fi
if [ "$(id -u)" = 0 ]; then default=/var/cache/strata/pgtools; else default=${XDG_CACHE_HOME:-$HOME/.cache}/strata/pgtools; fi
dir=${STRATA_PG_TOOLS_DIR:-$default}
if [ -f "$dir/complete" ]; then exit 0; fi
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) libs=usr/lib/x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
Linux-aarch64) libs=usr/lib/aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
*) say "Debian's programs are for Linux on x86-64 and ARM; this is $(uname -s) on $(uname -m)"; exit 0 ;;
esac
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1 || [ ! -f $keyring ]; then
  say "this is no Debian; install pg_combinebackup of PostgreSQL 17 in /usr/lib/postgresql/17/bin"
  exit 0
fi

say "pg_combinebackup and pg_verifybackup 17 from Debian $suite into $dir"
umask 022
rm -rf "$dir"
mkdir -p "$dir/apt/sources" "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/root" "$dir/bin"
cat > "$dir/apt/sources/$suite.sources" <<SOURCES
Types: deb
URIs: http://deb.debian.org/debian
Suites: $suite
Components: main
Signed-By: $keyring
SOURCES
# apt with lists and folders of its own: the machine's are not touched.
own_apt() {
  (cd "$dir/apt" && apt-get -q -o APT::Sandbox::User="$(id -un)" -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/apt/sources" \
    -o Dir::State::Lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::Languages=none "$@" </dev/null >/dev/null)
}
# pg_waldump is in the server's package.
if ! own_apt update || ! own_apt download postgresql-client-17 postgresql-17 libc6 libssl3t64 libzstd1 liblz4-1 zlib1g; then
  say "apt could not bring them; the programs stay missing"
  exit 0
fi
for p in "$dir"/apt/*.deb; do
  dpkg-deb -x "$p" "$dir/root"
done
for program in pg_combinebackup pg_verifybackup pg_waldump; do
  cat > "$dir/bin/$program" <<PROGRAM
#!/bin/sh
exec "$dir/root/$libs/$loader" --library-path "$dir/root/$libs" --argv0 "\$0" "$dir/root/usr/lib/postgresql/17/bin/$program" "\$@"
PROGRAM
  chmod 755 "$dir/bin/$program"
  "$dir/bin/$program" --version >/dev/null || { say "$program does not run here"; exit 0; }
done
rm -rf "$dir/apt" "$dir/root/usr/share" "$dir/root/usr/lib/postgresql/17/lib"
touch "$dir/complete"
