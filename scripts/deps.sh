# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# scripts/deps.sh - sourced by quickstart and check: which packages are needed, and installing them.

# Debian's names; what each is for stands in docs/devel/dependencies.md.
deps_build="gcc libc6-dev binutils meson ninja-build pkg-config python3 libglib2.0-dev libjson-c-dev
    libcapstone-dev libgnutls28-dev libpixman-1-dev nettle-dev
    liburing-dev libseccomp-dev libslirp-dev libvdeplug-dev libvncserver-dev
    libncurses-dev libsdl2-dev libpulse-dev libxkbcommon-dev xkb-data zlib1g-dev
    libzstd-dev seabios
    ipxe-qemu"
deps_guest="dpkg-dev"
deps_test="git clang acpica-tools dmidecode gdb qemu-utils nbdkit libnbd-bin xorriso grub-common
    grub-pc-bin grub-efi-amd64-bin mtools debootstrap e2fsprogs makedumpfile make gcc-12 libelf1
    libvirt-daemon libvirt-clients openssl passt vde2
    tmux xvfb xdotool x11-apps openbox spice-vdagent xclip pulseaudio pulseaudio-utils
    novnc chromium chromium-driver tigervnc-viewer gvncviewer"
deps_dnf="gcc binutils meson ninja-build pkgconf python3 glib2-devel json-c-devel capstone-devel
    pixman-devel nettle-devel liburing-devel libslirp-devel zlib-devel libzstd-devel seabios-bin
    gnutls-devel libseccomp-devel libvncserver-devel ncurses-devel SDL2-devel
    pulseaudio-libs-devel libxkbcommon-devel"
deps_pacman="gcc binutils meson ninja pkgconf python glib2 json-c capstone pixman nettle liburing libslirp
    gnutls zlib zstd seabios libseccomp libvncserver ncurses sdl2 libpulse libxkbcommon"

deps_is_debian() { [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

# deps_missing PACKAGE... - those that dpkg does not have installed
deps_missing() {
    local p
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || echo "$p"
    done
}

# deps_install PACKAGE... - installs what is missing; quick when nothing is
deps_install() {
    local missing
    missing=$(deps_missing "$@")
    [ -n "$missing" ] || return 0
    local sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "these packages are missing and need root to install: ${missing//$'\n'/ }" >&2
            return 1
        }
        sudo=sudo
    fi
    $sudo apt-get update -qq || return 1
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
        </dev/null >/dev/null
}

# On other distributions: name the packages and stop.
deps_explain_elsewhere() {
    cat >&2 <<TEXT
this is not Debian or a relative; install these packages and run again with --no-install:
  apt:    $(echo $deps_build $deps_guest)
  dnf:    $deps_dnf
  pacman: $deps_pacman
and give a kernel with --kernel FILE (the script takes one from Debian's archive otherwise)
TEXT
}
