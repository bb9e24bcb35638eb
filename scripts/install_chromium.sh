#!/bin/sh
# Install Debian's Chromium for the page's tests; without root it only says that they are skipped.
set -eu
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium for the page's tests"
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
  echo "note: without chromium the page's tests are skipped: sudo apt-get install chromium" >&2
fi
