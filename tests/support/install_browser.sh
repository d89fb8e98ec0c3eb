#!/bin/sh
# The browser that the UI tests look through. Where it cannot be installed the tests say so.
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q >/dev/null &&
        apt-get install -y -q --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null
fi || echo "chromium could not be installed: the tests of the UI will be skipped" >&2
