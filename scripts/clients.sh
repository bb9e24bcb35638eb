#!/bin/sh
# Run the clients that people use against the server, each at the version in tests/clients/:
# OpenAI's for Python and Node, its Agents SDK, LangChain, LlamaIndex, LiteLLM, Vercel's AI SDK.
# They get an environment of their own, because some of them need an older client of OpenAI's
# than the development packages have.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
if ! command -v npm >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing nodejs and npm"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends nodejs npm >/dev/null
  else
    echo "error: npm is not installed; install it: sudo apt-get install nodejs npm" >&2
    exit 1
  fi
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "installing the clients into $folder (a minute or two, 1 GB)"
"$here/.venv/bin/python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --requirement "$here/tests/clients/requirements.txt"
cp "$here/tests/clients/package.json" "$here/tests/clients/package-lock.json" "$folder"
npm --prefix "$folder" ci --silent --no-audit --no-fund
INGOT_CLIENTS=$folder "$here/.venv/bin/pytest" "$here/tests/clients"
