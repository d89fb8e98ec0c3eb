#!/usr/bin/env bash
# Run commands of this checkout on a minimal Debian, as on a new server: no compiler, no libraries of
# a desktop, no packages of this machine.
#
#   tools/fresh_machine.sh                       # make demo
#   tools/fresh_machine.sh 'make demo' 'make test'
#   tools/fresh_machine.sh --suite trixie        # Debian 13, which has Python 3.13
#   tools/fresh_machine.sh --browser …           # with chromium, for the tests of pages
#
# Needs root and debootstrap. Packages come from this machine's own mirror, Python's with its pip
# settings; pip's downloads are cached between calls. The committed state is what is tested. The
# exit code is that of the first command that fails, 3 where no such machine can be made.
set -euo pipefail

suite=bookworm
include=python3,python3-venv,make,git,ca-certificates
browser=
cache=${FRESH_MACHINE_CACHE:-/var/cache/odins-ravne-fresh-machine}
while [ $# -gt 0 ]; do
    case $1 in
        --suite) suite=$2; shift 2 ;;
        --browser) browser='chromium chromium-driver fonts-dejavu-core'; shift ;;
        --*) echo "error: $1: unknown option; see the head of $0" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 'make demo'
checkout=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)

if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
    echo "error: a fresh machine needs root and the package debootstrap" >&2
    exit 3
fi
if ! unshare --mount --pid --fork true 2>/dev/null; then
    echo "error: a fresh machine needs its own mounts and processes, which this container does not allow" >&2
    exit 3
fi
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +([^ ]+).*/\3/p' | sed -n 1p)

# The base system is made once for each list of packages; each call works on a copy of it.
mkdir -p "$cache/pip"
base=$cache/$suite-$(printf %s "$include$browser" | cksum | cut -d ' ' -f 1).tar
if [ ! -e "$base" ]; then
    echo "fresh machine: bootstrapping Debian $suite, once" >&2
    new=$(mktemp --directory)
    timeout 100 debootstrap --variant=minbase --include="$include" "$suite" "$new" "$mirror" >"$cache/debootstrap.log" ||
        { tail -n 5 "$cache/debootstrap.log" >&2; rm -rf --one-file-system "$new"; echo "error: debootstrap failed, or took more than 100 s" >&2; exit 3; }
    # debootstrap does not configure packages that need a running system; apt-get does.
    if [ -n "$browser" ]; then
        cp /etc/resolv.conf "$new/etc/resolv.conf"
        mount --bind /proc "$new/proc"
        code=0
        # shellcheck disable=SC2086  # a list of packages
        chroot "$new" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $browser \
            >>"$cache/debootstrap.log" 2>&1 || code=$?
        umount "$new/proc"
        [ $code = 0 ] || { tail -n 5 "$cache/debootstrap.log" >&2; rm -rf --one-file-system "$new"; echo "error: the browser cannot be installed" >&2; exit 3; }
    fi
    tar --create --file "$base.part" --directory "$new" .
    mv "$base.part" "$base"
    rm -rf "$new"
fi

root=$(mktemp --directory)
# Mounts and processes are in namespaces of their own: processes that remain end with the command.
trap 'rm -rf --one-file-system "$root"' EXIT
tar --extract --file "$base" --directory "$root"
chmod 755 "$root"  # mktemp makes a folder that only root may enter
git clone --quiet "$checkout" "$root/root/project"

# This machine's settings of pip and its certificates, and the local folders that they name (of an
# index, the folder above it, which holds the files).
copy() { if [ -e "$1" ]; then mkdir -p "$root$(dirname "$1")"; rm -rf "$root$1"; cp --recursive --dereference "$1" "$root$(dirname "$1")"; fi; }
for each in /etc/pip.conf /etc/xdg/pip /etc/ssl/certs /etc/resolv.conf /etc/hosts \
    "${HOME:-/root}/.config/pip" "${HOME:-/root}/.pip"; do copy "$each"; done
mapfile -t folders < <(
    { env | grep '^PIP_' || true; cat /etc/pip.conf /etc/xdg/pip/pip.conf "${HOME:-/root}/.config/pip/pip.conf" 2>/dev/null || true; } |
        grep -oE '(file://)?/[^ ,]+' | sed -E 's|^file://||; s|/simple/?$||' | sort -u
)
settings=()
while IFS= read -r each; do settings+=("$each"); done < <(env | grep -E '^(PIP_|SSL_CERT_|REQUESTS_CA_BUNDLE|CI=)' || true)

export root cache
export folders_text="${folders[*]:-}"
unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    mount --bind "$cache/pip" "$(mkdir -p "$root/root/.cache/pip" && echo "$root/root/.cache/pip")"
    for each in $folders_text; do
        [ -d "$each" ] && [ ! -e "$root$each" ] && mkdir -p "$root$each" && mount --bind --options ro "$each" "$root$each"
    done
    mount --types proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --types tmpfs tmpfs "$root/tmp"
    exec "$@"
' bash env --ignore-environment "${settings[@]}" HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" bash -euc 'cd /root/project; for each in "$@"; do echo "fresh machine: $each"; eval "$each"; done' bash "$@"
