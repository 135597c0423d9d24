#!/usr/bin/env bash
# Puts SoftHSM2, a PKCS#11 token in software, into the folder $1: softhsm2-util and libsofthsm2.so. Links where it is
# installed, else Debian's or Ubuntu's package unpacked, for which nobody has to be root.
set -euo pipefail
mkdir -p "$1"
cd "$1"

modules=(/usr/lib/*/softhsm/libsofthsm2.so /usr/lib{,64}/{softhsm,pkcs11}/libsofthsm2.so {/usr/local,/opt/homebrew}/lib/softhsm/libsofthsm2.so)
if util=$(command -v softhsm2-util); then
    for module in "${modules[@]}"; do
        if [ -e "$module" ]; then
            ln -sf "$util" softhsm2-util
            ln -sf "$module" libsofthsm2.so
            exit
        fi
    done
fi

if ! command -v apt-get > /dev/null || ! command -v dpkg > /dev/null; then
    echo "softhsm2-util is not there: install SoftHSM2, in most distributions the package softhsm2 or softhsm" >&2
    exit 1
fi
mkdir -p apt/lists/partial apt/archives/partial
own=(-qq -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt" -o APT::Sandbox::User= -o Debug::NoLocking=1)
apt-get "${own[@]}" update
apt-get "${own[@]}" download softhsm2 libsofthsm2
for package in *.deb; do
    dpkg -x "$package" .
done
rm -r apt ./*.deb
ln -sf usr/bin/softhsm2-util .
ln -sf usr/lib/*/softhsm/libsofthsm2.so .
