#!/bin/sh
exec node "$(dirname "$0")/../../../dist/clients/typescript/interop/main.js" "$@"
