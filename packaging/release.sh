#!/usr/bin/env bash
# release.sh: builds what is published into dist: one static binary for each
# target, its checksum, and the size on standard output. TARGETS names others.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=${TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}
most=$((25 * 1024 * 1024))

version=$(sed -n 's/^const version = "\(.*\)"$/\1/p' cmd/leveret/main.go)
[ -n "$version" ] || { echo "release: cmd/leveret/main.go has no version" >&2; exit 1; }
mkdir -p dist
rm -f dist/leveret-* dist/SHA256SUMS
failed=0
for target in $targets; do
	name=leveret-$version-${target%/*}-${target#*/}
	CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -ldflags='-s -w' -o "dist/$name" ./cmd/leveret
	size=$(wc -c <"dist/$name")
	printf '%-36s %5.1f MB\n' "$name" "$(awk "BEGIN { print $size / 1048576 }")"
	[ "$size" -le "$most" ] || { echo "release: $name is larger than 25 MB" >&2; failed=1; }
done
(cd dist && sha256sum leveret-* >SHA256SUMS)
exit $failed
