#!/usr/bin/env bash
# Renews every generated file of this folder from an installed llama.cpp.
#
#   tests/golden/renew.sh ROOT MODELS [STEP ...]
#
# ROOT is a folder that holds a whole system with llama.cpp's tools installed (they are run with chroot, so as root);
# files are exchanged through ROOT/models. MODELS is a folder with tales-f16.gguf, tales-q8_0.gguf and
# tales-q4_k_m.gguf. STEP limits the work to some of: tiny archs tokens tales perplexity
# blocks.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,9p' "$0"
  exit 2
fi
exec python3 "$(dirname "$0")/renew.py" "$@"
